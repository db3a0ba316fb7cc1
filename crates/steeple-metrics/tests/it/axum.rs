//! A real router: what the README shows, options bound to routes, `/metrics` over HTTP.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, to_bytes},
    routing::{get, post},
};
use http::{Request, StatusCode, header};
use steeple_core::{Exchange, RouteOptions, Signal};
use steeple_metrics::{Buckets, Measure, Metrics, Objective, RouteMetrics};
use tower::ServiceExt;

use crate::support::Page;

async fn send(app: &Router, method: &str, path: &str) -> (StatusCode, http::HeaderMap, String) {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_readme_shows_what_is_printed() {
    let metrics = Metrics::builder().build().unwrap();
    let app =
        Router::new().route("/users/{id}", get(|| async { "Ann" })).merge(metrics.routes()).layer(metrics.layer());
    send(&app, "GET", "/users/1").await;
    let (status, headers, page) = send(&app, "GET", "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let shown = readme.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    for line in shown.lines() {
        assert!(page.lines().any(|printed| printed == line), "{line} in\n{page}");
    }
}

#[tokio::test]
async fn a_scraper_that_asks_for_openmetrics_gets_it() {
    let metrics = Metrics::new().unwrap();
    let app: Router = metrics.routes();
    let request = Request::get("/metrics").header(header::ACCEPT, "application/openmetrics-text;version=1.0.0");
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert_eq!(response.headers()[header::VARY], "accept, accept-encoding");
}

#[tokio::test]
async fn options_are_bound_to_routes_and_not_to_paths() {
    let metrics = Metrics::new().unwrap();
    let quiet = RouteOptions::new().skip(Signal::Metrics).skip(Signal::Log).layer().unwrap();
    let slow = RouteOptions::new().buckets(Buckets::new([60.0])).layer().unwrap();
    let promised =
        RouteOptions::new().objective(Objective::only_latency(Duration::from_millis(42), 0.9)).layer().unwrap();
    let app = Router::new()
        // One method of a route; a whole router; one that a handler decides for itself.
        .route("/jobs/{id}", get(|| async { "job" }).layer(quiet).merge(post(|| async { "made" })))
        .nest("/reports", Router::new().route("/{year}", get(|| async { "report" })).layer(slow))
        .route("/users/{id}", get(|| async { "Ann" }).layer(promised))
        .route("/probe", get(|exchange: Exchange| async move { exchange.skip(Signal::Metrics) }))
        .layer(metrics.layer());
    for (method, path) in
        [("GET", "/jobs/1"), ("POST", "/jobs/1"), ("GET", "/reports/2024"), ("GET", "/users/7"), ("GET", "/probe")]
    {
        assert_eq!(send(&app, method, path).await.0, StatusCode::OK, "{path}");
    }
    assert_eq!(send(&app, "DELETE", "/users/7").await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(send(&app, "GET", "/nothing").await.0, StatusCode::NOT_FOUND);
    let page = Page::of(&metrics);
    let mut routes: Vec<_> = page.find("http_requests_total").map(|(labels, _)| labels).collect();
    routes.sort_unstable();
    assert_eq!(
        routes,
        [
            r#"method="DELETE",route="/users/{id}",status_code="405""#,
            r#"method="GET",route="/reports/{year}",status_code="200""#,
            r#"method="GET",route="/users/{id}",status_code="200""#,
            r#"method="GET",route="unmatched",status_code="404""#,
            r#"method="POST",route="/jobs/{id}",status_code="200""#,
        ]
    );
    let bounds = |route: &str| {
        page.find("http_request_duration_seconds_bucket").filter(|(labels, _)| labels.contains(route)).count()
    };
    assert_eq!((bounds("/reports/{year}"), bounds("/jobs/{id}")), (2, 15));
    assert!(page.text.contains(r#"status_code="200",le="0.042""#), "an objective's target is a bound");
    assert_eq!(page.value("http_requests_in_flight", ""), 0.0);
    assert!(metrics.rules().render().unwrap().contains("/users/{id}"));
}

#[tokio::test]
async fn where_routes_opt_in_the_others_are_silent() {
    let metrics = Metrics::builder().measure(Measure::OptedIn).build().unwrap();
    let chosen = RouteOptions::new().measured().layer().unwrap();
    let app = Router::new()
        .route("/chosen", get(|| async { "yes" }).layer(chosen))
        .route("/other", get(|| async { "no" }))
        .layer(metrics.layer());
    for path in ["/chosen", "/other", "/nothing"] {
        send(&app, "GET", path).await;
    }
    let page = Page::of(&metrics);
    let found: Vec<_> = page.find("http_requests_total").collect();
    assert_eq!(found, [(r#"method="GET",route="/chosen",status_code="200""#, 1.0)]);
}
