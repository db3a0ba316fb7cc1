//! A service with an address for every way in which an exchange can end.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt, panic,
    sync::{Arc, Mutex, Once},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::rt::TokioIo;
use steeple_core::Exchange;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};
use tower::Service;

/// The service. Clones are the same lab.
///
/// | address | answer |
/// | --- | --- |
/// | `/full` | `hello`, a body that knows its length and its end |
/// | `/chunked` | `abcdef` in two frames, of unknown length |
/// | `/declared` | `abcdef` with a `content-length`; the body never says that it is over |
/// | `/trailers` | `abc` and a trailer |
/// | `/empty` | nothing |
/// | `/status/{code}` | this status and `status`; with 204 and 304 nothing |
/// | `/service-error` | an error instead of a response |
/// | `/body-error` | `abcdef`, then an error |
/// | `/panic`, `/body-panic` | a panic; `abc`, then a panic |
/// | `/never` | nothing, ever |
/// | `/stall` | `abc`, then nothing, ever |
/// | `/slow` | a head and ten frames of `x`, each some time after the other |
/// | `/echo` | the request body as it comes |
/// | `/first-frame` | the length of the request body's first frame; the rest is not read |
/// | `/swallow` | nothing, once the request body was read to its end; an error if it has none |
/// | `/upgrade` | 101, then echoes bytes |
/// | `CONNECT` | 200, then echoes bytes |
///
/// A `HEAD` is answered like a `GET`: over HTTP/1.1 hyper drops the body unread, over HTTP/2 it would send it.
#[derive(Clone, Debug, Default)]
pub struct Lab {
    awaited: Arc<Mutex<Awaited>>,
}

#[derive(Debug, Default)]
struct Awaited {
    last: u64,
    arrivals: HashMap<u64, oneshot::Sender<()>>,
}

/// The header that asks the lab to say that a request has arrived.
pub const ARRIVAL: &str = "x-lab-arrival";

/// A response body of the lab.
pub type LabBody = UnsyncBoxBody<Bytes, LabError>;

