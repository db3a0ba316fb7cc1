//! A service with every ending, and a place to read its log.

use std::{
    convert::Infallible,
    future::Future,
    io::{self, Write},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use steeple_core::{
    Exchange, ObserveLayer, Observer,
    test_util::{ScriptedBody, Step},
};
use steeple_log::{Format, Log, LogBuilder, LogGuard};
use tower::{Layer, Service, ServiceExt, service_fn};

/// A writer whose text can be read while it is written.
#[derive(Clone, Default)]
pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// A log on paper.
pub(crate) struct Book {
    pub(crate) guard: LogGuard,
    pub(crate) paper: Paper,
}

impl Book {
    pub(crate) fn new(format: Format) -> Self {
        Self::with(Log::builder(), format)
    }

    pub(crate) fn with(logging: LogBuilder, format: Format) -> Self {
        let paper = Paper::default();
        let guard = logging.without_console().writer(paper.clone(), format).build().unwrap();
        Self { guard, paper }
    }

    pub(crate) fn text(&self) -> String {
        assert!(self.guard.flush(Duration::from_secs(10)), "flushed in time");
        self.paper.text()
    }

    /// The lines, each of which must be a JSON object without a key that is there twice.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(read).collect()
    }

    pub(crate) fn line(&self) -> Value {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines.remove(0)
    }
}

/// Reads a line; `serde_json` alone would take the last of two equal keys.
#[track_caller]
pub(crate) fn read(line: &str) -> Value {
    struct Unique;
    impl<'de> serde::de::Visitor<'de> for Unique {
        type Value = serde_json::Map<String, Value>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut out = serde_json::Map::new();
            while let Some((key, value)) = map.next_entry::<String, Value>()? {
                if out.insert(key.clone(), value).is_some() {
                    return Err(serde::de::Error::custom(format!("{key} is there twice")));
                }
            }
            Ok(out)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(line);
    let object = serde::Deserializer::deserialize_map(&mut reader, Unique);
    reader.end().unwrap();
    Value::Object(object.unwrap_or_else(|error| panic!("{error}: {line}")))
}

pub(crate) type Body = String;

/// Ends as its path says.
pub(crate) async fn serve(request: Request<Body>) -> Result<Response<ScriptedBody>, String> {
    let path = request.uri().path().to_owned();
    let _all = request.into_body().collect().await;
    let (status, steps) = match &*path {
        "/service-error" => return Err("no database".to_owned()),
        "/panic" => panic!("it broke"),
        "/never" => std::future::pending().await,
        "/body-error" => (200, vec![Step::Data(b"half"), Step::Fail("disk gone")]),
        "/body-panic" => (200, vec![Step::Data(b"half"), Step::Panic("it broke later")]),
        "/stream" => (200, vec![Step::Data(b"one"), Step::Pending, Step::Data(b"two")]),
        "/upgrade" => (101, vec![]),
        status if status.starts_with("/status/") => (status[8..].parse().unwrap(), vec![]),
        _ => (200, vec![Step::Data(b"hello")]),
    };
    Ok(Response::builder().status(status).body(ScriptedBody::new(steps)).unwrap())
}

/// How far the client goes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    ToTheEnd,
    UntilTheHead,
    UntilTheFirstFrame,
    OnePoll,
}

/// Sends a request through a layer, and lets it end.
pub(crate) async fn send<O: Observer>(layer: &ObserveLayer<O>, request: Request<String>, client: Client) {
    let service = layer.layer(service_fn(serve));
    drive(service, request, client).await;
}

/// Answers every request after `f` has seen it, while it is the current exchange.
pub(crate) async fn send_through<O: Observer>(
    layer: &ObserveLayer<O>,
    request: Request<String>,
    f: impl Fn(&Exchange) + Clone,
) {
    let service = layer.layer(service_fn(move |request: Request<Body>| {
        f(request.extensions().get().unwrap());
        async { Ok::<_, Infallible>(Response::new(ScriptedBody::new([]).admitting_its_end())) }
    }));
    drive(service, request, Client::ToTheEnd).await;
}

async fn drive<S, B, E>(service: S, request: Request<String>, client: Client)
where
    S: Service<Request<String>, Response = Response<B>, Error = E>,
    B: http_body::Body,
{
    let answer = Box::pin(Caught(Box::pin(service.oneshot(request))));
    if client == Client::OnePoll {
        let mut answer = answer;
        let waker = std::task::Waker::noop();
        assert!(answer.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        return;
    }
    let Some(Ok(response)) = answer.await else { return };
    if client == Client::UntilTheHead {
        return;
    }
    let mut body = Box::pin(response.into_body());
    while let Some(Some(Ok(_))) = Caught(body.frame()).await {
        if client == Client::UntilTheFirstFrame {
            return;
        }
    }
}

/// `None`: it panicked. As servers do, which go on with the next request.
struct Caught<F>(F);

impl<F: Future + Unpin> Future for Caught<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = std::panic::AssertUnwindSafe(|| Pin::new(&mut self.0).poll(cx));
        match std::panic::catch_unwind(poll) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}

pub(crate) fn get(path: &str) -> Request<String> {
    Request::get(path).body(String::new()).unwrap()
}
