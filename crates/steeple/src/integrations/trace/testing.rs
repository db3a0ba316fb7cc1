//! What a recorder keeps of traces.

use std::sync::{Arc, Mutex};

use opentelemetry::trace::{SpanId, Status};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

use crate::testing::{
    Recorder,
    capture::{Memory, lock},
};

/// A span that has ended, as it would be exported: scrubbed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// Its name: `GET /users/{id}`.
    pub name: String,
    /// `server`, `client`, `internal`, `producer` or `consumer`.
    pub kind: &'static str,
    /// The trace's id, 32 hexadecimal digits.
    pub trace_id: String,
    /// Its id, 16 hexadecimal digits.
    pub span_id: String,
    /// The parent's id. `None`: it is the first of its trace.
    pub parent_id: Option<String>,
    /// Whether its status is an error.
    pub is_error: bool,
    /// How many spans it links to.
    pub links: usize,
    attributes: Vec<(String, String)>,
}

impl Span {
    /// An attribute as text.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All attributes as texts.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn of(span: &SpanData) -> Self {
        let parent = span.parent_span_id;
        Self {
            name: span.name.to_string(),
            kind: kind(&span.span_kind),
            trace_id: span.span_context.trace_id().to_string(),
            span_id: span.span_context.span_id().to_string(),
            parent_id: (parent != SpanId::INVALID).then(|| parent.to_string()),
            is_error: matches!(span.status, Status::Error { .. }),
            links: span.links.len(),
            attributes: span.attributes.iter().map(|one| (one.key.to_string(), one.value.to_string())).collect(),
        }
    }
}

fn kind(kind: &opentelemetry::trace::SpanKind) -> &'static str {
    use opentelemetry::trace::SpanKind;
    match kind {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Internal => "internal",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
    }
}

/// The spans of a recording.
#[derive(Debug, Default)]
pub(super) struct Spans(Mutex<Vec<Span>>);

impl Memory for Spans {
    fn clear(&self) {
        lock(&self.0).clear();
    }
}

impl Recorder {
    /// The spans that have ended, in the order in which they did.
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.memory::<Spans>().0).clone()
    }
}

/// Keeps spans in a recording.
#[derive(Debug)]
pub(super) struct Kept(pub(super) Arc<Spans>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        lock(&self.0.0).extend(batch.iter().map(Span::of));
        Ok(())
    }
}
