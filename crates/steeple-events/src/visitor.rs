use std::sync::Arc;

use http::{HeaderMap, header};

/// What a request has about its visitor, for analytics alone: ids of Google Analytics, and consent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visitor {
    pub(crate) client_id: Option<Box<str>>,
    pub(crate) session_id: Option<Box<str>>,
    pub(crate) consent: Consent,
}

/// Whether what a visitor does may go to analytics systems.
///
/// It is captured with the event and decides where the event goes: [`Denied`](Self::Denied) keeps it from Mixpanel and
/// GA4. Systems that run the service (Elasticsearch, New Relic, webhook, NDJSON) are another purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consent {
    /// The visitor did not refuse: no `Sec-GPC: 1`, no `DNT: 1`, and the application's hook did not deny it.
    #[default]
    NotDenied,
    /// The visitor agreed, as the application's hook knows.
    Granted,
    /// The visitor refused.
    Denied,
}

impl Consent {
    /// `not_denied`, `granted`, `denied`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotDenied => "not_denied",
            Self::Granted => "granted",
            Self::Denied => "denied",
        }
    }

    /// Whether analytics systems may have the event.
    pub const fn allows_analytics(self) -> bool {
        matches!(self, Self::NotDenied | Self::Granted)
    }
}

impl Visitor {
    /// Google Analytics' client id, from the cookie `_ga`.
    pub fn client_id(&self) -> Option<&str> {
        self.client_id.as_deref()
    }

    /// Google Analytics' session id, from the cookie `_ga_…`.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// Reads consent, and Google Analytics' cookies if `with_ga` asks for them. `None` when the request has none of them.
    pub(crate) fn of(headers: &HeaderMap, with_ga: bool) -> Option<Arc<Self>> {
        let mut visitor = Self::default();
        if steeple_user::wants_no_analytics(headers) {
            visitor.consent = Consent::Denied;
        } else if with_ga {
            // A visitor who refuses is not identified either.
            for cookies in headers.get_all(header::COOKIE) {
                visitor.read_cookies(cookies.as_bytes());
            }
        }
        (visitor != Self::default()).then(|| Arc::new(visitor))
    }

    fn read_cookies(&mut self, cookies: &[u8]) {
        let Ok(cookies) = str::from_utf8(cookies) else { return };
        for (name, value) in cookies.split(';').filter_map(|pair| pair.trim().split_once('=')) {
            if name == "_ga" {
                self.client_id = client_id(value).map(Into::into);
            } else if name.starts_with("_ga_") && self.session_id.is_none() {
                self.session_id = session_id(value).map(Into::into);
            }
        }
    }
}

/// The client id in a `_ga` cookie: its last two fields. The prefix (`GA1.1`, `GA1.2-2`) has changed before.
///
/// # Source
/// Google Analytics help, "How Google Analytics uses cookies"; GA4 Measurement Protocol reference, `client_id`.
fn client_id(cookie: &str) -> Option<&str> {
    let digits = |field: &str| (1..=20).contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_digit());
    let mut fields = cookie.rsplitn(3, '.');
    let (last, before, prefix) = (fields.next()?, fields.next()?, fields.next()?);
    if !digits(last) || !digits(before) {
        return None;
    }
    // The prefix, and the point behind it.
    cookie.get(prefix.len().checked_add(1)?..)
}

/// The session id in a `_ga_…` cookie: `GS1.1.<id>.…`, or `GS2.1.s<id>$o3$…`.
fn session_id(cookie: &str) -> Option<&str> {
    let field = cookie.split('.').nth(2)?;
    let id = field.split('$').next()?;
    let id = id.strip_prefix('s').unwrap_or(id);
    ((1..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &'static str)]) -> Option<Arc<Visitor>> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Visitor::of(&headers, true)
    }

    #[test]
    fn client_id_is_the_last_two_fields_whatever_the_prefix() {
        for (cookie, want) in [
            ("GA1.1.1234567890.1760000000", Some("1234567890.1760000000")),
            ("GA1.2-2.12.34", Some("12.34")),
            ("GA2.9.x.12.34", Some("12.34")),
            ("12.34", None),
            ("GA1.1.12.", None),
            ("GA1.1.a.34", None),
            ("", None),
        ] {
            assert_eq!(client_id(cookie), want, "{cookie}");
        }
    }

    #[test]
    fn session_id_is_found_in_both_versions_of_the_cookie() {
        for (cookie, want) in [
            ("GS1.1.1760000000.3.1.1760000100.0.0.0", Some("1760000000")),
            ("GS2.1.s1760000000$o3$g1$t1760000100$j0$l0$h0", Some("1760000000")),
            ("GS2.1.sx$o3", None),
            ("GS1.1", None),
        ] {
            assert_eq!(session_id(cookie), want, "{cookie}");
        }
    }

    #[test]
    fn a_visitor_who_refuses_is_not_identified() {
        let ga = ("cookie", "a=b; _ga=GA1.1.12.34; _ga_ABC=GS1.1.56.1.0.0.0.0.0");
        let visitor = of(&[ga]).unwrap();
        assert_eq!((visitor.client_id.as_deref(), visitor.session_id.as_deref()), (Some("12.34"), Some("56")));
        let visitor = of(&[ga, ("sec-gpc", "1")]).unwrap();
        assert_eq!((visitor.client_id.as_deref(), visitor.consent), (None, Consent::Denied));
        assert_eq!(of(&[("dnt", "1")]).unwrap().consent, Consent::Denied);
        assert_eq!(of(&[("cookie", "session=secret")]), None);
    }
}
