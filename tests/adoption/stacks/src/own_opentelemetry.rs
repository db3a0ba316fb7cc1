//! A team's own OpenTelemetry provider and its own `tracing` subscriber: both stay as they are, and Steeple's server span is in the
//! same trace as the handler's.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
    routing::get,
};
use opentelemetry::trace::{SpanKind, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use steeple::trace::Trace;
use tower::ServiceExt;
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

use crate::{Outcome, written::Written};

pub async fn run() -> Outcome {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    opentelemetry::global::set_tracer_provider(provider.clone());
    let written = Written::default();
    let writer = written.clone();
    let own = tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone()))
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("shop")));
    tracing::subscriber::set_global_default(own)?;

    let trace = Trace::builder().build_with_provider(&provider)?;
    let steeple = steeple::Steeple::builder().service_name("shop").build()?;
    let handler = async || {
        async {
            tracing::info!("looked up");
            "Ann"
        }
        .instrument(tracing::info_span!("look up"))
        .await
    };
    let app = Router::new().route("/users/{id}", get(handler)).layer(steeple.layer()).layer(trace.layer());
    let caller = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request =
        Request::get("/users/7?token=hunter2hunter2").header("traceparent", format!("00-{caller}-00f067aa0ba902b7-01"));
    let response = app.oneshot(request.body(Body::empty())?).await?;
    assert_eq!(to_bytes(response.into_body(), 1024).await?, "Ann");

    let spans = exporter.get_finished_spans()?;
    let server: Vec<_> = spans.iter().filter(|span| span.span_kind == SpanKind::Server).collect();
    assert_eq!(server.len(), 1, "one server span: {spans:#?}");
    assert_eq!(server[0].name, "GET /users/{id}");
    assert_eq!(server[0].span_context.trace_id().to_string(), caller, "the caller's trace goes on");
    assert!(!format!("{spans:?}").contains("hunter2"), "{spans:#?}");
    let inner = spans.iter().find(|span| span.name == "look up").ok_or("the handler's own span")?;
    assert_eq!(inner.span_context.trace_id(), server[0].span_context.trace_id());
    let lines = written.take();
    let line = lines.lines().find(|line| line.contains("looked up")).ok_or("the handler's line")?;
    assert!(line.contains(caller), "the handler's line has the trace: {line}");
    Ok(())
}
