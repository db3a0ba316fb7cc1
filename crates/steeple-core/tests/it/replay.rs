//! Plays a script through a watched service, poll by poll.

use std::{
    collections::VecDeque,
    convert::Infallible,
    panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Once,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, response};
use http_body::{Body, Frame};
use http_body_util::Empty;
use steeple_core::{
    End, Exchange, ObserveLayer, Outcome,
    test_util::{self, RecordingObserver, ScriptedBody},
};
use tower::{Layer, Service};

/// What happens next. Each step but the last ones of a script is one poll by the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// The service panics before there is a future.
    PanicInCall,
    /// The service, or its body once there is a head, is not ready.
    Pending,
    /// The service returns an error; the body, once there is a head.
    Fail(&'static str),
    /// The service panics; the body, once there is a head.
    Panic,
    /// The service answers with this status.
    Head(u16),
    /// The body yields data.
    Frame(&'static [u8]),
    /// The body yields trailers with this `grpc-status`.
    Trailers(&'static str),
    /// The server drops what it holds: the future, or the response body. A script without it is read to the end.
    Drop,
}

/// A request, and what the service's answer looks like beside what the script says.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) request_headers: Vec<(&'static str, &'static str)>,
    pub(crate) response_headers: Vec<(&'static str, &'static str)>,
    /// The body declares its length.
    pub(crate) size: Option<u64>,
    /// The body reports its end.
    pub(crate) admits_end: bool,
    /// A panic is caught close to the service, and what panicked is dropped later, in peace. Otherwise it is dropped
    /// while the panic unwinds.
    pub(crate) catches_panics: bool,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            method: Method::GET,
            path: "/",
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            size: None,
            admits_end: false,
            catches_panics: false,
        }
    }
}

impl Replay {
    pub(crate) fn grpc(path: &'static str) -> Self {
        Self {
            method: Method::POST,
            path,
            request_headers: vec![("content-type", "application/grpc+proto")],
            response_headers: vec![("content-type", "application/grpc")],
            ..Self::default()
        }
    }

    pub(crate) fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::builder().method(self.method.clone()).uri(self.path);
        request.headers_mut().unwrap().extend(headers(&self.request_headers));
        request.body(Empty::new()).unwrap()
    }

    /// The service that follows the script.
    pub(crate) fn service(&self, script: &[Step]) -> ScriptedService {
        ScriptedService { replay: self.clone(), script: script.iter().copied().collect() }
    }

    /// Plays the script; checks what holds for every exchange and that it ended like this.
    #[track_caller]
    pub(crate) fn check(&self, script: &[Step], want: Outcome) -> End {
        let observer = RecordingObserver::new();
        let mut service = ObserveLayer::new(observer.clone()).layer(self.service(script));
        play(&mut service, self.request(), script, self.catches_panics);
        assert_eq!(observer.outcomes(), [want], "endings of {script:?} with {self:?}");
        check_laws(&observer);
        observer.ended().remove(0).1
    }
}

/// Plays the script for a plain GET.
#[track_caller]
pub(crate) fn check(script: &[Step], want: Outcome) -> End {
    Replay::default().check(script, want)
}

/// What holds for every observer once all it watched is over.
#[track_caller]
pub(crate) fn check_laws(observer: &RecordingObserver) {
    assert_eq!(observer.in_flight(), 0, "in flight");
    let (entered, exited) = observer.polls();
    assert_eq!(entered, exited, "every poll that was entered was left");
    assert!(observer.ended().iter().all(|(exchange, _)| exchange.has_ended()));
    assert!(Exchange::current().is_none(), "no exchange is left behind on the thread");
}

/// What the server got.
#[derive(Debug, Default)]
pub(crate) struct Played {
    pub(crate) head: Option<response::Parts>,
    pub(crate) data: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) error: Option<String>,
    pub(crate) panicked: bool,
}

/// Calls the service and polls what it returns, once for each step, as a server does: it stops where the body says
/// that it is over.
pub(crate) fn play<S, A, B>(service: &mut S, request: Request<A>, script: &[Step], catches_panics: bool) -> Played
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: ToString,
    B: Body<Data = Bytes>,
    B::Error: ToString,
{
    quiet_scripted_panics();
    let mut played = Played::default();
    // Dropped by the unwinding itself.
    let result = catch_unwind(AssertUnwindSafe(|| drive(service, request, script, catches_panics, &mut played)));
    played.panicked |= result.is_err();
    played
}

