//! A service of background jobs: one that is run by a timer, and a consumer of messages. No HTTP.

use std::io;

use axum::http::{HeaderMap, HeaderValue};
use steeple::{Exchange, core::MessagingSystem, testing::Recorder};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::Outcome;

struct Order {
    headers: HeaderMap,
    id: u32,
}

async fn import(rows: i64) -> Result<i64, io::Error> {
    if let Some(exchange) = Exchange::current() {
        exchange.set_attribute("rows", rows);
    }
    // What a job spawns belongs to it.
    let exchange = Exchange::current().unwrap_or_else(Exchange::detached);
    let task = exchange.scope(async { tracing::info!("reading") });
    tokio::spawn(task).await.map_err(io::Error::other)?;
    if rows > 0 { Ok(rows) } else { Err(io::Error::other("no rows, token=hunter2hunter2")) }
}

pub async fn run() -> Outcome {
    let recorder = Recorder::new();
    let steeple = recorder.steeple();

    steeple.job("nightly import").run(import(17)).await?;
    let line = recorder.line("nightly import");
    assert_eq!((line.message(), line.number("attributes.rows")), ("nightly import completed", Some(17.0)));
    let lines = recorder.lines();
    let reading = lines.iter().find(|line| line.message() == "reading").ok_or("the job's own line")?;
    assert_eq!(reading.text("trace_id"), line.text("trace_id"), "a line of what the job spawned has its trace");
    recorder.clear();

    steeple.job("nightly import").run(import(0)).await.unwrap_err();
    let line = recorder.line("nightly import");
    assert_eq!(line.level(), "error");
    assert!(line.text("error.message").is_some_and(|message| message.starts_with("no rows, token=")), "{line:?}");
    assert!(!line.as_str().contains("hunter2"), "{line:?}");
    for outcome in ["completed", "failed"] {
        let labels = [("job", "nightly import"), ("outcome", outcome)];
        assert_eq!(recorder.metric("job_runs_total", &labels), Some(1.0), "{outcome}");
    }
    let last = recorder.metric("job_last_success_timestamp_seconds", &[("job", "nightly import")]);
    assert!(last.is_some_and(|at| at > 1.7e9), "{last:?}");
    recorder.clear();

    // A message that carries its sender's trace: a link, and a new trace.
    let mut orders = ServiceBuilder::new()
        .layer(
            steeple
                .consumer_layer("orders")
                .headers(|order: &Order| order.headers.clone())
                .with(MessagingSystem("kafka")),
        )
        .service_fn(async |order: Order| if order.id > 0 { Ok(()) } else { Err("no such order") });
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_str(&format!("00-{trace}-00f067aa0ba902b7-01"))?);
    orders.ready().await?.call(Order { headers, id: 7 }).await?;
    assert_eq!(orders.ready().await?.call(Order { headers: HeaderMap::new(), id: 0 }).await, Err("no such order"));
    let spans = recorder.spans();
    assert_eq!(spans.iter().filter(|span| span.name == "process orders").count(), 2, "{spans:?}");
    assert_eq!(recorder.metric("job_runs_total", &[("job", "orders")]), Some(2.0));
    assert_eq!(recorder.errors().len(), 1);
    Ok(())
}
