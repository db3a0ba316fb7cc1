//! Every way in which an exchange can end, each once.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use steeple_core::{
    CountRequestBodyLayer, CountedBody, Exchange, ObserveLayer, Outcome,
    test_util::{self, RecordingObserver, ScriptedBody},
};
use tower::{Layer, Service};

use crate::replay::{
    Replay,
    Step::{Drop, Fail, Frame, Head, Panic, PanicInCall, Pending, Trailers},
    check, check_laws, frames, play, service,
};

#[test]
fn a_body_that_is_read_to_its_end_completes() {
    let end = check(&[Pending, Head(200), Frame(b"ab"), Pending, Frame(b"c")], Outcome::Completed);
    assert_eq!((end.status_code(), end.response_body_bytes), (200, 3));
    assert!(end.head_after.unwrap() <= end.duration);
}

#[test]
fn a_status_of_500_that_is_delivered_completes() {
    let end = check(&[Head(500), Frame(b"oops")], Outcome::Completed);
    assert!(end.is_server_error());
    assert_eq!(end.error_class().unwrap().to_string(), "500");
}

#[test]
fn a_body_that_reports_its_end_completes_at_its_last_frame() {
    let replay = Replay { admits_end: true, ..Replay::default() };
    let end = replay.check(&[Head(200), Frame(b"ab"), Frame(b"c"), Drop], Outcome::Completed);
    assert_eq!(end.response_body_bytes, 3);
}

#[test]
fn trailers_are_the_end() {
    check(&[Head(200), Frame(b"a"), Trailers("0"), Drop], Outcome::Completed);
}

#[test]
fn a_body_that_is_empty_completes_unread() {
    Replay { admits_end: true, ..Replay::default() }.check(&[Head(200), Drop], Outcome::Completed);
}

#[test]
fn a_body_that_declares_no_bytes_completes_unread() {
    Replay { size: Some(0), ..Replay::default() }.check(&[Head(200), Drop], Outcome::Completed);
    Replay { response_headers: vec![("content-length", "0")], ..Replay::default() }
        .check(&[Head(200), Drop], Outcome::Completed);
}

#[test]
fn head_and_statuses_without_content_complete_at_the_head() {
    // The service hands over a body all the same: the server drops it unread.
    let unread = [Frame(b"never sent"), Drop];
    let head = Replay { method: Method::HEAD, response_headers: vec![("content-length", "10")], ..Replay::default() };
    assert_eq!(head.check(&[&[Head(200)], &unread[..]].concat(), Outcome::Completed).response_body_bytes, 0);
    for status in [204, 304] {
        check(&[Head(status), Drop], Outcome::Completed);
    }
}

#[test]
fn a_body_dropped_once_the_declared_length_was_handed_over_completes() {
    let declared = Replay { response_headers: vec![("content-length", "3")], ..Replay::default() };
    declared.check(&[Head(200), Frame(b"ab"), Frame(b"c"), Drop], Outcome::Completed);
    declared.check(&[Head(200), Frame(b"ab"), Drop], Outcome::CancelledInBody);
    let exact = Replay { size: Some(3), ..Replay::default() };
    exact.check(&[Head(200), Frame(b"abc"), Drop], Outcome::Completed);
    exact.check(&[Head(200), Frame(b"ab"), Drop], Outcome::CancelledInBody);
}

#[test]
fn an_invalid_content_length_is_unknown() {
    for value in ["", "-1", "3, 3", "99999999999999999999999", "0x3"] {
        Replay { response_headers: vec![("content-length", value)], ..Replay::default() }
            .check(&[Head(200), Frame(b"abc"), Drop], Outcome::CancelledInBody);
    }
}

