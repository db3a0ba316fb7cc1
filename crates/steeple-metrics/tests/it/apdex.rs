//! Apdex: of the service, of a route, of what a layer binds to one.

use std::{convert::Infallible, time::Duration};

use http::{Response, StatusCode};
use steeple_core::{Exchange, RouteOptions};
use steeple_metrics::Metrics;

use crate::support::{Page, TestBody, call, request};

/// No test takes as long.
const LONG: Duration = Duration::from_secs(3600);
/// Every request takes longer.
const NONE: Duration = Duration::ZERO;

async fn ask(metrics: &Metrics, route: &'static str, status: u16, options: Option<RouteOptions>) {
    call(metrics, request("GET", route), |exchange: Exchange| async move {
        if let Some(options) = options {
            options.layer().unwrap().apply(&exchange);
        }
        let status = StatusCode::from_u16(status).unwrap();
        Ok::<_, Infallible>(Response::builder().status(status).body(TestBody::default()).unwrap())
    })
    .await;
}

fn zones(metrics: &Metrics, route: &str) -> [f64; 3] {
    let page = Page::of(metrics);
    ["satisfied", "tolerating", "frustrated"]
        .map(|zone| page.value("http_apdex_requests_total", &format!(r#"method="GET",route="{route}",zone="{zone}""#)))
}

#[tokio::test]
async fn a_fast_answer_satisfies_and_a_failure_frustrates_however_fast_it_is() {
    let metrics = Metrics::builder().apdex(LONG).build().unwrap();
    for status in [200, 404, 500] {
        ask(&metrics, "/", status, None).await;
    }
    assert_eq!(zones(&metrics, "/"), [2.0, 0.0, 1.0]);
}

#[tokio::test]
async fn a_route_has_its_own_threshold_and_what_is_bound_to_it_comes_first() {
    let of = |threshold| RouteOptions::new().apdex(threshold);
    let metrics = Metrics::builder().apdex(NONE).route("POST /exports", of(NONE)).route("/exports", of(LONG));
    let metrics = metrics.build().unwrap();
    ask(&metrics, "/exports", 200, None).await;
    ask(&metrics, "/other", 200, None).await;
    assert_eq!((zones(&metrics, "/exports"), zones(&metrics, "/other")), ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]));
    ask(&metrics, "/exports", 200, Some(of(NONE))).await;
    assert_eq!(zones(&metrics, "/exports"), [1.0, 0.0, 1.0]);
}

#[tokio::test]
async fn without_a_threshold_the_family_is_absent_and_a_route_without_one_has_no_series() {
    let metrics = Metrics::new().unwrap();
    ask(&metrics, "/", 200, None).await;
    assert!(!Page::of(&metrics).text.contains("apdex"));
    let metrics = Metrics::builder().route("/a", RouteOptions::new().apdex(LONG)).build().unwrap();
    ask(&metrics, "/a", 200, None).await;
    ask(&metrics, "/b", 200, None).await;
    assert_eq!(zones(&metrics, "/a"), [1.0, 0.0, 0.0]);
    assert!(!Page::of(&metrics).text.contains(r#"http_apdex_requests_total{method="GET",route="/b""#));
}
