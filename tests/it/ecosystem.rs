//! Beside tower-http's layers: a team replaces one of them at a time.

use std::{any::Any, convert::Infallible, future::ready};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use steeple_core::{Exchange, ObserveLayer, Outcome, RequestIds, test_util::RecordingObserver};
use steeple_tests::lab::Lab;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer},
};

/// Answers with the id in its header, the id in tower-http's extension and the exchange's.
async fn tell<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = |value: Option<&HeaderValue>| value.map_or("-", |value| value.to_str().unwrap()).to_owned();
    let header = text(request.headers().get("x-request-id"));
    let extension = text(request.extensions().get::<RequestId>().map(RequestId::header_value));
    let exchange = request.extensions().get::<Exchange>().unwrap().request_id().to_string();
    Ok(Response::new(Full::new(Bytes::from([header, extension, exchange].join("|")))))
}

/// What all saw of the id: header, extension, exchange, response.
async fn ask<S, B>(service: S, sent: Option<&'static str>) -> [String; 4]
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error = Infallible>,
{
    let mut request = Request::new(Empty::new());
    if let Some(id) = sent {
        request.headers_mut().insert("x-request-id", HeaderValue::from_static(id));
    }
    let response = service.oneshot(request).await.unwrap();
    let answered: Vec<_> = response.headers().get_all("x-request-id").iter().cloned().collect();
    assert_eq!(answered.len(), 1, "the response has one id");
    let told = response.into_body().collect().await.unwrap().to_bytes();
    let mut told = str::from_utf8(&told).unwrap().split('|').map(str::to_owned);
    let mut next = || told.next().unwrap();
    [next(), next(), next(), answered[0].to_str().unwrap().to_owned()]
}

fn ids() -> ObserveLayer<(RequestIds, RecordingObserver)> {
    ObserveLayer::new((RequestIds::new(), RecordingObserver::new()))
}

#[tokio::test]
async fn tower_https_request_ids_around_ours_are_taken() {
    let stack = || {
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
            .layer(PropagateRequestIdLayer::x_request_id())
            .layer(ids())
            .service_fn(tell)
    };
    for sent in [None, Some("from-client-1")] {
        let [header, extension, exchange, response] = ask(stack(), sent).await;
        assert_eq!([&header, &extension, &exchange], [&response; 3], "{sent:?}");
        assert!(sent.is_none_or(|sent| sent == response));
    }
    // tower-http takes any id; inner layers and the client get ours.
    let [header, _, exchange, response] = ask(stack(), Some("<not plain>")).await;
    assert_eq!([&header, &exchange], [&response; 2]);
    assert_eq!(response.len(), 36);
}

#[tokio::test]
async fn tower_https_request_ids_inside_ours_take_ours() {
    let stack = || {
        ServiceBuilder::new()
            .layer(ids())
            .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
            .layer(PropagateRequestIdLayer::x_request_id())
            .service_fn(tell)
    };
    for sent in [None, Some("from-client-1"), Some("<not plain>")] {
        let [header, extension, exchange, response] = ask(stack(), sent).await;
        assert_eq!([&header, &extension, &exchange], [&response; 3], "{sent:?}");
        assert!(sent != Some("<not plain>") || response.len() == 36);
    }
}

fn sorry(_: Box<dyn Any + Send>) -> Response<Full<Bytes>> {
    Response::builder().status(500).body(Full::new(Bytes::from_static(b"sorry"))).unwrap()
}

#[tokio::test]
async fn a_panic_that_tower_http_catches_outside_of_ours_has_panicked() {
    let observer = RecordingObserver::new();
    let stack = CatchPanicLayer::custom(sorry).layer(ObserveLayer::new(observer.clone()).layer(Lab::new()));
    let request = Request::builder().uri("/panic").body(Empty::<Bytes>::new()).unwrap();
    let response = stack.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!((observer.outcomes(), observer.in_flight()), (vec![Outcome::Panicked], 0));
}

#[tokio::test]
async fn a_panic_that_tower_http_catches_inside_of_ours_is_an_answer() {
    let observer = RecordingObserver::new();
    let stack = ObserveLayer::new(observer.clone()).layer(CatchPanicLayer::custom(sorry).layer(Lab::new()));
    let request = Request::builder().uri("/panic").body(Empty::<Bytes>::new()).unwrap();
    stack.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    let (exchange, end) = observer.ended().remove(0);
    assert_eq!((end.outcome, end.status_code()), (Outcome::Completed, 500));
    assert!(end.is_server_error());
    assert_eq!(exchange.name().to_string(), "GET /panic", "a request that panics has its name too");
}

#[tokio::test]
async fn a_timeout_around_ours_cancels() {
    let observer = RecordingObserver::new();
    let watched = ObserveLayer::new(observer.clone()).layer(Lab::new());
    let request = Request::builder().uri("/never").body(Empty::<Bytes>::new()).unwrap();
    assert!(tokio::time::timeout(std::time::Duration::from_millis(10), watched.oneshot(request)).await.is_err());
    assert_eq!((observer.outcomes(), observer.in_flight()), (vec![Outcome::Cancelled], 0));
}

#[tokio::test]
async fn the_loser_of_a_race_is_cancelled() {
    let observer = RecordingObserver::new();
    let watched = ObserveLayer::new(observer.clone()).layer(Lab::new());
    let request = Request::builder().uri("/never").body(Empty::<Bytes>::new()).unwrap();
    let raced = futures_util::future::select(watched.oneshot(request), ready(())).now_or_never();
    drop(raced.unwrap());
    assert_eq!((observer.outcomes(), observer.in_flight()), (vec![Outcome::Cancelled], 0));
}
