//! Outgoing calls: every ending, once.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response, request};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use steeple_core::{
    GrpcStatus, Outcome, TraceContext,
    call::{Call, CallEnd, CallLayer, CallObserver, UrlTemplate},
    observer_panics,
    test_util::{ScriptedBody, Step},
};
use tower::{Layer, ServiceExt, service_fn};

/// What an ending was told as.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    outcome: Outcome,
    class: Option<String>,
    grpc: Option<GrpcStatus>,
    bytes: u64,
}

#[derive(Clone, Default)]
struct Recorder {
    polls: Arc<Mutex<(usize, usize)>>,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Recorder {
    #[track_caller]
    fn one(&self) -> Told {
        let told = self.told.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        let polls = *self.polls.lock().unwrap();
        assert!(polls.0 > 0 && polls.0 == polls.1, "{polls:?}");
        told[0].clone()
    }
}

impl CallObserver for Recorder {
    type State = ();

    fn on_request(&self, _: &mut Call, _: &mut request::Parts) -> Option<()> {
        Some(())
    }

    fn on_enter(&self, (): &mut ()) {
        self.polls.lock().unwrap().0 += 1;
    }

    fn on_exit(&self, (): &mut ()) {
        self.polls.lock().unwrap().1 += 1;
    }

    fn on_end(&self, (): (), _: &Call, end: &CallEnd<'_>) {
        let class = end.error_class().map(str::to_owned);
        let told = Told { outcome: end.outcome, class, grpc: end.grpc_status, bytes: end.response_body_bytes };
        self.told.lock().unwrap().push(told);
    }
}

fn request(method: Method, grpc: bool) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).uri("http://a.example/pkg.Service/Get");
    let request = if grpc { request.header("content-type", "application/grpc") } else { request };
    request.body(Empty::new()).unwrap()
}

/// Calls, and reads the answer to its end.
async fn told(request: Request<Empty<Bytes>>, answer: Result<Response<ScriptedBody>, std::fmt::Error>) -> Told {
    let recorder = Recorder::default();
    let answer = Arc::new(Mutex::new(Some(answer)));
    let client = CallLayer::new(recorder.clone()).layer(service_fn(move |_: Request<Empty<Bytes>>| {
        let answer = answer.lock().unwrap().take().unwrap();
        async move { answer }
    }));
    if let Ok(response) = client.oneshot(request).await {
        let _read = response.into_body().collect().await;
    }
    recorder.one()
}

fn answer(status: u16, steps: impl IntoIterator<Item = Step>) -> Response<ScriptedBody> {
    Response::builder().status(status).body(ScriptedBody::new(steps)).unwrap()
}

fn want(outcome: Outcome, class: Option<&str>, bytes: u64) -> Told {
    Told { outcome, class: class.map(str::to_owned), grpc: None, bytes }
}

