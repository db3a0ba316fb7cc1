//! Wherever people put the layers, they compile: the type of a request's body stays as it is, and a response's body has a
//! default where the one inside has.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use steeple::Steeple;
use steeple_core::{ObserveLayer, Outcome, test_util::RecordingObserver};
use steeple_examples::taskboard::proto::{GetTaskRequest, task_board_client::TaskBoardClient};
use steeple_tests::{
    client::{Client, Protocol, empty},
    grpc::{GrpcClient, GrpcLab, channel},
    server::Server,
    settle::settle,
};
use tonic::{Code, Status, service::InterceptorLayer};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::{cors::CorsLayer, limit::RequestBodyLimitLayer, timeout::TimeoutLayer};

#[tokio::test]
async fn a_handler_of_axums_own_request_is_watched() {
    let observer = RecordingObserver::new();
    let echo = service_fn(|request: Request<Body>| async { Ok::<_, Infallible>(Response::new(request.into_body())) });
    let app: Router = Router::new().route_service("/", ObserveLayer::new(observer.clone()).layer(echo));
    let response = app.oneshot(Request::post("/").body(Body::from("hello")).unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(observer.ended()[0].1.request_body_bytes, Some(5));
}

#[tokio::test]
async fn layers_of_tower_http_go_outside_and_answer_by_themselves() {
    let observer = RecordingObserver::new();
    let app: Router = Router::new()
        .route("/full", get(async || "hello"))
        .route("/never", get(async || std::future::pending::<()>().await))
        .layer(
            ServiceBuilder::new()
                .layer(CorsLayer::permissive())
                .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(20)))
                .layer(ObserveLayer::new(observer.clone())),
        );
    let ask = |method, path| {
        let request = Request::builder().method(method).uri(path).header("origin", "https://a.example");
        let request = request.header("access-control-request-method", "GET").body(Body::empty()).unwrap();
        let answer = app.clone().oneshot(request);
        async {
            let response = answer.await.unwrap();
            (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes())
        }
    };
    assert_eq!(ask(Method::OPTIONS, "/full").await, (200, Bytes::new()), "the preflight stays outside");
    assert_eq!(ask(Method::GET, "/full").await, (200, Bytes::from_static(b"hello")));
    assert_eq!(ask(Method::GET, "/never").await, (504, Bytes::new()));
    assert_eq!(observer.outcomes(), [Outcome::Completed, Outcome::Cancelled]);
}

#[tokio::test]
async fn a_layer_that_changes_the_requests_body_goes_outside_and_inside() {
    let observer = RecordingObserver::new();
    let service = ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(3))
        .layer(ObserveLayer::new(observer.clone()))
        .layer(RequestBodyLimitLayer::new(3))
        .service_fn(|request: Request<_>| async {
            Ok::<_, Infallible>(Response::new(Full::new(read(request).await.unwrap_or_default())))
        });
    let response = service.oneshot(Request::new(Full::new(Bytes::from_static(b"abc")))).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abc");
    assert_eq!(observer.outcomes(), [Outcome::Completed]);
}

async fn read<B: http_body::Body<Data = Bytes>>(request: Request<B>) -> Option<Bytes> {
    Some(request.into_body().collect().await.ok()?.to_bytes())
}

#[tokio::test]
async fn a_handler_of_hypers_own_request_is_watched() {
    let observer = RecordingObserver::new();
    let handler = service_fn(|request: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(read(request).await.unwrap())))
    });
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_mins(1)))
        .layer(ObserveLayer::new(observer.clone()))
        .service(handler);
    let server = Server::start(service).await;
    let mut client = Client::connect(Protocol::Http1, server.address()).await;
    let request = client.request(Method::GET, "/").body(empty()).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 200);
    assert_eq!(settle(&observer, 1).await[0].1.request_body_bytes, Some(0));
}

/// What tonic's routers take and give.
fn tonic_service<S>(service: S) -> S
where
    S: Service<Request<tonic::body::Body>, Error = Infallible, Response: axum::response::IntoResponse> + Clone,
{
    service
}

#[tokio::test]
async fn a_service_of_tonics_own_request_is_watched_behind_an_interceptor() {
    let observer = RecordingObserver::new();
    let handler = service_fn(|request: Request<tonic::body::Body>| GrpcLab.oneshot(request));
    let refuse = InterceptorLayer::new(|request: tonic::Request<()>| {
        if request.metadata().contains_key("refuse") { Err(Status::permission_denied("refused")) } else { Ok(request) }
    });
    let watched = ServiceBuilder::new().layer(refuse).layer(ObserveLayer::new(observer.clone())).service(handler);
    let server = Server::start(
        tonic_service(watched).map_request(|request: Request<Incoming>| request.map(tonic::body::Body::new)),
    )
    .await;
    assert_eq!(GrpcClient::to(server.address()).unary("/lab.v1.Lab/Say", "hello").await.unwrap(), "hello");
    let mut client = Client::connect(Protocol::Http2, server.address()).await;
    let refused = client.request(Method::POST, "/lab.v1.Lab/Say").header("refuse", "1").body(empty()).unwrap();
    assert_eq!(client.send(refused).await.unwrap().headers()["grpc-status"], "7");
    assert_eq!(settle(&observer, 1).await.len(), 1, "what the interceptor refuses does not come here");
}

#[tokio::test]
async fn a_client_of_tonics_takes_an_interceptor_around_the_layer() {
    let server = Server::start(service_fn(|request: Request<Incoming>| async move {
        let answer =
            if request.headers().contains_key("x-key") { Status::not_found("no") } else { Status::aborted("") };
        Ok::<_, Infallible>(answer.into_http::<Empty<Bytes>>())
    }))
    .await;
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    let calls = steeple.client_layer().layer(channel(server.address()));
    let mut client = TaskBoardClient::with_interceptor(calls, |mut request: tonic::Request<()>| {
        request.metadata_mut().insert("x-key", "1".parse().unwrap());
        Ok(request)
    });
    let status = client.get_task(GetTaskRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let page = String::from_utf8(steeple.metrics().render(None, None).body.to_vec()).unwrap();
    assert!(page.contains("grpc_client_handled_total"), "{page}");
}
