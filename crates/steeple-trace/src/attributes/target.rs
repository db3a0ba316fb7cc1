use http::{HeaderMap, header, request};
use steeple_core::forwarded::Element;

use super::MAX_TEXT;
use crate::scrub::cut;

/// Where a request was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'r> {
    pub(crate) scheme: &'r str,
    /// Host and port.
    pub(crate) authority: Option<&'r str>,
}

impl<'r> Target<'r> {
    /// The scheme and the host of the request as the client sees them: what a proxy forwarded, if proxies are
    /// believed, then the URI's, then the `Host` header's.
    pub(crate) fn of(request: &'r request::Parts, believe_proxies: bool, default_scheme: &'r str) -> Self {
        let (proto, forwarded_host) = if believe_proxies { forwarded(&request.headers) } else { (None, None) };
        let known = |scheme: &&str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let scheme = proto.filter(known).or(request.uri.scheme_str()).unwrap_or(default_scheme);
        let authority = forwarded_host
            .or_else(|| request.uri.authority().map(http::uri::Authority::as_str))
            .or_else(|| request.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
        Self { scheme, authority }
    }
}

/// Host and port of `host:port`, `[::1]:8080` or `user@host`. The brackets of an address go, and so does the user.
pub(super) fn split_host(text: &str) -> (Option<&str>, Option<u16>) {
    let text = text.rsplit('@').next().unwrap_or(text).trim();
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        rest.split_once(']').map_or((rest, None), |(host, port)| (host, port.strip_prefix(':')))
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (text, None),
        }
    };
    let host = cut(host, MAX_TEXT);
    ((!host.is_empty()).then_some(host), port.and_then(|port| port.parse().ok()))
}

/// Scheme and host that the nearest proxy put into `Forwarded`, else into `X-Forwarded-*`.
fn forwarded(headers: &HeaderMap) -> (Option<&str>, Option<&str>) {
    let last = |name: &str| {
        let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
        value.rsplit(',').next().map(str::trim).filter(|value| !value.is_empty())
    };
    let nearest = Element::nearest(headers).unwrap_or_default();
    let text = |value: Option<_>| value.and_then(|value| str::from_utf8(value).ok());
    let found = (text(nearest.proto), text(nearest.host));
    (found.0.or_else(|| last("x-forwarded-proto")), found.1.or_else(|| last("x-forwarded-host")))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[track_caller]
    fn check(text: &str, want: (Option<&str>, Option<u16>)) {
        assert_eq!(split_host(text), want, "{text:?}");
    }

    #[test]
    fn hosts_are_split_from_ports_and_users() {
        check("example.org:8080", (Some("example.org"), Some(8080)));
        check("example.org", (Some("example.org"), None));
        check("[::1]:80", (Some("::1"), Some(80)));
        check("[::1]", (Some("::1"), None));
        check("ann:secret@example.org:1", (Some("example.org"), Some(1)));
        check("", (None, None));
        check(":80", (None, Some(80)));
        check("host:99999", (Some("host"), None));
    }

    #[test]
    fn a_proxys_word_counts_only_where_proxies_are_believed() {
        let request = Request::builder()
            .uri("/path")
            .header("host", "inner:3000")
            .header("forwarded", "for=1.2.3.4;host=forged, for=10.0.0.1;proto=https;host=\"shop.example:444\"")
            .header("x-forwarded-proto", "http");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let of = |believe| Target::of(&parts, believe, "http");
        assert_eq!(of(false), Target { scheme: "http", authority: Some("inner:3000") });
        assert_eq!(of(true), Target { scheme: "https", authority: Some("shop.example:444") });
    }
}