#[tokio::test]
async fn every_answer_ends_its_call_once() {
    let get = || request(Method::GET, false);
    let data = || [Step::Data(b"ab"), Step::Pending, Step::Data(b"c")];
    assert_eq!(told(get(), Ok(answer(200, data()))).await, want(Outcome::Completed, None, 3));
    assert_eq!(told(get(), Ok(answer(404, data()))).await, want(Outcome::Completed, Some("404"), 3));
    assert_eq!(told(get(), Ok(answer(503, []))).await, want(Outcome::Completed, Some("503"), 0));
    let fails = [Step::Data(b"a"), Step::Fail("cut")];
    assert_eq!(told(get(), Ok(answer(200, fails))).await, want(Outcome::BodyError, Some("alloc::string::String"), 1));
    assert_eq!(told(get(), Err(std::fmt::Error)).await, want(Outcome::ServiceError, Some("core::fmt::Error"), 0));
    assert_eq!(told(get(), Ok(answer(101, []))).await, want(Outcome::Upgraded, None, 0));
    assert_eq!(told(request(Method::HEAD, false), Ok(answer(200, data()))).await.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_grpc_call_ends_with_what_its_trailers_its_head_or_its_status_say() {
    let trailers = |code: &'static str| {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]);
        answer(200, [Step::Data(b"m"), Step::Trailers(trailers)])
    };
    let grpc = || request(Method::POST, true);
    let ok = told(grpc(), Ok(trailers("0"))).await;
    assert_eq!((ok.outcome, ok.class, ok.grpc), (Outcome::Completed, None, Some(GrpcStatus::OK)));
    assert_eq!(told(grpc(), Ok(trailers("5"))).await.class.as_deref(), Some("NOT_FOUND"));
    let mut head = answer(200, []);
    head.headers_mut().insert("grpc-status", "14".parse().unwrap());
    assert_eq!(told(grpc(), Ok(head)).await.class.as_deref(), Some("UNAVAILABLE"));
    for (status, class) in [(200, "UNKNOWN"), (404, "UNIMPLEMENTED"), (503, "UNAVAILABLE")] {
        assert_eq!(told(grpc(), Ok(answer(status, []))).await.class.as_deref(), Some(class), "{status}");
    }
}

#[tokio::test]
async fn a_grpc_call_that_a_deadline_ended_is_deadline_exceeded_and_one_that_was_given_up_is_cancelled() {
    let in_time = |timeout: Option<&str>| {
        let mut request = request(Method::POST, true);
        if let Some(text) = timeout {
            request.headers_mut().insert("grpc-timeout", text.parse().unwrap());
        }
        request
    };
    let cases = [
        (Some("1n"), GrpcStatus::DEADLINE_EXCEEDED, Some("DEADLINE_EXCEEDED")),
        (Some("9999H"), GrpcStatus::CANCELLED, None),
        (None, GrpcStatus::CANCELLED, None),
    ];
    for (timeout, grpc, class) in cases {
        // Before the response head, and in the middle of the messages.
        for steps in [None, Some([Step::Data(b"\0\0\0\0\x01m"), Step::Pending])] {
            let recorder = Recorder::default();
            let answers = steps.clone();
            let client = CallLayer::new(recorder.clone()).layer(service_fn(move |_: Request<Empty<Bytes>>| {
                let answer = answers.clone().map(|steps| answer(200, steps));
                async move {
                    match answer {
                        Some(answer) => Ok::<_, Infallible>(answer),
                        None => std::future::pending().await,
                    }
                }
            }));
            let mut reading = Box::pin(async {
                let mut body = client.oneshot(in_time(timeout)).await.unwrap().into_body();
                body.frame().await.unwrap().unwrap();
                std::future::pending::<()>().await;
            });
            assert!((&mut reading).now_or_never().is_none());
            // Longer than the first of the deadlines.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            drop(reading);
            let told = recorder.one();
            let outcome = if steps.is_some() { Outcome::CancelledInBody } else { Outcome::Cancelled };
            assert_eq!((told.outcome, told.grpc, told.class.as_deref()), (outcome, Some(grpc), class), "{timeout:?}");
        }
    }
    // The messages of Tonic's, Tokio's and the system's timeouts, and of an unreachable server.
    for (text, grpc) in [
        ("Timeout expired", GrpcStatus::DEADLINE_EXCEEDED),
        ("deadline has elapsed", GrpcStatus::DEADLINE_EXCEEDED),
        ("operation timed out", GrpcStatus::DEADLINE_EXCEEDED),
        ("connection refused", GrpcStatus::UNAVAILABLE),
    ] {
        let recorder = Recorder::default();
        let client = CallLayer::new(recorder.clone()).layer(service_fn(move |_: Request<Empty<Bytes>>| async move {
            Err::<Response<Empty<Bytes>>, _>(std::io::Error::other(text))
        }));
        assert!(client.oneshot(in_time(None)).await.is_err());
        assert_eq!(recorder.one().grpc, Some(grpc), "{text}");
    }
}

#[tokio::test]
async fn a_dropped_call_is_a_failure_only_if_its_answer_was_one() {
    let recorder = Recorder::default();
    let layer = CallLayer::new(recorder.clone());
    let never = layer.layer(service_fn(|_: Request<Empty<Bytes>>| {
        std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    }));
    let mut waiting = Box::pin(never.oneshot(request(Method::GET, false)));
    assert!((&mut waiting).now_or_never().is_none());
    drop(waiting);
    assert_eq!(recorder.one(), want(Outcome::Cancelled, None, 0));

    for (status, class) in [(200, None), (500, Some("500"))] {
        let recorder = Recorder::default();
        let client = CallLayer::new(recorder.clone()).layer(service_fn(move |_: Request<Empty<Bytes>>| async move {
            Ok::<_, Infallible>(answer(status, [Step::Data(b"ab"), Step::Data(b"c")]))
        }));
        let mut response = client.oneshot(request(Method::GET, false)).await.unwrap();
        let _first = response.frame().await.unwrap().unwrap();
        drop(response);
        assert_eq!(recorder.one(), want(Outcome::CancelledInBody, class, 2));
    }
}

#[tokio::test]
async fn a_body_that_was_read_to_its_declared_length_has_completed() {
    let recorder = Recorder::default();
    let client = CallLayer::new(recorder.clone()).layer(service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(ScriptedBody::new([Step::Data(b"abc")]).with_size(3)))
    }));
    let mut response = client.oneshot(request(Method::GET, false)).await.unwrap();
    let _all = response.frame().await.unwrap().unwrap();
    drop(response);
    assert_eq!(recorder.one(), want(Outcome::Completed, None, 3));
}

