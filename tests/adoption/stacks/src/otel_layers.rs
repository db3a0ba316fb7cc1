//! OpenTelemetry's own tower layer with Steeple's beside it, then Steeple's alone: what changes is what the migration page says.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
    routing::get,
};
use opentelemetry::trace::SpanKind;
use opentelemetry_instrumentation_tower::http::server::Layer as OtelLayer;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use steeple::trace::Trace;
use tower::ServiceExt;

use crate::Outcome;

const PATH: &str = "/users/7?token=hunter2hunter2";

fn routes() -> Router {
    Router::new()
        .route("/users/{id}", get(async || "Ann"))
        .route("/never", get(async || std::future::pending::<&str>().await))
}

async fn ask(app: &Router) -> Outcome {
    let request = Request::get(PATH).header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let response = app.clone().oneshot(request.body(Body::empty())?).await?;
    assert_eq!(to_bytes(response.into_body(), 1024).await?, "Ann");
    Ok(())
}

/// A request whose client goes away.
async fn ask_and_go(app: &Router) -> Outcome {
    let request = Request::get("/never").body(Body::empty())?;
    let waited = tokio::time::timeout(Duration::from_millis(20), app.clone().oneshot(request)).await;
    assert!(waited.is_err(), "it never answers");
    Ok(())
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|pair| pair.key.as_str() == key).map(|pair| pair.value.to_string())
}

/// The server spans of both, by who made them: `(theirs, ours)`.
fn by_scope(spans: Vec<SpanData>) -> (Vec<SpanData>, Vec<SpanData>) {
    let server = spans.into_iter().filter(|span| span.span_kind == SpanKind::Server);
    server.partition(|span| span.instrumentation_scope.name() == "opentelemetry-instrumentation-tower")
}

pub async fn run() -> Outcome {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    opentelemetry::global::set_tracer_provider(provider.clone());
    let steeple = Trace::builder().build_with_provider(&provider)?;
    let take = || -> Result<_, Box<dyn std::error::Error>> {
        let spans = exporter.get_finished_spans()?;
        exporter.reset();
        Ok(by_scope(spans))
    };

    // Side by side: two server spans of one name.
    let both = routes().layer(OtelLayer::new()).layer(steeple.layer());
    ask(&both).await?;
    let (theirs, ours) = take()?;
    assert_eq!((theirs.len(), ours.len()), (1, 1), "{theirs:#?} {ours:#?}");
    assert_eq!((&*theirs[0].name, &*ours[0].name), ("GET /users/{id}", "GET /users/{id}"));
    for key in ["http.request.method", "http.route", "http.response.status_code", "url.path"] {
        assert!(attribute(&theirs[0], key).is_some(), "{key} of theirs: {theirs:#?}");
        assert_eq!(attribute(&ours[0], key), attribute(&theirs[0], key), "{key}");
    }
    let scheme = [&theirs[0], &ours[0]].map(|span| attribute(span, "url.scheme"));
    assert_eq!(scheme, [Some(String::new()), Some("http".to_owned())], "a request line of HTTP/1 has none");
    assert!(attribute(&theirs[0], "url.query").is_some_and(|query| query.contains("hunter2")), "{theirs:#?}");
    assert!(!format!("{ours:?}").contains("hunter2"), "{ours:#?}");

    // A client that goes away.
    ask_and_go(&both).await?;
    let (theirs, ours) = take()?;
    assert_eq!((theirs.len(), ours.len()), (1, 1), "{theirs:#?} {ours:#?}");
    assert_eq!(attribute(&theirs[0], "error.type"), None, "theirs ends without a word: {theirs:#?}");
    assert_eq!(attribute(&ours[0], "error.type").as_deref(), Some("cancelled"), "{ours:#?}");

    // Steeple's alone: the caller's trace goes on.
    ask(&routes().layer(steeple.layer())).await?;
    let (theirs, ours) = take()?;
    assert_eq!((theirs.len(), ours.len()), (0, 1));
    assert_eq!(ours[0].span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(ours[0].parent_span_id.to_string(), "00f067aa0ba902b7");
    Ok(())
}
