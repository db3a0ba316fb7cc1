//! Headers and cookies: shown only if the allow list names them, and never if the deny list does.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, header};

use crate::{judge, marker::Rule, policy::Policy, scrubbed::Scrubbed, splice::Splice, text, url};

/// Why a header is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HideReason {
    /// The value is marked with [`HeaderValue::set_sensitive`].
    Sensitive,
    /// The deny list names it.
    Denied,
    /// The allow list does not name it.
    NotAllowed,
}

impl HideReason {
    /// Returns the reason as a word: `sensitive`, `denied`, `not allowed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sensitive => "sensitive",
            Self::Denied => "denied",
            Self::NotAllowed => "not allowed",
        }
    }
}

/// Whether a header may be shown, and its scrubbed value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the verdict decides whether the header may be shown"]
pub enum HeaderVerdict<'v> {
    /// The header may be shown with this value.
    Shown(Scrubbed<Cow<'v, str>>),
    /// The header must not be shown.
    Hidden(HideReason),
}

impl<'v> HeaderVerdict<'v> {
    /// Returns the value to show, if any.
    pub fn shown(self) -> Option<Scrubbed<Cow<'v, str>>> {
        match self {
            Self::Shown(value) => Some(value),
            Self::Hidden(_) => None,
        }
    }

    /// Returns the value to show, or the marker `[redacted:header]`: for sinks that list the names of all headers.
    pub fn or_marker(self) -> Scrubbed<Cow<'v, str>> {
        self.shown().unwrap_or(Scrubbed::from_static(Rule::Header.marker()).into())
    }
}

/// What becomes of one header.
pub(crate) fn verdict<'v>(policy: &Policy, name: &HeaderName, value: &'v HeaderValue) -> HeaderVerdict<'v> {
    match if_shown(policy, name, value) {
        Some(shown) => HeaderVerdict::Shown(shown),
        None if value.is_sensitive() => HeaderVerdict::Hidden(HideReason::Sensitive),
        None if policy.headers.is_denied(name.as_str()) => HeaderVerdict::Hidden(HideReason::Denied),
        None => HeaderVerdict::Hidden(HideReason::NotAllowed),
    }
}

/// The same without the reason: writing that takes longer than hiding most headers.
pub(crate) fn if_shown<'v>(
    policy: &Policy,
    name: &HeaderName,
    value: &'v HeaderValue,
) -> Option<Scrubbed<Cow<'v, str>>> {
    let headers = &policy.headers;
    let is_cookie = *name == header::COOKIE || *name == header::SET_COOKIE;
    let is_shown =
        !value.is_sensitive() && (is_cookie && !headers.cookies.is_empty() || headers.is_allowed(name.as_str()));
    is_shown.then(|| {
        Scrubbed::new(match str::from_utf8(value.as_bytes()) {
            Ok(value) => shown(policy, name, value),
            Err(_) => Cow::Owned(shown(policy, name, &String::from_utf8_lossy(value.as_bytes())).into_owned()),
        })
    })
}

fn shown<'v>(policy: &Policy, name: &HeaderName, value: &'v str) -> Cow<'v, str> {
    if *name == header::COOKIE {
        cookies(policy, value)
    } else if *name == header::SET_COOKIE {
        set_cookie(policy, value)
    } else if [header::REFERER, header::LOCATION, header::CONTENT_LOCATION, header::ORIGIN].contains(name) {
        url::url(policy, value)
    } else {
        text::scrub(policy, value)
    }
}

/// `name=value; name=value`: only the values of cookies that were allowed by name.
pub(crate) fn cookies<'v>(policy: &Policy, value: &'v str) -> Cow<'v, str> {
    let mut splice = Splice::new(value);
    let mut from = 0_usize;
    for pair in value.split(';') {
        cookie(policy, pair, from, &mut splice);
        from = from.saturating_add(pair.len()).saturating_add(1);
    }
    splice.finish()
}

/// One cookie and its attributes: `name=value; Path=/; Secure`.
pub(crate) fn set_cookie<'v>(policy: &Policy, value: &'v str) -> Cow<'v, str> {
    let mut splice = Splice::new(value);
    let pair = value.split(';').next().unwrap_or_default();
    cookie(policy, pair, 0, &mut splice);
    let attributes = value.get(pair.len()..).unwrap_or_default();
    if let Some(rule) = judge::hit(policy, attributes.as_bytes()) {
        splice.replace(pair.len().saturating_add(1)..value.len(), policy.marker(rule));
    }
    splice.finish()
}

fn cookie(policy: &Policy, pair: &str, from: usize, splice: &mut Splice<'_>) {
    let end = from.saturating_add(pair.len());
    let start = end.saturating_sub(pair.trim_start().len());
    let (name, value) = pair.trim().split_once('=').unwrap_or(("", pair.trim()));
    let value_start =
        if name.is_empty() && !pair.contains('=') { start } else { start.saturating_add(name.len()).saturating_add(1) };
    if value.is_empty() || policy.is_marker(value.as_bytes()) {
        return;
    }
    if let Some(rule) = judge::hit(policy, name.as_bytes()) {
        return splice.replace(start..end, policy.marker(rule));
    }
    let allowed = !name.is_empty() && policy.headers.cookies.iter().any(|allowed| **allowed == *name);
    let rule = if allowed {
        judge::verdict(policy, policy.classify(name.as_bytes()), value.as_bytes())
    } else {
        Some(Rule::Cookie)
    };
    if let Some(rule) = rule {
        splice.replace(value_start..end, policy.marker(rule));
    }
}
