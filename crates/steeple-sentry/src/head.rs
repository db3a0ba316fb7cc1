use http::{HeaderMap, HeaderName, HeaderValue, request};
use sentry_core::protocol::{Map, Request};
use steeple_core::{Exchange, TraceContext, headers::Wanted};

/// What is kept of a request's head: its texts one behind the other, in a buffer that is used again. A copy of some hundred
/// bytes costs less than references to them, which other threads would count as well.
#[derive(Debug, Default)]
pub(crate) struct Head {
    bytes: Vec<u8>,
    scheme: Option<Piece>,
    authority: Option<Piece>,
    path: Option<Piece>,
    query: Option<Piece>,
    /// The allowed headers, by their place in the list of allowed names.
    headers: Vec<(usize, Piece)>,
    traceparent: Option<Piece>,
    sentry_trace: Option<Piece>,
    baggage: Option<Piece>,
}

/// The headers that are kept.
#[derive(Debug)]
pub(crate) struct Allowed {
    names: Vec<HeaderName>,
    /// Those, then [`TRACEPARENT`], then [`SENTRY_TRACE`].
    wanted: Wanted,
}

impl Allowed {
    pub(crate) fn new(names: Vec<HeaderName>) -> Self {
        let wanted = Wanted::new(names.iter().chain([&TRACEPARENT, &SENTRY_TRACE]).cloned());
        Self { names, wanted }
    }

    pub(crate) fn names(&self) -> &[HeaderName] {
        &self.names
    }
}

/// From where to where a text lies.
#[derive(Clone, Copy, Debug)]
struct Piece(usize, usize);

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static SENTRY_TRACE: HeaderName = HeaderName::from_static("sentry-trace");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// A baggage longer than W3C wants to be carried is not.
const MAX_BAGGAGE: usize = 8192;

/// A header's value, a path and a query that are longer are left out or cut, each where a secret is not cut in two.
const MAX_HEADER: usize = 2048;
const MAX_PATH: usize = 2048;
const MAX_QUERY: usize = 8192;

/// What a buffer begins with.
const FIRST_BYTES: usize = 512;

/// A buffer that grew beyond this is not used again.
const KEPT_BYTES: usize = 4096;

impl Head {
    pub(crate) fn capture(&mut self, request: &request::Parts, allowed: &Allowed) {
        let names = allowed.names.len();
        let uri = &request.uri;
        if self.bytes.capacity() == 0 {
            // A browser's head, in one piece.
            self.bytes.reserve(FIRST_BYTES);
            self.headers.reserve(names);
        }
        self.path = Some(self.keep(cut(uri.path(), '/', MAX_PATH).as_bytes()));
        self.query = uri.query().map(|query| self.keep(cut(query, '&', MAX_QUERY).as_bytes()));
        self.authority = uri.authority().map(|authority| self.keep(authority.host().as_bytes()));
        self.scheme = uri.scheme_str().map(|scheme| self.keep(scheme.as_bytes()));
        allowed.wanted.each(&request.headers, |place, value| {
            if value.len() > MAX_HEADER || (place < names && value.is_sensitive()) {
                return;
            }
            let piece = self.keep(value.as_bytes());
            match place.checked_sub(names) {
                None => self.headers.push((place, piece)),
                Some(0) => self.traceparent = Some(piece),
                Some(_) => self.sentry_trace = Some(piece),
            }
        });
        if self.sentry_trace.is_some() {
            let baggage = request.headers.get(&BAGGAGE).filter(|value| value.len() <= MAX_BAGGAGE);
            self.baggage = baggage.map(|value| self.keep(value.as_bytes()));
        }
    }