fn drive<S, A, B>(service: &mut S, request: Request<A>, script: &[Step], catches_panics: bool, played: &mut Played)
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: ToString,
    B: Body<Data = Bytes>,
    B::Error: ToString,
{
    let cx = &mut Context::from_waker(Waker::noop());
    // Where panics are caught the outer code goes on for a while, holding what panicked.
    let caught = |panicked: &mut bool, result: std::thread::Result<()>| match result {
        Ok(()) => false,
        Err(_) if catches_panics => {
            *panicked = true;
            true
        }
        Err(panic) => resume_unwind(panic),
    };
    let mut future = None;
    let result = catch_unwind(AssertUnwindSafe(|| future = Some(Box::pin(service.call(request)))));
    if caught(&mut played.panicked, result) {
        return;
    }
    let mut future = future.unwrap();
    let mut steps = script.iter();
    let body = loop {
        if matches!(steps.next(), None | Some(Step::Drop)) {
            return;
        }
        let mut polled = Poll::Pending;
        let result = catch_unwind(AssertUnwindSafe(|| polled = future.as_mut().poll(cx)));
        if caught(&mut played.panicked, result) {
            return;
        }
        match polled {
            Poll::Pending => (),
            Poll::Ready(Err(error)) => return played.error = Some(error.to_string()),
            Poll::Ready(Ok(response)) => {
                let (head, body) = response.into_parts();
                played.head = Some(head);
                break body;
            }
        }
    };
    drop(future);
    let mut body = Box::pin(body);
    while !body.is_end_stream() && steps.next() != Some(&Step::Drop) {
        let mut polled = Poll::Pending;
        let result = catch_unwind(AssertUnwindSafe(|| polled = body.as_mut().poll_frame(cx)));
        if caught(&mut played.panicked, result) {
            return;
        }
        match polled {
            Poll::Pending => (),
            Poll::Ready(None) => return,
            Poll::Ready(Some(Err(error))) => return played.error = Some(error.to_string()),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => played.data.extend_from_slice(&data),
                Err(frame) => played.trailers = frame.into_trailers().ok(),
            },
        }
    }
}

/// See [`Replay::service`].
#[derive(Clone, Debug)]
pub(crate) struct ScriptedService {
    replay: Replay,
    script: VecDeque<Step>,
}

impl<A> Service<Request<A>> for ScriptedService {
    type Response = Response<ScriptedBody>;
    type Error = String;
    type Future = ScriptedFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<A>) -> ScriptedFuture {
        assert!(self.script.front() != Some(&Step::PanicInCall), "scripted panic in call");
        ScriptedFuture(self.clone())
    }
}

#[derive(Debug)]
pub(crate) struct ScriptedFuture(ScriptedService);

impl Future for ScriptedFuture {
    type Output = Result<Response<ScriptedBody>, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ScriptedService { replay, script } = &mut self.0;
        match script.pop_front() {
            Some(Step::Head(status)) => {
                let mut body = ScriptedBody::new(script.drain(..).filter_map(body_step));
                if let Some(size) = replay.size {
                    body = body.with_size(size);
                }
                if replay.admits_end {
                    body = body.admitting_its_end();
                }
                let mut response = Response::builder().status(status);
                response.headers_mut().unwrap().extend(headers(&replay.response_headers));
                Poll::Ready(Ok(response.body(body).unwrap()))
            }
            Some(Step::Fail(message)) => Poll::Ready(Err(message.to_owned())),
            Some(Step::Panic) => panic!("scripted panic in the future"),
            _ => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

fn body_step(step: Step) -> Option<test_util::Step> {
    match step {
        Step::Pending => Some(test_util::Step::Pending),
        Step::Fail(message) => Some(test_util::Step::Fail(message)),
        Step::Panic => Some(test_util::Step::Panic("scripted panic in the body")),
        Step::Frame(data) => Some(test_util::Step::Data(data)),
        Step::Trailers(status) => Some(test_util::Step::Trailers(HeaderMap::from_iter([(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        )]))),
        Step::PanicInCall | Step::Head(_) | Step::Drop => None,
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

/// Keeps the panics that a script asks for out of the test's output.
pub(crate) fn quiet_scripted_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !steeple_core::text::panic_message(info).starts_with("scripted") {
                before(info);
            }
        }));
    });
}

/// A service that cannot fail, from a closure.
pub(crate) fn service<A, B, F>(
    f: impl Fn(Request<A>) -> F + Clone,
) -> impl Service<
    Request<A>,
    Response = Response<B>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<B>, Infallible>>,
> + Clone
where
    F: Future<Output = Response<B>>,
{
    tower::service_fn(move |request| {
        let response = f(request);
        async move { Ok(response.await) }
    })
}

type PolledFrame<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

/// Everything that a body answers, poll by poll, until it is over.
pub(crate) fn frames<B: Body<Data = Bytes>>(body: B) -> Vec<PolledFrame<B::Error>> {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut body = Box::pin(body);
    let mut frames = Vec::new();
    loop {
        let polled = body.as_mut().poll_frame(cx);
        let over = matches!(polled, Poll::Ready(None | Some(Err(_))));
        frames.push(polled);
        if over {
            return frames;
        }
    }
}
