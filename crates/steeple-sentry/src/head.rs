use http::{HeaderMap, HeaderName, HeaderValue, Uri, request};
use sentry_core::protocol::{Map, Request};
use steeple_core::{Exchange, TraceContext};

/// What is kept of a request's head: references to its bytes, no copies.
#[derive(Debug, Default)]
pub(crate) struct Head {
    uri: Option<Uri>,
    /// The allowed headers, by their place in the list of allowed names.
    headers: Vec<(usize, HeaderValue)>,
    traceparent: Option<HeaderValue>,
    sentry_trace: Option<HeaderValue>,
    baggage: Option<HeaderValue>,
}

/// A baggage longer than W3C wants to be carried is not.
const MAX_BAGGAGE: usize = 8192;

/// A header's value, a path and a query that are longer are left out or cut, each where a secret is not cut in two.
const MAX_HEADER: usize = 2048;
const MAX_PATH: usize = 2048;
const MAX_QUERY: usize = 8192;

impl Head {
    pub(crate) fn capture(&mut self, request: &request::Parts, allowed: &[HeaderName]) {
        self.uri = Some(request.uri.clone());
        for (place, name) in allowed.iter().enumerate() {
            if let Some(value) = request.headers.get(name)
                && !value.is_sensitive()
                && value.len() <= MAX_HEADER
            {
                self.headers.push((place, value.clone()));
            }
        }
        self.traceparent = request.headers.get("traceparent").cloned();
        self.sentry_trace = request.headers.get("sentry-trace").cloned();
        if self.sentry_trace.is_some() {
            self.baggage = request.headers.get("baggage").filter(|value| value.len() <= MAX_BAGGAGE).cloned();
        }
    }

    /// Forgets everything but keeps the room.
    pub(crate) fn clear(&mut self) {
        let mut headers = std::mem::take(&mut self.headers);
        headers.clear();
        *self = Self { headers, ..Self::default() };
    }

    /// The request as Sentry wants it. Not scrubbed yet.
    pub(crate) fn to_request(&self, method: &str, allowed: &[HeaderName]) -> Option<Request> {
        let uri = self.uri.as_ref()?;
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers: Map<String, String> = self
            .headers
            .iter()
            .filter_map(|(place, value)| Some((allowed.get(*place)?.as_str().to_owned(), text(value))))
            .collect();
        let host =
            uri.authority().map(|authority| authority.host().to_owned()).or_else(|| headers.get("host").cloned());
        let scheme = uri.scheme_str().unwrap_or("http");
        // Its query goes separately; Sentry would take it apart again.
        let url = format!("{scheme}://{}{}", host.as_deref().unwrap_or("localhost"), cut(uri.path(), '/', MAX_PATH));
        Some(Request {
            url: url.parse().ok(),
            method: Some(method.to_owned()),
            query_string: uri.query().map(|query| cut(query, '&', MAX_QUERY).to_owned()),
            headers,
            ..Request::default()
        })
    }

    /// The exchange's trace: what somebody else set, else the caller's continued, else a new one.
    pub(crate) fn trace(&self, exchange: &Exchange) -> TraceContext {
        if let Some(trace) = exchange.trace() {
            return *trace;
        }
        let mut headers = HeaderMap::new();
        if let Some(value) = self.traceparent.clone().or_else(|| self.sentry_trace_as_traceparent()) {
            headers.insert("traceparent", value);
        }
        *exchange.trace_or_continue(&headers)
    }

    /// What the caller decided on the trace: `sentry-trace` with a decision, else a `traceparent` that is sampled.
    ///
    /// A `traceparent` that is not sampled decides nothing: gateways and browsers send that flag without having decided.
    pub(crate) fn parent_decision(&self) -> Option<bool> {
        let ending = |value: &HeaderValue, end: &[u8]| value.as_bytes().trim_ascii().ends_with(end);
        if let Some(value) = &self.sentry_trace {
            return if ending(value, b"-1") {
                Some(true)
            } else if ending(value, b"-0") {
                Some(false)
            } else {
                None
            };
        }
        let flags = self.traceparent.as_ref()?.as_bytes().get(53..55)?;
        let flags = u8::from_str_radix(str::from_utf8(flags).ok()?, 16).ok()?;
        (flags & 1 == 1).then_some(true)
    }

