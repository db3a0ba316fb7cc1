use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A push that did not get through.
#[derive(Debug)]
pub struct PushError(ErrorKind);

#[derive(Debug)]
enum ErrorKind {
    TimedOut,
    Refused(StatusCode),
    Unreachable(Box<dyn std::error::Error + Send + Sync>),
}

impl PushError {
    /// For a transport: the far side could not be talked to.
    pub fn unreachable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(ErrorKind::Unreachable(source.into()))
    }

    /// The far side answered with this status, which says no.
    pub fn status(&self) -> Option<StatusCode> {
        match self.0 {
            ErrorKind::Refused(status) => Some(status),
            ErrorKind::TimedOut | ErrorKind::Unreachable(_) => None,
        }
    }

    /// Whether the far side took too long.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, ErrorKind::TimedOut)
    }

    pub(super) fn as_str(&self) -> &'static str {
        match self.0 {
            ErrorKind::TimedOut => "timed_out",
            ErrorKind::Refused(_) => "refused",
            ErrorKind::Unreachable(_) => "unreachable",
        }
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ErrorKind::TimedOut => f.write_str("the push took too long"),
            ErrorKind::Refused(status) => write!(f, "the push was refused with {status}"),
            ErrorKind::Unreachable(_) => f.write_str("there is nobody to push to"),
        }
    }
}

impl std::error::Error for PushError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            ErrorKind::Unreachable(source) => Some(&**source),
            ErrorKind::TimedOut | ErrorKind::Refused(_) => None,
        }
    }
}

/// What a [`Transport`] returns.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<StatusCode, PushError>> + Send + 'a>>;

/// Sends one request and tells the status of its answer.
pub trait Transport: Send + Sync + 'static {
    /// Sends it. Time is kept outside.
    fn send(&self, request: Request<Bytes>) -> Answer<'_>;
}

/// HTTP/1.1 without encryption, a connection for each request: one every few seconds.
pub(super) struct PlainHttp;

impl Transport for PlainHttp {
    fn send(&self, request: Request<Bytes>) -> Answer<'_> {
        Box::pin(async move {
            let uri = request.uri().clone();
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let address = (host, uri.port_u16().unwrap_or(80));
            let stream = TcpStream::connect(address).await.map_err(PushError::unreachable)?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(PushError::unreachable)?;
            let (mut head, body) = request.into_parts();
            if let Some(authority) = uri.authority()
                && let Ok(authority) = HeaderValue::from_str(authority.as_str())
            {
                head.headers.insert(header::HOST, authority);
            }
            // To the far side itself, only the path is said.
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            head.uri = path.parse().map_err(PushError::unreachable)?;
            let answer = sender.send_request(Request::from_parts(head, Full::new(body)));
            let answer = async { Ok(answer.await.map_err(PushError::unreachable)?.status()) };
            let mut answer = std::pin::pin!(answer);
            let mut connection = std::pin::pin!(connection);
            // The connection moves the bytes; it may be over a moment before its answer is read.
            tokio::select! {
                answer = &mut answer => answer,
                _ = &mut connection => answer.await,
            }
        })
    }
}

/// Where to, with what, and for how long.
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) transport: Arc<dyn Transport>,
}

impl Target {
    pub(super) async fn send(&self, method: Method, headers: HeaderMap, body: Bytes) -> Result<(), PushError> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        let agent = HeaderValue::from_static(concat!("steeple-metrics/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        request.headers_mut().extend(headers);
        request.headers_mut().extend(self.headers.clone());
        match tokio::time::timeout(self.timeout, self.transport.send(request)).await {
            Err(_elapsed) => Err(PushError(ErrorKind::TimedOut)),
            Ok(Err(error)) => Err(error),
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(status)) => Err(PushError(ErrorKind::Refused(status))),
        }
    }
}
