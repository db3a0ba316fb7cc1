//! Routes that are measured each in their own way. `cargo run -p steeple-metrics --example per-route-metrics --features axum`

use std::{error::Error, time::Duration};

use axum::{Router, routing::get};
use steeple_core::{Exchange, RouteOptions, Signal};
use steeple_metrics::{Buckets, Metrics, Objective, RouteMetrics};
use tower::ServiceExt;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let metrics = Metrics::builder().build()?;

    // Exports take minutes; users are promised an answer in 250 ms; probes leave no record.
    let exports = RouteOptions::new().buckets(Buckets::new([1.0, 10.0, 60.0, 300.0])).layer()?;
    let promise = Objective::success(0.999).latency(Duration::from_millis(250), 0.99);
    let users = RouteOptions::new().objective(promise).layer()?;
    let probes = RouteOptions::new().skip(Signal::Metrics).skip(Signal::Log).layer()?;

    let app = Router::new()
        .route("/exports/{id}", get(|| async { "csv" }).layer(exports))
        .route("/users/{id}", get(|| async { "Ann" }).layer(users))
        .route("/healthz", get(|| async { "ok" }).layer(probes))
        .route("/search", get(search))
        .merge(metrics.routes())
        .layer(metrics.layer());

    for path in ["/exports/1", "/users/2", "/healthz", "/search", "/search?warm-up"] {
        let request = http::Request::get(path).body(axum::body::Body::empty())?;
        let response = app.clone().oneshot(request).await?;
        axum::body::to_bytes(response.into_body(), usize::MAX).await?;
    }
    println!("{}", String::from_utf8_lossy(&metrics.render(None, None).body));
    println!("# The file for Prometheus:\n{}", metrics.rules().render()?);
    Ok(())
}

/// The handler can decide, too.
async fn search(exchange: Exchange, uri: http::Uri) -> &'static str {
    if uri.query() == Some("warm-up") {
        exchange.skip(Signal::Metrics);
    }
    "found"
}
