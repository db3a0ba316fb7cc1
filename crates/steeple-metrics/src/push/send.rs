use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper_util::rt::TokioIo;
use steeple_scrub::Scrubber;
use tokio::net::TcpStream;

/// A push that did not get through.
#[derive(Debug)]
pub struct PushError(ErrorKind);

#[derive(Debug)]
enum ErrorKind {
    TimedOut,
    Panicked,
    Refused(StatusCode, Box<str>),
    Unreachable(Box<dyn std::error::Error + Send + Sync>),
}

impl PushError {
    /// For a transport: the far side could not be talked to.
    pub fn unreachable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(ErrorKind::Unreachable(source.into()))
    }

    pub(super) fn panicked() -> Self {
        Self(ErrorKind::Panicked)
    }

    /// The status with which the receiver refused the push.
    pub fn status(&self) -> Option<StatusCode> {
        match self.0 {
            ErrorKind::Refused(status, _) => Some(status),
            ErrorKind::TimedOut | ErrorKind::Panicked | ErrorKind::Unreachable(_) => None,
        }
    }

    /// Why the receiver refused the push: the first line of its answer, scrubbed and cut.
    pub fn reason(&self) -> Option<&str> {
        match &self.0 {
            ErrorKind::Refused(_, reason) => Some(&**reason).filter(|reason| !reason.is_empty()),
            ErrorKind::TimedOut | ErrorKind::Panicked | ErrorKind::Unreachable(_) => None,
        }
    }

    /// Whether a collector or the transport panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.0, ErrorKind::Panicked)
    }

    /// Whether the receiver refused the series of this request, and may take others.
    pub(super) fn is_of_this_request(&self) -> bool {
        self.status().is_some_and(|status| status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS)
    }

    /// Whether the far side took too long.
    pub fn is_timeout(&self) -> bool {
        matches!(self.0, ErrorKind::TimedOut)
    }

    pub(super) fn as_str(&self) -> &'static str {
        match self.0 {
            ErrorKind::TimedOut => "timed_out",
            ErrorKind::Panicked => "panicked",
            ErrorKind::Refused(..) => "refused",
            ErrorKind::Unreachable(_) => "unreachable",
        }
    }
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ErrorKind::TimedOut => f.write_str("the push timed out"),
            ErrorKind::Panicked => f.write_str("a collector or the transport panicked"),
            ErrorKind::Refused(status, _) => write!(f, "the push endpoint answered {status}"),
            ErrorKind::Unreachable(_) => f.write_str("could not reach the push endpoint"),
        }
    }
}

impl std::error::Error for PushError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            ErrorKind::Unreachable(source) => Some(&**source),
            ErrorKind::TimedOut | ErrorKind::Panicked | ErrorKind::Refused(..) => None,
        }
    }
}

/// What a [`Transport`] returns.
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, PushError>> + Send + 'a>>;

/// Sends one request and returns the answer.
pub trait Transport: Send + Sync + 'static {
    /// Sends the request. [`PushOptions::timeout`](super::PushOptions::timeout) is kept outside. Of the answer's body, only
    /// the first line is read.
    fn send(&self, request: Request<Bytes>) -> Answer<'_>;
}

/// How much of an answer's body is read.
const MAX_ANSWER: usize = 8 * 1024;

/// How much of a reason is kept.
const MAX_REASON: usize = 256;

fn first_line(body: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(body.get(..MAX_ANSWER).unwrap_or(body));
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let shown = Scrubber::default().text(line).cut(MAX_REASON, "…").into_inner();
    shown.chars().filter(|c| !c.is_control()).collect()
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
            let answer = async {
                let (head, body) = answer.await.map_err(PushError::unreachable)?.into_parts();
                // The status says whether it was taken. A body that breaks off or is too long only loses the reason.
                let body = Limited::new(body, MAX_ANSWER).collect().await.map(Collected::to_bytes).unwrap_or_default();
                Ok(Response::from_parts(head, body))
            };
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
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(PushError(ErrorKind::Refused(answer.status(), first_line(answer.body())))),
        }
    }
}