#[test]
fn a_service_error_ends_as_such_with_its_message() {
    let observer = RecordingObserver::new();
    let script = [Pending, Fail("no database")];
    let replay = Replay::default();
    let mut service = ObserveLayer::new(observer.clone()).layer(replay.service(&script));
    let played = play(&mut service, replay.request(), &script, false);
    assert_eq!(played.error.as_deref(), Some("no database"), "the error is handed on as it is");
    let (exchange, end) = observer.ended().remove(0);
    assert_eq!((end.outcome, end.status, end.status_code()), (Outcome::ServiceError, None, 500));
    assert_eq!(exchange.error().unwrap().message(), "no database");
    check_laws(&observer);
}

#[test]
fn a_body_error_after_two_frames_ends_as_such_and_keeps_the_status_that_was_sent() {
    let end = check(&[Head(200), Frame(b"ab"), Frame(b"c"), Fail("disk gone")], Outcome::BodyError);
    assert_eq!((end.status_code(), end.response_body_bytes), (200, 3));
    assert!(end.is_server_error(), "whatever the status was");
}

#[test]
fn a_panic_ends_as_panicked_wherever_it_happens_and_is_caught() {
    for catches_panics in [false, true] {
        let replay = Replay { catches_panics, ..Replay::default() };
        assert_eq!(replay.check(&[PanicInCall], Outcome::Panicked).status_code(), 500);
        assert_eq!(replay.check(&[Panic], Outcome::Panicked).status_code(), 500);
        replay.check(&[Pending, Pending, Panic], Outcome::Panicked);
        let end = replay.check(&[Head(200), Frame(b"ab"), Panic], Outcome::Panicked);
        assert_eq!((end.status_code(), end.response_body_bytes), (200, 2));
    }
}

#[test]
fn a_future_dropped_before_its_first_poll_is_cancelled() {
    let end = check(&[Drop], Outcome::Cancelled);
    assert_eq!((end.status, end.head_after, end.status_code()), (None, None, 499));
}

#[test]
fn a_future_dropped_midway_is_cancelled() {
    check(&[Pending, Pending, Drop], Outcome::Cancelled);
}

#[test]
fn a_body_dropped_before_its_first_frame_is_cancelled_in_the_body() {
    let end = check(&[Head(200), Drop], Outcome::CancelledInBody);
    assert_eq!((end.status_code(), end.response_body_bytes), (200, 0));
}

#[test]
fn a_body_dropped_after_its_first_frame_is_cancelled_in_the_body() {
    let end = check(&[Head(200), Frame(b"ab"), Pending, Drop], Outcome::CancelledInBody);
    assert_eq!(end.response_body_bytes, 2);
    assert!(!end.is_server_error(), "somebody went away: not the server's failure");
}

#[test]
fn a_body_dropped_between_its_last_byte_and_its_end_is_cancelled_unless_the_length_was_known() {
    // Without a length the last frame cannot be recognized as the last one.
    check(&[Head(200), Frame(b"abc"), Drop], Outcome::CancelledInBody);
}

#[test]
fn switching_protocols_and_an_accepted_connect_end_as_upgraded() {
    assert_eq!(check(&[Head(101), Drop], Outcome::Upgraded).status_code(), 101);
    let connect = Replay { method: Method::CONNECT, path: "example.org:443", ..Replay::default() };
    connect.check(&[Head(200), Drop], Outcome::Upgraded);
    Replay { admits_end: true, ..connect.clone() }.check(&[Head(204), Drop], Outcome::Upgraded);
    Replay { admits_end: true, ..connect }.check(&[Head(403), Drop], Outcome::Completed);
}

#[test]
fn a_future_polled_after_it_was_ready_ends_nothing_twice() {
    let observer = RecordingObserver::new();
    // A `Ready` future panics when polled again, an async block too: this one goes on answering.
    let answers = tower::service_fn(|_| {
        std::future::poll_fn(|_| Poll::Ready(Ok::<_, String>(Response::new(Full::new(Bytes::from_static(b"a"))))))
    });
    let mut service = ObserveLayer::new(observer.clone()).layer(answers);
    let mut future = pin!(service.call(Replay::default().request()));
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..3 {
        let Poll::Ready(Ok(response)) = future.as_mut().poll(cx) else { panic!("the service answers at once") };
        assert_eq!(frames(response.into_body()).len(), 2);
    }
    assert_eq!(observer.outcomes(), [Outcome::Completed]);
    check_laws(&observer);
}

