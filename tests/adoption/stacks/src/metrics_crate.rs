//! A team that counts with the `metrics` crate: its recorder stays, and its families are in Steeple's `/metrics`.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use steeple::Steeple;
use tower::ServiceExt;

use crate::Outcome;

async fn page(app: &Router) -> Result<String, Box<dyn std::error::Error>> {
    let response = app.clone().oneshot(Request::get("/metrics").body(Body::empty())?).await?;
    Ok(String::from_utf8(to_bytes(response.into_body(), 1 << 20).await?.to_vec())?)
}

pub async fn run() -> Outcome {
    let recorder = PrometheusBuilder::new().install_recorder()?;
    let theirs = recorder.clone();
    let steeple = Steeple::builder()
        .without_log_setup()
        .metrics(|metrics| metrics.append("the metrics crate", move || recorder.render()))
        .build()?;
    let order = async || {
        metrics::counter!("orders_total", "plan" => "pro").increment(1);
        metrics::gauge!("seats").set(7.5);
        metrics::histogram!("basket_size").record(3.0);
        "ordered"
    };
    let app = Router::new().route("/orders", get(order)).layer(steeple.layer()).merge(steeple.routes());
    let response = app.clone().oneshot(Request::get("/orders").body(Body::empty())?).await?;
    to_bytes(response.into_body(), 1024).await?;

    let page = page(&app).await?;
    for line in [
        r#"orders_total{plan="pro"} 1"#,
        "seats 7.5",
        r#"http_requests_total{method="GET",route="/orders",status_code="200"} 1"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
    // A histogram without buckets is a summary, there and here.
    for line in theirs.render().lines().filter(|line| line.starts_with("basket_size_")) {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
    assert!(page.contains("# TYPE basket_size summary"), "{page}");

    // A name that Steeple has as well, of another kind, is not shown twice.
    metrics::counter!("http_requests_in_flight").increment(9);
    let page = self::page(&app).await?;
    assert_eq!(page.matches("# TYPE http_requests_in_flight ").count(), 1, "{page}");
    assert!(!page.contains("http_requests_in_flight 9"), "{page}");
    Ok(())
}