    /// The bytes that it holds.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    fn keep(&mut self, bytes: &[u8]) -> Piece {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Piece(start, self.bytes.len())
    }

    fn bytes(&self, Piece(start, end): Piece) -> &[u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The text, if it is one.
    fn text(&self, piece: Option<Piece>) -> Option<&str> {
        str::from_utf8(self.bytes(piece?)).ok()
    }

    /// Forgets everything but keeps the room.
    pub(crate) fn clear(&mut self) {
        let Self { bytes, scheme, authority, path, query, headers, traceparent, sentry_trace, baggage } = self;
        bytes.clear();
        headers.clear();
        if bytes.capacity() > KEPT_BYTES {
            *bytes = Vec::new();
        }
        for piece in [scheme, authority, path, query, traceparent, sentry_trace, baggage] {
            *piece = None;
        }
    }

    /// The request as Sentry wants it. Not scrubbed yet.
    pub(crate) fn to_request(&self, method: &str, allowed: &Allowed) -> Option<Request> {
        let path = self.text(self.path)?;
        let headers: Map<String, String> = self
            .headers
            .iter()
            .filter_map(|(place, value)| {
                Some((
                    allowed.names.get(*place)?.as_str().to_owned(),
                    String::from_utf8_lossy(self.bytes(*value)).into_owned(),
                ))
            })
            .collect();
        let host = self.text(self.authority).or_else(|| headers.get("host").map(String::as_str)).unwrap_or("localhost");
        let scheme = self.text(self.scheme).unwrap_or("http");
        // Its query goes separately; Sentry would take it apart again.
        let url = format!("{scheme}://{host}{path}");
        Some(Request {
            url: url.parse().ok(),
            method: Some(method.to_owned()),
            query_string: self.text(self.query).map(str::to_owned),
            headers,
            ..Request::default()
        })
    }

    /// The exchange's trace: what someone else set, else the caller's continued, else a new one.
    pub(crate) fn trace(&self, exchange: &Exchange) -> TraceContext {
        if let Some(trace) = exchange.trace() {
            return *trace;
        }
        let mut headers = HeaderMap::new();
        let traceparent = self.text(self.traceparent).and_then(|value| HeaderValue::from_str(value).ok());
        if let Some(value) = traceparent.or_else(|| self.sentry_trace_as_traceparent()) {
            headers.insert(&TRACEPARENT, value);
        }
        *exchange.trace_or_continue(&headers)
    }

    /// What the caller decided on the trace: `sentry-trace` with a decision, else a `traceparent` that is sampled.
    ///
    /// A `traceparent` that is not sampled decides nothing: gateways and browsers send that flag without having decided.
    pub(crate) fn parent_decision(&self) -> Option<bool> {
        if let Some(value) = self.text(self.sentry_trace).map(str::trim_ascii) {
            return if value.ends_with("-1") {
                Some(true)
            } else if value.ends_with("-0") {
                Some(false)
            } else {
                None
            };
        }
        let flags = u8::from_str_radix(self.text(self.traceparent)?.get(53..55)?, 16).ok()?;
        (flags & 1 == 1).then_some(true)
    }

    /// The `sentry-` members of the caller's baggage: what the trace's first service decided, which is passed on unchanged.
    pub(crate) fn sentry_baggage(&self) -> impl Iterator<Item = (&str, &str)> {
        let members = self.text(self.baggage).unwrap_or_default();
        members.split(',').filter_map(|member| {
            let (name, value) = member.split_once('=')?;
            let name = name.trim().strip_prefix("sentry-")?;
            Some((name, value.split(';').next().unwrap_or_default().trim()))
        })
    }

    /// `<trace>-<span>[-<decision>]` written as W3C does.
    fn sentry_trace_as_traceparent(&self) -> Option<HeaderValue> {
        let text = self.text(self.sentry_trace)?.trim().to_ascii_lowercase();
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
    let kept = steeple_core::text::cut(text, max);
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
        head.capture(&request.body(()).unwrap().into_parts().0, &allowed());
        head
    }

    fn allowed() -> Allowed {
        Allowed::new(vec![http::header::HOST, http::header::ACCEPT])
    }

    const SENTRY: &str = "09e04486820349518ac7b5d2adbf6ba5-9cf635fa5b870b3a";
    const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    #[test]
    fn the_request_has_its_url_without_query_and_the_allowed_headers_alone() {
        let head = head(&[("host", "shop.example"), ("accept", "*/*"), ("authorization", "Bearer x")]);
        let request = head.to_request("GET", &allowed()).unwrap();
        assert_eq!(request.url.unwrap().as_str(), "http://shop.example/users/7");
        assert_eq!(request.query_string.as_deref(), Some("page=2"));
        assert_eq!(request.headers.keys().collect::<Vec<_>>(), ["accept", "host"]);
    }

    #[test]
    fn of_a_repeated_header_the_first_value_counts_and_a_sensitive_one_is_left_out() {
        let request = |headers: [(http::HeaderName, HeaderValue); 3]| {
            let mut parts = http::Request::new(()).into_parts().0;
            parts.headers.extend(headers.into_iter().map(|(name, value)| (Some(name), value)));
            for (name, value) in [("accept", "b"), ("sentry-trace", "late")] {
                parts.headers.append(name, HeaderValue::from_static(value));
            }
            let mut head = Head::default();
            head.capture(&parts, &allowed());
            head
        };
        let value = HeaderValue::from_static;
        let mut secret = value("a");
        secret.set_sensitive(true);
        let trace = (SENTRY_TRACE.clone(), value(SENTRY));
        let head = request([(http::header::ACCEPT, value("a")), (http::header::HOST, value("h")), trace.clone()]);
        assert_eq!(
            head.to_request("GET", &allowed()).unwrap().headers.into_iter().collect::<Vec<_>>(),
            [("accept".to_owned(), "a".to_owned()), ("host".to_owned(), "h".to_owned())]
        );
        assert_eq!(head.text(head.sentry_trace), Some(SENTRY));
        let head = request([(http::header::ACCEPT, secret), (http::header::HOST, value("h")), trace]);
        assert_eq!(head.to_request("GET", &allowed()).unwrap().headers.into_keys().collect::<Vec<_>>(), ["host"]);
    }

    #[test]
    fn what_is_too_long_is_cut_between_its_parts() {
        assert_eq!(cut("a=1&b=22&c=3", '&', 100), "a=1&b=22&c=3");
        assert_eq!(cut("a=1&b=22&c=3", '&', 7), "a=1");
        assert_eq!(cut("a=12345678", '&', 4), "", "half a value is none");
        let long = "x".repeat(MAX_HEADER + 1);
        let request = head(&[("host", "shop.example"), ("accept", &long)]).to_request("GET", &allowed());
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
