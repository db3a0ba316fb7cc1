use std::{error::Error, fmt, net::IpAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri, uri};

/// Where requests go: an `http` or `https` URL.
///
/// A user and a password in the URL become the header `authorization`, and leave the URL. `Display` and `Debug` show scheme, host
/// and port alone: paths and queries hold keys.
///
/// # Examples
/// ```
/// use steeple_export::Endpoint;
///
/// # fn main() -> Result<(), steeple_export::EndpointError> {
/// let endpoint = Endpoint::parse("https://elastic:hunter2@logs.example.com:9200/shop/_bulk?pipeline=geo")?;
/// assert_eq!(endpoint.to_string(), "https://logs.example.com:9200");
/// assert_eq!(endpoint.uri().path(), "/shop/_bulk");
/// assert!(endpoint.authorization().is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    authorization: Option<HeaderValue>,
}

/// A URL that nothing can be sent to. Never shows the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointError(&'static str);

impl Endpoint {
    /// Reads a URL.
    ///
    /// # Errors
    /// When it is not an absolute `http` or `https` URL, or its user is not valid percent-encoded text.
    pub fn parse(url: &str) -> Result<Self, EndpointError> {
        let uri: Uri = url.trim().parse().map_err(|_url| EndpointError("not a valid URL"))?;
        let mut parts = uri.into_parts();
        if !parts.scheme.as_ref().is_some_and(|scheme| *scheme == uri::Scheme::HTTP || *scheme == uri::Scheme::HTTPS) {
            return Err(EndpointError("the URL must begin with `http://` or `https://`"));
        }
        let authority = parts.authority.take().ok_or(EndpointError("the URL has no host"))?;
        let (user, host) = match authority.as_str().rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority.as_str()),
        };
        let authorization = user.filter(|user| !user.is_empty()).map(basic).transpose()?;
        let host: uri::Authority = host.parse().map_err(|_host| EndpointError("the URL's host is not valid"))?;
        if host.host().is_empty() || (host.as_str() != host.host() && host.port_u16().is_none()) {
            return Err(EndpointError("the URL's host or port is not valid"));
        }
        parts.authority = Some(host);
        if parts.path_and_query.is_none() {
            parts.path_and_query = Some(uri::PathAndQuery::from_static("/"));
        }
        let uri = Uri::from_parts(parts).map_err(|_parts| EndpointError("not a valid URL"))?;
        Ok(Self { uri, authorization })
    }

    /// The same place with another path and query, such as `/api/v2/alerts`, after the URL's own path.
    ///
    /// # Errors
    /// When it is not a valid path.
    pub fn join(&self, path: &str) -> Result<Self, EndpointError> {
        let mut parts = self.uri.clone().into_parts();
        let base = self.uri.path().trim_end_matches('/');
        let path = format!("{base}/{}", path.trim_start_matches('/'));
        parts.path_and_query = Some(path.parse().map_err(|_path| EndpointError("not a valid path"))?);
        let uri = Uri::from_parts(parts).map_err(|_parts| EndpointError("not a valid path"))?;
        Ok(Self { uri, authorization: self.authorization.clone() })
    }

    /// The URL, without user and password.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The header `authorization` for the user and password that stood in the URL.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Whether requests are encrypted.
    pub fn is_https(&self) -> bool {
        is_https(&self.uri)
    }

    /// Whether it is this machine: `localhost`, 127.0.0.0/8 or `::1`.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.uri)
    }
}

pub(super) fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&uri::Scheme::HTTPS)
}

pub(super) fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn basic(user: &str) -> Result<HeaderValue, EndpointError> {
    let mut plain = Vec::with_capacity(user.len());
    let mut rest = user.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit(rest.next()), digit(rest.next()));
            let value = high.zip(low).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            value.ok_or(EndpointError("the URL's user is not valid percent-encoded text"))?
        } else {
            byte
        };
        plain.push(byte);
    }
    if !plain.contains(&b':') {
        plain.push(b':');
    }
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain)))
        .map_err(|_never| EndpointError("the URL's user is not valid"))?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map_or("", uri::Authority::as_str);
        write!(f, "{scheme}://{authority}")
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for EndpointError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, shown: &str, path: &str, authorization: Option<&str>) {
        let endpoint = Endpoint::parse(url).unwrap();
        assert_eq!((endpoint.to_string().as_str(), endpoint.uri().path()), (shown, path), "{url}");
        let basic = authorization.map(|plain| format!("Basic {}", STANDARD.encode(plain)));
        let held = endpoint.authorization().map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(held, basic, "{url}");
        assert!(endpoint.authorization().is_none_or(HeaderValue::is_sensitive));
    }

    #[test]
    fn credentials_leave_the_url() {
        check("http://localhost:9200", "http://localhost:9200", "/", None);
        check("https://ann:hun%40ter2@example.com/a/b?x=1", "https://example.com", "/a/b", Some("ann:hun@ter2"));
        check("https://key@example.com/", "https://example.com", "/", Some("key:"));
        check("http://@[::1]:80/x", "http://[::1]:80", "/x", None);
    }

    #[test]
    fn what_nothing_can_be_sent_to_is_refused_without_showing_it() {
        let urls = [
            "",
            "nonsense",
            "/path",
            "localhost:9200",
            "ftp://hunter2@example.com",
            "https://",
            "https://a:hunter2%zz@b",
            "https://example.com:99999/hunter2",
            "https://exa mple.com/hunter2",
            "file:///hunter2",
            "http://hunter2@",
        ];
        for url in urls {
            let error = Endpoint::parse(url).unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_path_is_joined_with_one_slash() {
        let base = Endpoint::parse("http://u:p@localhost/prefix/?old=1").unwrap();
        let joined = base.join("/api/v2?new=1").unwrap();
        assert_eq!(joined.uri().path_and_query().unwrap(), "/prefix/api/v2?new=1");
        assert_eq!(joined.authorization(), base.authorization());
    }
}
