use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use super::Endpoint;
use crate::{Answer, DropReason, Reason};

/// A request, as a protocol writes it.
#[derive(Clone)]
#[must_use = "a request does nothing until an exporter sends it"]
pub struct Request {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    is_body_secret: bool,
    #[cfg(feature = "gzip")]
    pub(super) gzip: bool,
    #[cfg(feature = "otlp")]
    pub(super) http2: bool,
}

impl Request {
    /// A POST to an endpoint, with the endpoint's credentials if it has any.
    pub fn post(endpoint: &Endpoint) -> Self {
        Self::new(Method::POST, endpoint)
    }

    /// Another method.
    pub fn new(method: Method, endpoint: &Endpoint) -> Self {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = endpoint.authorization() {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        Self {
            method,
            uri: endpoint.uri().clone(),
            headers,
            body: Bytes::new(),
            is_body_secret: false,
            #[cfg(feature = "gzip")]
            gzip: false,
            #[cfg(feature = "otlp")]
            http2: false,
        }
    }

    /// Sets a header. Mark values that are keys as sensitive: [`HeaderValue::set_sensitive`].
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the content type.
    pub fn content_type(self, value: &'static str) -> Self {
        self.header(header::CONTENT_TYPE, HeaderValue::from_static(value))
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The body is JSON with a key in it: where the key's [file](crate::secret) has another one, that is sent. Not together with
    /// `gzip`.
    pub fn secrets_in_body(mut self) -> Self {
        self.is_body_secret = true;
        self
    }

    /// Compresses the body before it is signed and sent, and sets `content-encoding`.
    #[cfg(feature = "gzip")]
    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// Speaks HTTP/2, over TLS or with prior knowledge: for gRPC.
    #[cfg(feature = "otlp")]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Changes the target: a signature in the query.
    pub fn uri_mut(&mut self) -> &mut Uri {
        &mut self.uri
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The headers, to add a signature.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The body; in [`Protocol::sign`](super::Protocol::sign) as it goes out.
    pub fn payload(&self) -> &Bytes {
        &self.body
    }

    /// Whether the other one asks for the same with the same credentials.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.uri == other.uri && self.headers == other.headers && self.body == other.body
    }

    pub(crate) fn is_body_secret(&self) -> bool {
        self.is_body_secret
    }

    pub(crate) fn set_body(&mut self, body: impl Into<Bytes>) {
        self.body = body.into();
    }

    /// Compresses the body, if that was asked for.
    #[cfg(feature = "gzip")]
    pub(super) fn compress(&mut self) -> Result<(), Reason> {
        use std::io::Write;

        if !std::mem::take(&mut self.gzip) {
            return Ok(());
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&self.body).map_err(|error| Reason::of_error(&error))?;
        self.body = encoder.finish().map_err(|error| Reason::of_error(&error))?.into();
        self.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        Ok(())
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Queries, headers and bodies hold keys and users' data.
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &self.uri.host())
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// An answer, as a protocol judges it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, up to [`ClientBuilder::max_response_bytes`](super::ClientBuilder::max_response_bytes).
    pub body: Bytes,
    /// Whether the body was longer.
    pub is_cut: bool,
    /// What came after the body: `grpc-status`.
    pub trailers: HeaderMap,
}

impl Response {
    /// An answer without headers and body: for tables of tests.
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), is_cut: false, trailers: HeaderMap::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// What people should know of a refusal: the status, and the beginning of the body, scrubbed.
    pub fn reason(&self) -> Reason {
        let head = self.body.get(..self.body.len().min(4096)).unwrap_or_default();
        let body = String::from_utf8_lossy(head);
        let body = body.trim();
        if body.is_empty() {
            return Reason::scrub(&self.status.to_string());
        }
        Reason::scrub(&format!("{}: {body}", self.status.as_u16()))
    }
}

impl Answer {
    /// What an answer means by its status alone.
    ///
    /// | status | answer |
    /// | --- | --- |
    /// | 2xx | [`Accepted`](Self::Accepted) |
    /// | 408, 425, 500, 502, 503, 504 and other 5xx | [`Retry`](Self::Retry), counted as `unavailable` |
    /// | 429 | [`Retry`](Self::Retry), counted as `rate_limited` |
    /// | 413 | [`TooLarge`](Self::TooLarge) |
    /// | 401, 403, 407 | [`Paused`](Self::Paused) |
    /// | 501, 505 and every other one | [`Rejected`](Self::Rejected) |
    ///
    /// `Retry-After` counts in both of its forms.
    pub fn of(response: &Response) -> Self {
        let after = || retry_after(&response.headers, SystemTime::now());
        let retry = |cause| Self::Retry { after: after(), cause, why: response.reason() };
        match response.status.as_u16() {
            200..=299 => Self::Accepted,
            429 => retry(DropReason::RateLimited),
            413 => Self::TooLarge,
            401 | 403 | 407 => Self::Paused(response.reason()),
            501 | 505 => Self::rejected(response.reason()),
            408 | 425 | 500..=599 => retry(DropReason::Unavailable),
            _ => Self::rejected(response.reason()),
        }
    }
}

/// How long `Retry-After` asks to wait: seconds, or a date against the wall clock. A date that is over counts as zero; what is
/// neither counts as nothing.
///
/// # Source
/// RFC 9110, section 10.2.3.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    // More digits than fit are a long time all the same.
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, want: Option<u64>) {
        let now = httpdate::parse_http_date("Tue, 24 Nov 2026 10:00:00 GMT").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, value.parse().unwrap());
        assert_eq!(retry_after(&headers, now), want.map(Duration::from_secs), "{value}");
    }

    #[test]
    fn retry_after_counts_in_both_forms() {
        check("0", Some(0));
        check(" 30 ", Some(30));
        check("99999999999999999999999", Some(u64::MAX));
        check("Tue, 24 Nov 2026 10:00:30 GMT", Some(30));
        check("Tuesday, 24-Nov-26 10:00:30 GMT", Some(30));
        check("Tue, 24 Nov 2026 09:00:00 GMT", Some(0));
        check("-5", None);
        check("1.5", None);
        check("soon", None);
        check("", None);
    }

    #[test]
    fn a_status_alone_has_one_meaning() {
        for status in 100..1000_u16 {
            let Ok(status) = StatusCode::from_u16(status) else { continue };
            let answer = Answer::of(&Response::new(status));
            let want = match status.as_u16() {
                200..=299 => matches!(answer, Answer::Accepted),
                413 => matches!(answer, Answer::TooLarge),
                401 | 403 | 407 => matches!(answer, Answer::Paused(_)),
                429 => matches!(answer, Answer::Retry { cause: DropReason::RateLimited, .. }),
                408 | 425 | 500 | 502..=504 | 506..=599 => {
                    matches!(answer, Answer::Retry { cause: DropReason::Unavailable, .. })
                }
                _ => matches!(answer, Answer::Rejected { cause: DropReason::Rejected, .. }),
            };
            assert!(want, "{status}: {answer:?}");
        }
    }

    #[test]
    fn a_reason_is_scrubbed_short_and_one_line() {
        let body = format!("no\nsuch key: password=hunter2 {}", "x".repeat(10_000));
        let reason = Response::new(StatusCode::BAD_REQUEST).with_body(body).reason();
        assert!(reason.as_str().starts_with("400: no such key: password=[redacted:key]"), "{reason}");
        assert!(reason.as_str().len() <= 260 && !reason.as_str().contains('\n'));
        assert_eq!(Response::new(StatusCode::NOT_FOUND).reason().as_str(), "404 Not Found");
    }

    #[cfg(feature = "gzip")]
    #[test]
    fn a_body_is_compressed_once() {
        use std::io::Read;

        let endpoint = Endpoint::parse("http://localhost/").unwrap();
        let mut request = Request::post(&endpoint).body("a".repeat(1000)).gzip();
        request.compress().unwrap();
        request.compress().unwrap();
        assert_eq!(request.headers()[header::CONTENT_ENCODING], "gzip");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&request.payload()[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "a".repeat(1000));
    }
}
