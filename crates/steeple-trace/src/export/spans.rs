use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter},
};

use super::Sender;
use crate::scrub::Bounds;

/// Sends spans, scrubbed.
pub(crate) struct Spans<E> {
    exporter: E,
    bounds: Bounds,
}

impl<E: SpanExporter> Spans<E> {
    pub(crate) fn new(mut exporter: E, resource: &Resource, bounds: Bounds) -> Self {
        exporter.set_resource(resource);
        Self { exporter, bounds }
    }
}

impl<E: SpanExporter> Sender for Spans<E> {
    type Item = SpanData;

    async fn send(&self, spans: Vec<SpanData>) -> bool {
        let spans = spans.into_iter().map(|span| self.bounds.apply(span)).collect();
        self.exporter.export(spans).await.is_ok()
    }

    fn close(&self) {
        let _result = self.exporter.shutdown();
    }
}
