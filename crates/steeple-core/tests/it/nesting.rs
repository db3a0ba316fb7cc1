//! Layers stacked inside each other watch one exchange.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use axum::{Router, routing::get};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use steeple_core::{
    CountRequestBodyLayer, CountedBody, Exchange, NameSource, ObserveLayer, Outcome, test_util::RecordingObserver,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::replay::{
    Replay,
    Step::{self, Drop, Fail, Frame, Head, Panic, Pending},
    check_laws, play, quiet_scripted_panics, service,
};

#[test]
fn an_inner_layer_joins_the_outer_ones_exchange_whatever_the_ending() {
    for (script, want) in [
        (&[Pending, Head(200), Frame(b"x")][..], Outcome::Completed),
        (&[Fail("broken")], Outcome::ServiceError),
        (&[Head(200), Fail("broken")], Outcome::BodyError),
        (&[Panic], Outcome::Panicked),
        (&[Head(200), Panic], Outcome::Panicked),
        (&[Drop], Outcome::Cancelled),
        (&[Pending, Drop], Outcome::Cancelled),
        (&[Head(200), Frame(b"x"), Drop], Outcome::CancelledInBody),
        (&[Head(101), Drop], Outcome::Upgraded),
        (&[Head(204), Drop], Outcome::Completed),
    ] {
        for catches_panics in [false, true] {
            let (outer, inner) = (RecordingObserver::new(), RecordingObserver::new());
            let mut stack = ServiceBuilder::new()
                .layer(ObserveLayer::new(outer.clone()))
                .layer(ObserveLayer::new(inner.clone()))
                .service(Replay::default().service(script));
            play(&mut stack, Replay::default().request(), script, catches_panics);
            for observer in [&outer, &inner] {
                assert_eq!(observer.outcomes(), [want], "{script:?}");
                check_laws(observer);
            }
            let (of_outer, of_inner) = (outer.ended().remove(0), inner.ended().remove(0));
            assert!(of_outer.0.is_same(&of_inner.0), "one exchange: {script:?}");
            assert_eq!(of_outer.1.response_body_bytes, of_inner.1.response_body_bytes);
        }
    }
}

#[test]
fn the_same_observer_in_several_layers_watches_once() {
    let observer = RecordingObserver::new();
    let script: &[Step] = &[Pending, Head(200), Frame(b"abc")];
    let mut stack = ServiceBuilder::new()
        .layer(ObserveLayer::new(observer.clone()))
        .layer(ObserveLayer::new((observer.clone(), Some(observer.clone()))))
        .layer(ObserveLayer::new(Arc::new(observer.clone())))
        .service(Replay::default().service(script));
    play(&mut stack, Replay::default().request(), script, false);
    assert_eq!((observer.started(), observer.outcomes()), (1, vec![Outcome::Completed]));
    assert_eq!(observer.polls(), (5, 5), "`call`, two polls of the future and two of the body, once each");
    check_laws(&observer);
}

#[test]
fn bytes_count_once_however_many_layers_there_are() {
    let (outer, inner) = (RecordingObserver::new(), RecordingObserver::new());
    let echo = service(|request: Request<CountedBody<CountedBody<Full<Bytes>>>>| async move {
        Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()))
    });
    let mut stack = ServiceBuilder::new()
        .layer(CountRequestBodyLayer)
        .layer(ObserveLayer::new(outer.clone()))
        .layer(CountRequestBodyLayer)
        .layer(ObserveLayer::new(inner.clone()))
        .service(echo);
    play(&mut stack, Request::new(Full::new(Bytes::from_static(b"hello"))), &[Head(200)], false);
    for observer in [outer, inner] {
        let end = observer.ended().remove(0).1;
        assert_eq!((end.request_body_bytes, end.response_body_bytes), (Some(5), 5));
    }
}

#[test]
fn a_panic_caught_between_two_layers_is_a_panic_inside_and_an_answer_outside() {
    quiet_scripted_panics();
    let (outer, inner) = (RecordingObserver::new(), RecordingObserver::new());
    let panics = ObserveLayer::new(inner.clone()).layer(Replay::default().service(&[Pending, Panic]));
    let catches = tower::service_fn(move |request: Request<Empty<Bytes>>| {
        let future = AssertUnwindSafe(panics.clone().oneshot(request)).catch_unwind();
        async move {
            assert!(future.await.is_err());
            Ok::<_, Infallible>(Response::builder().status(500).body(Full::new(Bytes::from_static(b"sorry"))).unwrap())
        }
    });
    let mut stack = ObserveLayer::new(outer.clone()).layer(catches);
    let played = play(&mut stack, Replay::default().request(), &[Pending, Head(500), Frame(b"sorry")], false);
    assert_eq!(played.data, b"sorry");
    assert_eq!(inner.outcomes(), [Outcome::Panicked]);
    assert_eq!(outer.outcomes(), [Outcome::Completed]);
    assert!(outer.ended()[0].1.is_server_error());
    check_laws(&outer);
    check_laws(&inner);
}