#[tokio::test]
async fn a_panic_of_the_client_or_the_body_ends_the_call_and_goes_on() {
    let recorder = Recorder::default();
    let client = CallLayer::new(recorder.clone()).layer(service_fn(|_: Request<Empty<Bytes>>| async {
        std::panic::resume_unwind(Box::new("out"));
        #[expect(unreachable_code, reason = "the type requires it")]
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    let unwound = AssertUnwindSafe(client.oneshot(request(Method::GET, false))).catch_unwind().await;
    assert!(unwound.is_err());
    assert_eq!(recorder.one(), want(Outcome::Panicked, Some("panicked"), 0));

    let recorder = Recorder::default();
    let client = CallLayer::new(recorder.clone()).layer(service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, Infallible>(answer(200, [Step::Data(b"a"), Step::Panic("out")]))
    }));
    let body = client.oneshot(request(Method::GET, false)).await.unwrap().into_body();
    assert!(AssertUnwindSafe(body.collect()).catch_unwind().await.is_err());
    assert_eq!(recorder.one(), want(Outcome::Panicked, Some("panicked"), 1));
}

/// Panics wherever it can.
struct Faulty;

impl CallObserver for Faulty {
    type State = ();

    fn on_request(&self, _: &mut Call, _: &mut request::Parts) -> Option<()> {
        Some(())
    }

    fn on_enter(&self, (): &mut ()) {
        std::panic::resume_unwind(Box::new("enter"));
    }

    fn on_end(&self, (): (), _: &Call, _: &CallEnd<'_>) {
        std::panic::resume_unwind(Box::new("end"));
    }
}

/// Says which trace it is.
struct Tracer(TraceContext);

impl CallObserver for Tracer {
    type State = ();

    fn on_request(&self, call: &mut Call, request: &mut request::Parts) -> Option<()> {
        assert_eq!(call.url_template(), Some("/pkg/{method}"));
        request.headers.insert("traceparent", self.0.traceparent().parse().unwrap());
        call.set_trace(self.0);
        None
    }

    fn on_end(&self, (): (), _: &Call, _: &CallEnd<'_>) {
        unreachable!("it does not watch");
    }
}

#[derive(Clone, Default)]
struct Reader(Arc<Mutex<Option<TraceContext>>>);

impl CallObserver for Reader {
    type State = ();

    fn on_request(&self, _: &mut Call, _: &mut request::Parts) -> Option<()> {
        Some(())
    }

    fn on_end(&self, (): (), call: &Call, _: &CallEnd<'_>) {
        *self.0.lock().unwrap() = call.trace().copied();
    }
}

#[tokio::test]
async fn observers_share_a_call_and_survive_each_others_panics() {
    let (trace, reader) = (TraceContext::new_root(), Reader::default());
    let observers = (Faulty, Tracer(trace), Some(reader.clone()));
    let client = CallLayer::new(observers).layer(service_fn(|request: Request<Empty<Bytes>>| async move {
        assert!(request.headers().contains_key("traceparent"));
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"abc"))))
    }));
    let before = observer_panics();
    let mut request = request(Method::GET, false);
    request.extensions_mut().insert(UrlTemplate("/pkg/{method}"));
    let response = client.oneshot(request).await.unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(3), "forwarded");
    let mut body = pin!(response.into_body());
    let _data = body.frame().await.unwrap().unwrap();
    assert!(body.is_end_stream());
    assert_eq!(reader.0.lock().unwrap().unwrap(), trace);
    assert!(observer_panics() > before);
}