/// What fails in the lab.
#[derive(Debug)]
pub struct LabError(&'static str);

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for LabError {}

impl Lab {
    /// A new lab. Its panics stay out of the test's output.
    pub fn new() -> Self {
        quiet_lab_panics();
        Self::default()
    }

    /// A value for the header [`ARRIVAL`], and what resolves once a request with it has reached the service.
    pub fn arrival(&self) -> (HeaderValue, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let mut awaited = self.awaited.lock().unwrap();
        awaited.last += 1;
        let number = awaited.last;
        awaited.arrivals.insert(number, sender);
        (number.into(), receiver)
    }

    fn say_that_it_arrived(&self, headers: &HeaderMap) {
        let number = headers.get(ARRIVAL).and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(number) = number
            && let Some(sender) = self.awaited.lock().unwrap().arrivals.remove(&number)
        {
            let _client_is_gone = sender.send(());
        }
    }

    async fn answer<B>(self, mut request: Request<B>) -> Result<Response<LabBody>, LabError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: fmt::Debug,
    {
        let path = request.uri().path().to_owned();
        if let Some(exchange) = request.extensions().get::<Exchange>()
            && let Some(template) = template(&path)
        {
            exchange.report_route(template);
        }
        self.say_that_it_arrived(request.headers());
        if request.method() == Method::CONNECT {
            echo_after_upgrade(&mut request);
            return Ok(Response::new(nothing()));
        }
        let body = match path.as_str() {
            "/full" => Full::new(Bytes::from_static(b"hello")).map_err(never).boxed_unsync(),
            "/chunked" => frames([Ok(data(b"abc")), Ok(data(b"def"))]),
            "/declared" => {
                let body = frames_and_then_nothing([Ok(data(b"abc")), Ok(data(b"def"))]);
                return Ok(Response::builder().header(header::CONTENT_LENGTH, 6).body(body).unwrap());
            }
            "/trailers" => {
                let trailers = HeaderMap::from_iter([(header::EXPIRES, HeaderValue::from_static("never"))]);
                frames([Ok(data(b"abc")), Ok(Frame::trailers(trailers))])
            }
            "/empty" => nothing(),
            "/service-error" => return Err(LabError("the lab failed")),
            "/body-error" => frames([Ok(data(b"abc")), Ok(data(b"def")), Err(LabError("the lab's body failed"))]),
            "/panic" => panic!("lab: a panic"),
            "/body-panic" => {
                let panics = stream::once(async { panic!("lab: a panic in the body") });
                StreamBody::new(stream::iter([Ok(data(b"abc"))]).chain(panics)).boxed_unsync()
            }
            "/never" => std::future::pending().await,
            "/stall" => frames_and_then_nothing([Ok(data(b"abc"))]),
            "/slow" => slow(request.uri().query().and_then(|query| query.parse().ok()).unwrap_or(0)).await,
            "/echo" => request.into_body().map_err(|_| LabError("the upload failed")).boxed_unsync(),
            "/first-frame" => {
                let frame = request.into_body().frame().await;
                let bytes = frame.and_then(|frame| frame.ok()?.into_data().ok()).map_or(0, |data| data.len());
                Full::new(Bytes::from(bytes.to_string())).map_err(never).boxed_unsync()
            }
            "/swallow" => {
                request.into_body().collect().await.map_err(|_broken_off| LabError("the upload failed"))?;
                nothing()
            }
            "/upgrade" => {
                echo_after_upgrade(&mut request);
                let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
                return Ok(response.header("connection", "upgrade").header("upgrade", "echo").body(nothing()).unwrap());
            }
            other => {
                let status = other.strip_prefix("/status/").and_then(|code| code.parse::<u16>().ok());
                let (status, body) = match status {
                    // Nothing to send, but the body does not declare it.
                    Some(code @ (204 | 304)) => (code, frames([])),
                    Some(code) => (code, frames([Ok(data(b"status"))])),
                    None => (404, nothing()),
                };
                return Ok(Response::builder().status(status).body(body).unwrap());
            }
        };
        Ok(Response::new(body))
    }
}

/// What a router would have matched.
fn template(path: &str) -> Option<&'static str> {
    const PLAIN: [&str; 16] = [
        "/full",
        "/chunked",
        "/declared",
        "/trailers",
        "/empty",
        "/service-error",
        "/body-error",
        "/panic",
        "/body-panic",
        "/never",
        "/stall",
        "/slow",
        "/echo",
        "/first-frame",
        "/upgrade",
        "/swallow",
    ];
    if path.starts_with("/status/") {
        return Some("/status/{code}");
    }
    PLAIN.into_iter().find(|plain| *plain == path)
}

impl<B> Service<Request<B>> for Lab
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: fmt::Debug,
{
    type Response = Response<LabBody>;
    type Error = LabError;
    type Future = BoxFuture<'static, Result<Response<LabBody>, LabError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LabError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.clone().answer(request).boxed()
    }
}

fn data(bytes: &'static [u8]) -> Frame<Bytes> {
    Frame::data(Bytes::from_static(bytes))
}

fn never(never: Infallible) -> LabError {
    match never {}
}

fn nothing() -> LabBody {
    Empty::new().map_err(never).boxed_unsync()
}

type LabFrame = Result<Frame<Bytes>, LabError>;

fn frames<const N: usize>(frames: [LabFrame; N]) -> LabBody {
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

fn frames_and_then_nothing<const N: usize>(frames: [LabFrame; N]) -> LabBody {
    StreamBody::new(stream::iter(frames).chain(stream::pending())).boxed_unsync()
}

/// The query says how many microseconds lie before the head and between the frames.
async fn slow(gap_micros: u64) -> LabBody {
    let gap = Duration::from_micros(gap_micros);
    tokio::time::sleep(gap).await;
    let frames = stream::iter(0..10).then(move |_| async move {
        tokio::time::sleep(gap).await;
        Ok(data(b"x"))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn echo_after_upgrade<B>(request: &mut Request<B>) {
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut io = TokioIo::new(upgraded);
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = io.read(&mut buffer).await {
            let echoed = buffer.get(..read).unwrap_or_default();
            if io.write_all(echoed).await.is_err() || io.flush().await.is_err() {
                return;
            }
        }
    });
}

/// Keeps the lab's own panics out of the tests' output.
fn quiet_lab_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.payload_as_str().is_some_and(|message| message.starts_with("lab:")) {
                before(info);
            }
        }));
    });
}
