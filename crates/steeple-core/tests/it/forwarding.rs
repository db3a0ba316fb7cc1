//! The wrappers are transparent: frames, lengths, ends, readiness and errors pass through as they are.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::{Body, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use steeple_core::{
    ObserveLayer,
    test_util::{RecordingObserver, ScriptedBody, Step},
};
use tower::{Layer, Service, ServiceExt};

use crate::replay::{Replay, frames, service};

fn steps() -> Vec<Step> {
    let trailers = HeaderMap::from_iter([(http::header::EXPIRES, http::HeaderValue::from_static("never"))]);
    vec![Step::Data(b"a"), Step::Pending, Step::Data(b""), Step::Data(b"bc"), Step::Trailers(trailers)]
}

fn watched(body: ScriptedBody) -> impl Body<Data = Bytes, Error = String> {
    let answers = service(move |_: Request<Empty<Bytes>>| {
        let body = body.clone();
        async { Response::new(body) }
    });
    let watched = ObserveLayer::new(RecordingObserver::new()).layer(answers);
    watched.oneshot(Replay::default().request()).now_or_never().unwrap().unwrap().into_body()
}

#[test]
fn every_frame_passes_as_it_is() {
    for script in [steps(), [steps(), vec![Step::Fail("broken")]].concat()] {
        let (bare, through) = (frames(ScriptedBody::new(script.clone())), frames(watched(ScriptedBody::new(script))));
        assert_eq!(format!("{bare:?}"), format!("{through:?}"));
    }
}

#[test]
fn the_length_and_the_end_pass_as_they_are() {
    let same = |bare: ScriptedBody| {
        let mut through = Box::pin(watched(bare.clone()));
        let mut bare = Box::pin(bare);
        let hint = |hint: SizeHint| (hint.lower(), hint.upper());
        loop {
            assert_eq!(hint(bare.size_hint()), hint(through.size_hint()));
            assert_eq!(bare.is_end_stream(), through.is_end_stream());
            if bare.is_end_stream() {
                return;
            }
            let _frame = (bare.as_mut().frame().now_or_never(), through.as_mut().frame().now_or_never());
        }
    };
    same(ScriptedBody::new(steps()).admitting_its_end());
    same(ScriptedBody::new(steps()).admitting_its_end().with_size(3));
    same(ScriptedBody::new([]).admitting_its_end());
}

#[test]
fn the_request_passes_as_it_is() {
    let echo = service(|request: Request<Full<Bytes>>| async move {
        assert_eq!(request.headers()["x-mine"], "1");
        let body = request.into_body();
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(5), false));
        Response::builder().header("x-theirs", "2").body(body).unwrap()
    });
    let mut watched = ObserveLayer::new(RecordingObserver::new()).layer(echo);
    let request = Request::builder().header("x-mine", "1").body(Full::new(Bytes::from_static(b"hello"))).unwrap();
    let response = watched.call(request).now_or_never().unwrap().unwrap();
    assert_eq!(response.headers()["x-theirs"], "2");
    assert_eq!(response.into_body().collect().now_or_never().unwrap().unwrap().to_bytes(), "hello");
}

#[test]
fn readiness_is_the_inner_services() {
    /// Ready from the third time on; calling it before that is an error of the caller.
    #[derive(Clone, Default)]
    struct Slow(u8);

    impl<A> Service<Request<A>> for Slow {
        type Response = Response<Empty<Bytes>>;
        type Error = String;
        type Future = std::future::Ready<Result<Self::Response, String>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
            self.0 += 1;
            match self.0 {
                1 => Poll::Pending,
                2 => Poll::Ready(Err("closed".to_owned())),
                _ => Poll::Ready(Ok(())),
            }
        }

        fn call(&mut self, _: Request<A>) -> Self::Future {
            assert!(self.0 >= 3, "the service that was made ready is the one that is called");
            std::future::ready(Ok(Response::new(Empty::new())))
        }
    }

    let mut watched = ObserveLayer::new(RecordingObserver::new()).layer(Slow::default());
    let cx = &mut Context::from_waker(Waker::noop());
    let mut ready = || Service::<Request<Empty<Bytes>>>::poll_ready(&mut watched, cx);
    assert_eq!(
        (ready(), ready(), ready()),
        (Poll::Pending, Poll::Ready(Err("closed".to_owned())), Poll::Ready(Ok(())))
    );
    assert!(watched.call(Replay::default().request()).now_or_never().unwrap().is_ok());
    assert_eq!(watched.get_ref().0, 3);
    watched.get_mut().0 = 7;
    assert_eq!(watched.into_inner().0, 7);
}
