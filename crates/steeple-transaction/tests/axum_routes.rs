//! What real Axum routers make of a request, and what the exchange is called.
#![cfg(feature = "axum")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::convert::Infallible;

use axum::{
    Json, Router,
    body::Body,
    extract::Path,
    response::IntoResponse,
    routing::{get, post},
};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use steeple_core::{Exchange, ObserveLayer, Outcome, test_util::RecordingObserver};
use steeple_transaction::{Naming, ReportRouteLayer, TransactionName};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

type Watching = (Naming, RecordingObserver);

/// Sends a request and reads the answer. The exchange's name and its source, the route, the status.
async fn send<S, B>(service: S, seen: &RecordingObserver, method: &str, path: &str) -> (String, &'static str, u16)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: std::fmt::Debug,
    B: axum::body::HttpBody,
    B::Error: std::fmt::Debug,
{
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    response.into_body().collect().await.unwrap_or_else(|error| panic!("{error:?}"));
    let (exchange, _) = seen.ended().pop().unwrap();
    (exchange.name().to_string(), exchange.name().source().as_str(), status)
}

fn watching() -> (RecordingObserver, ObserveLayer<Watching>) {
    let seen = RecordingObserver::new();
    (seen.clone(), ObserveLayer::new((Naming::new(), seen)))
}

fn users() -> Router {
    Router::new().route("/users/{id}", get(|| async { "Ann" }))
}

/// The routes of the ground truth.
fn app(inner: Router) -> Router {
    Router::new()
        .route("/plain/{id}", get(|| async { "plain" }))
        .nest("/api", users())
        .nest_service("/svc", inner.clone())
        .route_service("/rs/{*rest}", Router::new().nest("/rs", inner).into_service::<Body>())
}

const GROUND_TRUTH: [(&str, &str, &str, &str, u16); 7] = [
    ("GET", "/plain/1", "GET /plain/{id}", "route", 200),
    ("POST", "/plain/1", "POST /plain/{id}", "route", 405),
    ("BREW", "/plain/1", "_OTHER /plain/{id}", "route", 405),
    ("GET", "/api/users/1", "GET /api/users/{id}", "route", 200),
    ("GET", "/api/none", "GET unmatched", "unmatched", 404),
    ("GET", "/none", "GET unmatched", "unmatched", 404),
    ("GET", "/%00%0a", "GET unmatched", "unmatched", 404),
];

#[tokio::test]
async fn a_layer_on_the_router_knows_what_axum_matched() {
    let (seen, layer) = watching();
    let app = app(users()).layer(layer);
    for (method, path, name, source, status) in GROUND_TRUTH {
        assert_eq!(send(app.clone(), &seen, method, path).await, (name.to_owned(), source, status), "{method} {path}");
    }
    assert_eq!(send(app.clone(), &seen, "GET", "/svc/users/1").await.0, "GET unmatched", "the route was not reported");
    assert_eq!(send(app, &seen, "GET", "/rs/users/1").await.0, "GET /rs/{*rest}");
}

#[tokio::test]
async fn an_inner_layer_names_nest_service_and_route_service_in_full() {
    let (seen, layer) = watching();
    let app = app(users().layer(ReportRouteLayer::matched_path())).layer(layer);
    for (method, path, name, source, status) in GROUND_TRUTH {
        assert_eq!(send(app.clone(), &seen, method, path).await, (name.to_owned(), source, status), "{method} {path}");
    }
    for (path, name, status) in [
        ("/svc/users/1", "GET /svc/users/{id}", 200),
        ("/rs/users/1", "GET /rs/users/{id}", 200),
        ("/svc/none", "GET unmatched", 404),
        ("/rs/none", "GET /rs/{*rest}", 404),
    ] {
        let (found, _, code) = send(app.clone(), &seen, "GET", path).await;
        assert_eq!((found.as_str(), code), (name, status), "{path}");
    }
    assert_eq!(send(app, &seen, "POST", "/svc/users/1").await, ("POST /svc/users/{id}".to_owned(), "route", 405));
}

#[tokio::test]
async fn a_watching_layer_inside_names_nest_service_in_full_as_well() {
    let (seen, layer) = watching();
    let inner = users().layer(ObserveLayer::new(RecordingObserver::new()));
    let app = app(inner).layer(layer);
    assert_eq!(send(app, &seen, "GET", "/svc/users/1").await.0, "GET /svc/users/{id}");
}

#[tokio::test]
async fn around_the_whole_router_the_inner_layer_reports_the_route() {
    let (seen, layer) = watching();
    let inner = users().layer(ReportRouteLayer::matched_path());
    let router = app(inner).layer(ReportRouteLayer::matched_path());
    let app = ServiceBuilder::new().layer(layer).service(router);
    for (method, path, name, source, status) in GROUND_TRUTH {
        // Axum takes its own body type.
        let app = app.clone();
        assert_eq!(send(app, &seen, method, path).await, (name.to_owned(), source, status), "{method} {path}");
    }
    assert_eq!(send(app.clone(), &seen, "GET", "/svc/users/1").await.0, "GET /svc/users/{id}");
    assert_eq!(send(app, &seen, "GET", "/rs/users/1").await.0, "GET /rs/users/{id}");
}

#[tokio::test]
async fn a_route_layer_reports_the_route_of_a_405_too() {
    let (seen, layer) = watching();
    let router = users().route_layer(ReportRouteLayer::matched_path());
    let app = ServiceBuilder::new().layer(layer).service(router);
    assert_eq!(send(app.clone(), &seen, "GET", "/users/1").await, ("GET /users/{id}".to_owned(), "route", 200));
    assert_eq!(send(app.clone(), &seen, "PUT", "/users/1").await, ("PUT /users/{id}".to_owned(), "route", 405));
    assert_eq!(send(app, &seen, "PUT", "/none").await, ("PUT unmatched".to_owned(), "unmatched", 404));
}

#[tokio::test]
async fn fallbacks_are_unmatched_whatever_they_answer() {
    let (seen, layer) = watching();
    let app = Router::new()
        .nest("/api", users().fallback(|| async { "inner" }))
        .fallback(|| async { (StatusCode::IM_A_TEAPOT, "outer") })
        .layer(layer);
    assert_eq!(send(app.clone(), &seen, "GET", "/api/x").await, ("GET unmatched".to_owned(), "unmatched", 200));
    assert_eq!(send(app, &seen, "GET", "/x").await, ("GET unmatched".to_owned(), "unmatched", 418));
}

#[tokio::test]
async fn a_fixed_template_names_a_service_without_a_router() {
    let (seen, layer) = watching();
    let files = tower::service_fn(|_: Request<_>| async { Ok::<_, Infallible>("file".into_response()) });
    let app: Router =
        Router::new().nest_service("/files", ReportRouteLayer::template("/files/{*path}").layer(files)).layer(layer);
    assert_eq!(send(app, &seen, "GET", "/files/a/b.txt").await, ("GET /files/{*path}".to_owned(), "route", 200));
}

#[tokio::test]
async fn a_rejected_request_has_its_name() {
    let (seen, layer) = watching();
    let app = Router::new()
        .route("/numbers/{n}", get(|Path(n): Path<u32>| async move { n.to_string() }))
        .route("/tasks", post(|Json(task): Json<String>| async move { task }))
        .layer(layer);
    assert_eq!(send(app.clone(), &seen, "GET", "/numbers/x").await, ("GET /numbers/{n}".to_owned(), "route", 400));
    assert_eq!(send(app, &seen, "POST", "/tasks").await, ("POST /tasks".to_owned(), "route", 415));
}

#[tokio::test]
async fn a_panicking_request_has_its_name() {
    async fn fail() -> &'static str {
        std::panic::resume_unwind(Box::new("on purpose"))
    }
    let (seen, layer) = watching();
    let inner = Router::new().route("/boom/{id}", get(fail)).layer(ReportRouteLayer::matched_path());
    let app: Router = Router::new().nest_service("/svc", inner).layer(layer);
    let request = Request::get("/svc/boom/1").body(Body::empty()).unwrap();
    assert!(tokio::spawn(app.oneshot(request)).await.unwrap_err().is_panic());
    let (exchange, end) = seen.ended().pop().unwrap();
    assert_eq!((exchange.name().to_string().as_str(), end.outcome), ("GET /svc/boom/{id}", Outcome::Panicked));
}

#[tokio::test]
async fn a_handler_reads_the_name_and_sets_another() {
    let (seen, layer) = watching();
    let handler = |name: TransactionName, exchange: Exchange| async move {
        exchange.set_name("import");
        name.to_string()
    };
    let app: Router = Router::new().route("/a/{b}", get(handler)).layer(layer);
    let response = app.oneshot(Request::get("/a/1").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "GET /a/{b}");
    assert_eq!(seen.ended().pop().unwrap().0.name().to_string(), "import");
}

#[tokio::test]
async fn without_a_layer_the_extractor_rejects_nothing() {
    let app: Router = Router::new()
        .route("/a", get(|name: TransactionName| async move { name.to_string() }))
        .layer(ReportRouteLayer::matched_path());
    let response = app.oneshot(Request::get("/a").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
}
