//! Signature Version 4.
//!
//! Our own: it needs `hmac` and `sha2`, which the workspace has; `aws-sigv4` brings eleven crates. A test compares 200 requests
//! with what botocore signs.
//!
//! # Source
//! AWS general reference, "Create a signed AWS API request".

use std::{fmt::Write, time::SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use steeple_core::{date, hex::Hex};
use steeple_export::{Reason, secret};

use crate::credentials::Credentials;

/// Everything but unreserved characters.
pub(crate) const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same for paths, which are encoded a second time.
const PATH: &AsciiSet = &STRICT.remove(b'/');

/// Headers that proxies change, or that are set after the signature.
const UNSIGNED: [&str; 6] =
    ["authorization", "connection", "expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"];

/// The signed parts of a request.
pub(crate) struct Message<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a mut HeaderMap,
    pub(crate) body: &'a [u8],
}

/// Signs a message: sets `x-amz-date`, `x-amz-security-token` and `authorization`.
///
/// # Errors
/// A key that cannot be a header's value.
pub(crate) fn sign(
    message: Message<'_>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    now: SystemTime,
) -> Result<(), Reason> {
    let Message { method, uri, headers, body } = message;
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // `2026-11-29T23:55:00Z` without what separates.
    let at: String = date::rfc3339(since_epoch).chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let day = at.get(..8).unwrap_or_default();
    headers.insert(HeaderName::from_static("x-amz-date"), value(&at)?);
    if let Some(token) = credentials.session_token() {
        let mut token = value(secret::current(token).as_deref().unwrap_or(token))?;
        token.set_sensitive(true);
        headers.insert(HeaderName::from_static("x-amz-security-token"), token);
    }
    let (canonical, signed) = canonical_request(method, uri, headers, body)?;
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hash(canonical.as_bytes()));
    let signed_with = credentials.secret_access_key();
    let renewed = secret::current(signed_with);
    let signed_with = renewed.as_deref().unwrap_or(signed_with);
    let mut key = hmac(format!("AWS4{signed_with}").as_bytes(), day.as_bytes());
    for part in [region, service, "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    let signature = hmac(&key, to_sign.as_bytes());
    let id = credentials.access_key_id();
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={signed}, Signature={}", Hex::new(signature));
    let mut authorization = value(&authorization)?;
    authorization.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, authorization);
    Ok(())
}

fn hash(bytes: &[u8]) -> Hex<32> {
    Hex::new(Sha256::digest(bytes).into())
}

fn value(text: &str) -> Result<HeaderValue, Reason> {
    HeaderValue::from_str(text).map_err(|_invalid| "the credentials are not valid header values".into())
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    // Keys of any length are allowed.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// The request as both sides write it down, and the names of its signed headers.
fn canonical_request(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<(String, String), Reason> {
    let mut lines: Vec<(&str, String)> = vec![("host", host(uri))];
    for name in headers.keys() {
        if UNSIGNED.contains(&name.as_str()) || name == header::HOST {
            continue;
        }
        let mut joined = String::new();
        for (index, value) in headers.get_all(name).iter().enumerate() {
            let value = value.to_str().map_err(|_opaque| Reason::from("a header that is not text cannot be signed"))?;
            joined.push_str(if index == 0 { "" } else { "," });
            let words: Vec<_> = value.split_ascii_whitespace().collect();
            joined.push_str(&words.join(" "));
        }
        lines.push((name.as_str(), joined));
    }
    lines.sort_unstable();
    let signed = lines.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut canonical = format!(
        "{method}\n{}\n{}\n",
        utf8_percent_encode(&canonical_path(uri.path()), PATH),
        canonical_query(uri.query().unwrap_or_default())
    );
    for (name, value) in lines {
        let _infallible = writeln!(canonical, "{name}:{value}");
    }
    let _infallible = write!(canonical, "\n{signed}\n{}", hash(body));
    Ok((canonical, signed))
}

/// The host as the client will send it: without the scheme's own port.
fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match (uri.port_u16(), uri.scheme_str()) {
        (None, _) | (Some(443), Some("https")) | (Some(80), Some("http")) => host.to_owned(),
        (Some(port), _) => format!("{host}:{port}"),
    }
}

/// The path without empty segments and dots, as every service but S3 signs it.
fn canonical_path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => (),
            ".." => _ = segments.pop(),
            segment => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// The pairs in the order of their bytes.
fn canonical_query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<_> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// # Source
    /// AWS, Signature Version 4 test suite, `get-vanilla` and `post-x-www-form-urlencoded`.
    #[track_caller]
    fn check(method: &Method, headers: &[(&'static str, &str)], body: &str, want: &str) {
        let credentials = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let uri = Uri::from_static("https://example.amazonaws.com/");
        let now = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(1_440_938_160)).unwrap();
        let message = Message { method, uri: &uri, headers: &mut map, body: body.as_bytes() };
        sign(message, &credentials, "us-east-1", "service", now).unwrap();
        let authorization = map[header::AUTHORIZATION].to_str().unwrap();
        let (_, signature) = authorization.split_once("Signature=").unwrap();
        assert_eq!(signature, want, "{authorization}");
        assert!(map[header::AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn signatures_are_those_of_awss_own_suite() {
        check(&Method::GET, &[], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        check(
            &Method::POST,
            &[("content-type", "application/x-www-form-urlencoded")],
            "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        );
    }

    #[test]
    fn a_path_is_signed_without_empty_segments_and_dots() {
        for (path, want) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("//a//b/", "/a/b/"),
            ("/x/./y/../z", "/x/z"),
            ("/../a/.", "/a"),
            ("/a%2F..", "/a%2F.."),
        ] {
            assert_eq!(canonical_path(path), want, "{path}");
        }
    }

    #[test]
    fn a_query_is_sorted_and_the_schemes_port_is_not_signed() {
        assert_eq!(canonical_query("b=2&a=3&a=1&c"), "a=1&a=3&b=2&c=");
        assert_eq!(host(&Uri::from_static("http://localhost:80/")), "localhost");
        assert_eq!(host(&Uri::from_static("http://[::1]:5000/")), "[::1]:5000");
    }
}