#[test]
fn an_error_answered_between_two_layers_is_an_error_inside_and_an_answer_outside() {
    let (outer, inner) = (RecordingObserver::new(), RecordingObserver::new());
    let fails = ObserveLayer::new(inner.clone()).layer(Replay::default().service(&[Fail("no database")]));
    let answers = tower::service_fn(move |request: Request<Empty<Bytes>>| {
        let future = fails.clone().oneshot(request);
        async move {
            let said = future.await.err().unwrap();
            Ok::<_, Infallible>(Response::builder().status(503).body(Full::new(Bytes::from(said))).unwrap())
        }
    });
    let mut stack = ObserveLayer::new(outer.clone()).layer(answers);
    play(&mut stack, Replay::default().request(), &[Head(503), Frame(b"no database")], false);
    assert_eq!((inner.outcomes(), outer.outcomes()), (vec![Outcome::ServiceError], vec![Outcome::Completed]));
    let (exchange, end) = outer.ended().remove(0);
    assert_eq!(exchange.error().unwrap().message(), "no database", "what the inner layer noticed, the outer one knows");
    assert_eq!(end.error_class().unwrap().to_string(), "503");
}

#[test]
fn a_request_sent_again_with_an_ended_exchange_is_a_new_one() {
    let observer = RecordingObserver::new();
    let script: &[Step] = &[Head(200), Frame(b"x")];
    let stale = Arc::new(Mutex::new(http::Extensions::new()));
    for _ in 0..2 {
        let keeps = {
            let stale = Arc::clone(&stale);
            let inner = Replay::default().service(script);
            service(move |request: Request<_>| {
                *stale.lock().unwrap() = request.extensions().clone();
                let future = inner.clone().oneshot(request);
                async move { future.await.unwrap() }
            })
        };
        let mut watched = ObserveLayer::new(observer.clone()).layer(keeps);
        let mut request = Replay::default().request();
        *request.extensions_mut() = std::mem::take(&mut *stale.lock().unwrap());
        play(&mut watched, request, script, false);
    }
    assert_eq!(observer.outcomes(), [Outcome::Completed; 2]);
    let ended = observer.ended();
    assert!(!ended[0].0.is_same(&ended[1].0));
    check_laws(&observer);
}

#[test]
fn an_exchange_of_an_extractor_without_a_layer_is_joined_by_a_layer_further_in() {
    // A handler's own client passes the extensions on; nothing else ends that exchange.
    let observer = RecordingObserver::new();
    let script: &[Step] = &[Head(200), Frame(b"x")];
    let detached = Exchange::detached();
    let mut watched = ObserveLayer::new(observer.clone()).layer(Replay::default().service(script));
    let mut request = Replay::default().request();
    request.extensions_mut().insert(detached.clone());
    play(&mut watched, request, script, false);
    assert_eq!(observer.outcomes(), [Outcome::Completed]);
    assert!(observer.ended()[0].0.is_same(&detached));
}

#[tokio::test]
async fn a_route_that_only_an_inner_layer_knows_is_reported_to_the_outer_one() {
    let outer = RecordingObserver::new();
    let inner = || Router::new().route("/users/{id}", get(|| async { "Ann" })).layer(ObserveLayer::new(()));
    let app = Router::new()
        .route("/plain/{id}", get(|| async { "plain" }))
        .nest("/api", inner())
        .nest_service("/svc", inner());
    let watched = ObserveLayer::new(outer.clone()).layer(app);
    for path in ["/plain/1", "/api/users/1", "/svc/users/1", "/nothing/here"] {
        let request = Request::builder().uri(path).body(Empty::<Bytes>::new()).unwrap();
        watched.clone().oneshot(request.map(axum::body::Body::new)).await.unwrap().into_body().collect().await.unwrap();
    }
    let names: Vec<_> = outer.ended().iter().map(|(exchange, _)| exchange.name().to_string()).collect();
    // `nest_service` hides its prefix from whatever is inside; steeple-transaction puts it back.
    assert_eq!(names[1], "GET /api/users/{id}");
    assert!(names[2].ends_with("/users/{id}"), "{}", names[2]);
    assert_eq!(names[3], "GET unmatched");
    assert_eq!(outer.ended()[3].0.name().source(), NameSource::Unmatched);
    check_laws(&outer);
}