#[test]
fn a_body_polled_after_its_end_ends_nothing_twice() {
    let observer = RecordingObserver::new();
    let script = [Head(200), Frame(b"a"), Trailers("0"), Frame(b"beyond the end")];
    let mut service = ObserveLayer::new(observer.clone()).layer(Replay::default().service(&script));
    let cx = &mut Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = pin!(service.call(Replay::default().request())).poll(cx) else { panic!() };
    let mut body = pin!(response.into_body());
    for _ in 0..6 {
        let _polled = body.as_mut().poll_frame(cx);
    }
    assert_eq!(observer.outcomes(), [Outcome::Completed]);
    assert_eq!(observer.ended()[0].1.response_body_bytes, 1, "what came after the end is not part of it");
    check_laws(&observer);
}

/// Sends 15 declared bytes in two frames, of which the service reads the first.
fn upload_that_is_read_in_part<S, B>(stack: impl FnOnce(RecordingObserver) -> S, declares: bool) -> Option<u64>
where
    S: Service<Request<ScriptedBody>, Response = Response<B>, Error = std::convert::Infallible>,
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible>,
{
    let observer = RecordingObserver::new();
    let mut stack = stack(observer.clone());
    let upload = ScriptedBody::new([test_util::Step::Data(b"12345"), test_util::Step::Data(b"never read")]);
    let mut request = Request::new(upload);
    if declares {
        request.headers_mut().insert("content-length", http::HeaderValue::from_static("15"));
    }
    let played = play(&mut stack, request, &[Head(200)], false);
    assert_eq!(played.data, b"12345");
    check_laws(&observer);
    let end = observer.ended().remove(0).1;
    assert_eq!(end.response_body_bytes, 5);
    end.request_body_bytes
}

async fn read_one_frame<B>(request: Request<B>) -> Response<Full<Bytes>>
where
    B: http_body::Body<Data = Bytes, Error = String> + Unpin,
{
    Response::new(Full::new(request.into_body().frame().await.unwrap().unwrap().into_data().unwrap()))
}

#[test]
fn request_bytes_are_those_declared_unless_a_layer_counts_those_that_the_service_reads() {
    for (declares, declared) in [(true, Some(15)), (false, None)] {
        let alone = |observer| ObserveLayer::new(observer).layer(service(read_one_frame::<ScriptedBody>));
        assert_eq!(upload_that_is_read_in_part(alone, declares), declared);
        let outside = |observer| {
            let service = service(read_one_frame::<CountedBody<ScriptedBody>>);
            CountRequestBodyLayer.layer(ObserveLayer::new(observer).layer(service))
        };
        assert_eq!(upload_that_is_read_in_part(outside, declares), Some(5));
        let inside = |observer| {
            let service = service(read_one_frame::<CountedBody<ScriptedBody>>);
            ObserveLayer::new(observer).layer(CountRequestBodyLayer.layer(service))
        };
        assert_eq!(upload_that_is_read_in_part(inside, declares), Some(5));
    }
}

#[test]
fn what_no_observer_watches_still_ends() {
    let kept = Arc::new(Mutex::new(None));
    let keeps = {
        let kept = Arc::clone(&kept);
        service(move |request: Request<Empty<Bytes>>| {
            *kept.lock().unwrap() = request.extensions().get::<Exchange>().cloned();
            async { Response::new(Full::new(Bytes::from_static(b"a"))) }
        })
    };
    let mut unwatched = ObserveLayer::new(()).layer(keeps);
    play(&mut unwatched, Replay::default().request(), &[Head(200)], false);
    assert!(kept.lock().unwrap().as_ref().unwrap().has_ended());
}