    /// The `sentry-` members of the caller's baggage: what the trace's first service decided, which is passed on unchanged.
    pub(crate) fn sentry_baggage(&self) -> impl Iterator<Item = (&str, &str)> {
        let members = self.baggage.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default();
        members.split(',').filter_map(|member| {
            let (name, value) = member.split_once('=')?;
            let name = name.trim().strip_prefix("sentry-")?;
            Some((name, value.split(';').next().unwrap_or_default().trim()))
        })
    }

    /// `<trace>-<span>[-<decision>]` written as W3C does.
    fn sentry_trace_as_traceparent(&self) -> Option<HeaderValue> {
        let text = self.sentry_trace.as_ref()?.to_str().ok()?.trim().to_ascii_lowercase();
        let mut parts = text.split('-');
        let (trace, span, decision) = (parts.next()?, parts.next()?, parts.next());
        let flags = if decision == Some("1") { "01" } else { "00" };
        HeaderValue::try_from(format!("00-{trace}-{span}-{flags}")).ok()
    }
}

/// As many whole parts of a text as there is room for.
fn cut(text: &str, between: char, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let kept = text.get(..text.floor_char_boundary(max)).unwrap_or_default();
    kept.rsplit_once(between).map_or("", |(whole, _)| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&'static str, &str)]) -> Head {
        let mut request = http::Request::builder().uri("/users/7?page=2");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut head = Head::default();
        head.capture(&request.body(()).unwrap().into_parts().0, &[http::header::HOST, http::header::ACCEPT]);
        head
    }

    const SENTRY: &str = "09e04486820349518ac7b5d2adbf6ba5-9cf635fa5b870b3a";
    const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    #[test]
    fn the_request_has_its_url_without_query_and_the_allowed_headers_alone() {
        let head = head(&[("host", "shop.example"), ("accept", "*/*"), ("authorization", "Bearer x")]);
        let request = head.to_request("GET", &[http::header::HOST, http::header::ACCEPT]).unwrap();
        assert_eq!(request.url.unwrap().as_str(), "http://shop.example/users/7");
        assert_eq!(request.query_string.as_deref(), Some("page=2"));
        assert_eq!(request.headers.keys().collect::<Vec<_>>(), ["accept", "host"]);
    }

    #[test]
    fn what_is_too_long_is_cut_between_its_parts() {
        assert_eq!(cut("a=1&b=22&c=3", '&', 100), "a=1&b=22&c=3");
        assert_eq!(cut("a=1&b=22&c=3", '&', 7), "a=1");
        assert_eq!(cut("a=12345678", '&', 4), "", "half a value is none");
        let long = "x".repeat(MAX_HEADER + 1);
        let request = head(&[("host", "shop.example"), ("accept", &long)])
            .to_request("GET", &[http::header::HOST, http::header::ACCEPT]);
        assert_eq!(request.unwrap().headers.keys().collect::<Vec<_>>(), ["host"]);
    }

    #[test]
    fn the_trace_is_the_callers_in_either_spelling_and_w3c_counts_first() {
        let trace = |headers: &[(&'static str, &str)]| head(headers).trace(&Exchange::detached());
        let sentry = trace(&[("sentry-trace", SENTRY)]);
        assert_eq!(sentry.trace_id().to_string(), "09e04486820349518ac7b5d2adbf6ba5");
        assert_eq!(sentry.parent_id().unwrap().to_string(), "9cf635fa5b870b3a");
        let both = trace(&[("sentry-trace", SENTRY), ("traceparent", &format!("{W3C}-01"))]);
        assert_eq!(both.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(trace(&[("sentry-trace", "not-one")]).parent_id().is_none());
    }

    #[test]
    fn the_callers_decision_is_read_from_either_header() {
        #[track_caller]
        fn check(name: &'static str, value: &str, want: Option<bool>) {
            assert_eq!(head(&[(name, value)]).parent_decision(), want, "{name}: {value}");
        }
        check("sentry-trace", &format!("{SENTRY}-1"), Some(true));
        check("sentry-trace", &format!("{SENTRY}-0"), Some(false));
        check("sentry-trace", SENTRY, None);
        check("traceparent", &format!("{W3C}-01"), Some(true));
        check("traceparent", &format!("{W3C}-00"), None);
        check("traceparent", "short", None);
    }
}
