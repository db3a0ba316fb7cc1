//! Every secret of the corpus, through attributes of spans and through log records: none gets out.

use std::time::Duration;

use axum::{Extension, Router, body::Body, routing::get};
use http::{Request, StatusCode};
use opentelemetry_sdk::trace::{InMemorySpanExporterBuilder, SdkTracerProvider};
use steeple_core::{Exchange, User};
use steeple_scrub::corpus::{self, Place, Secret};
use steeple_trace::{Otlp, Segments, Trace};
use tower::ServiceExt;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

use crate::{receiver::Receiver, support::Rig};

/// Those that stand where an attribute or a log line has a place for them.
fn secrets() -> Vec<Secret> {
    let fits =
        |secret: &Secret| matches!(secret.place, Place::Field | Place::Message | Place::Error | Place::Breadcrumb);
    let found: Vec<_> = corpus::secrets().into_iter().filter(fits).collect();
    assert!(found.len() > 100, "{}", found.len());
    found
}

#[test]
fn no_secret_of_the_corpus_leaves_in_a_span() {
    for secret in secrets() {
        let rig = Rig::new(Trace::builder());
        if secret.place == Place::Field {
            // Its name is what gives it away.
            tracing::info_span!("work").set_attribute(secret.name.clone(), secret.text.clone());
        } else {
            let span = tracing::info_span!("work", note = secret.text, otel.status_description = secret.text);
            span.in_scope(|| tracing::info!(note = secret.text, "it was {}", secret.text));
        }
        let span = rig.span();
        // Ids and times are numbers that hold any three digits sooner or later.
        let events = span.events.iter().map(|event| (&event.name, &event.attributes)).collect::<Vec<_>>();
        let seen = format!("{} {:?} {events:?} {:?}", span.name, span.attributes, span.status);
        assert!(!secret.leaks_into(&seen), "{secret:?} leaks: {seen}");
    }
}

#[test]
fn no_secret_of_the_corpus_leaves_in_a_log_record() {
    let Some(receiver) = Receiver::start() else { return };
    let secrets = secrets();
    let logs = Otlp::new().endpoint(receiver.logs_endpoint());
    let trace = Trace::builder().logs(logs).log_queue(secrets.len(), 100).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(trace.logs_layer());
    tracing::subscriber::with_default(subscriber, || {
        for secret in &secrets {
            match (secret.place, secret.name.as_str()) {
                // The names of fields are fixed at compile time: one stands for all that are denied.
                (Place::Field, "note" | "target") => tracing::info!(note = secret.text, "a line"),
                (Place::Field, _) => tracing::info!(password = secret.text, "a line"),
                _ => tracing::info!(note = ?secret.text, error = secret.text, "{}", secret.text),
            }
        }
    });
    assert!(trace.flush_blocking(Duration::from_secs(30)).is_complete());
    let records = receiver.logs(secrets.len());
    for (secret, record) in secrets.iter().zip(&records) {
        // Times and the like are numbers that hold any three digits sooner or later.
        let seen = format!("{} {}", record["body"], record["attributes"]);
        assert!(!secret.leaks_into(&seen), "{secret:?} leaks: {seen}");
    }
}

/// One that is found whatever stands around it.
const TOKEN: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";

#[tokio::test]
async fn a_provider_that_scrubs_nothing_gets_no_secret_from_us() {
    let exporter = InMemorySpanExporterBuilder::new().build();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let trace = Trace::builder().request_header("referer").build_with_provider(&provider).unwrap();
    let app = Router::new()
        .route(
            "/users/{id}",
            get(|exchange: Extension<Exchange>| async move {
                exchange.set_user(User::new(TOKEN));
                exchange.set_name(format!("user {TOKEN}"));
                exchange.set_attribute("note", TOKEN);
                exchange.set_attribute("card", 4_111_111_111_111_111_i64);
                exchange.segment("db", format!("select {TOKEN}"), async {}).with("db.query.text", TOKEN).await;
                exchange.record_error(&std::io::Error::other(TOKEN));
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .layer(trace.layer());
    let request = Request::get(format!("/users/{TOKEN}?q={TOKEN}"))
        .header("host", format!("{TOKEN}.example"))
        .header("user-agent", TOKEN)
        .header("referer", format!("/?{TOKEN}"))
        .body(Body::empty())
        .unwrap();
    let answer = app.oneshot(request).await.unwrap();
    axum::body::to_bytes(answer.into_body(), 1024).await.unwrap();
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 2);
    let seen = format!("{spans:?}");
    assert!(!seen.contains(TOKEN), "{seen}");
    assert!(!seen.contains("4111111111111111"), "{seen}");
    // It was all there.
    for what in ["[redacted:card]", "user [redacted:github]", "select [redacted:github]"] {
        assert!(seen.contains(what), "{what} in {seen}");
    }
    let found = seen.matches("[redacted:github]").count();
    assert!(found >= 11, "{found} in {seen}");
}
