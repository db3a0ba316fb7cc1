//! Spans of a small service, sent by OTLP to whatever the standard variables name:
//!
//! ```text
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run -p steeple-trace --example otlp
//! curl -i http://127.0.0.1:3000/users/7
//! ```

use std::time::Duration;

use axum::{Extension, Router, extract::Path, routing::get};
use steeple_core::Exchange;
use steeple_trace::{ResponseHeader, Segments, TailSampling, Trace, TraceBuilder};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[expect(clippy::disallowed_methods, reason = "an application may read its own environment")]
    let trace: Trace = TraceBuilder::from_env(|name| std::env::var(name).ok())?
        // Whatever is sampled: failures and what takes longer than this are kept.
        .tail_sampling(TailSampling::new().slow(Duration::from_millis(250)))
        .response_header(ResponseHeader::TraceResponse)
        .build()?;
    let lines = tracing_subscriber::fmt::layer().with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(lines).with(trace.tracing_layer()).init();
    for finding in trace.diagnose() {
        tracing::warn!("{finding}");
    }

    let app = Router::new().route("/users/{id}", get(user)).layer(trace.layer());
    let listener =
        tokio::net::TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3000")).await?;
    axum::serve(listener, app).with_graceful_shutdown(until_interrupted()).await?;

    let report = trace.shutdown(Duration::from_secs(5)).await;
    tracing::info!(?report, "spans");
    Ok(())
}

async fn user(Extension(exchange): Extension<Exchange>, Path(id): Path<u32>) -> String {
    exchange.set_attribute("user.is_guest", id == 0);
    let name = exchange.segment("db", "select users", look_up(id)).with("db.system.name", "sqlite").await;
    format!("{name}\n")
}

#[tracing::instrument]
async fn look_up(id: u32) -> &'static str {
    tokio::time::sleep(Duration::from_millis(u64::from(id))).await;
    "Ann"
}

async fn until_interrupted() {
    let _result = tokio::signal::ctrl_c().await;
}
