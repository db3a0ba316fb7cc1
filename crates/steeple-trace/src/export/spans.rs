use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter},
};
use steeple_scrub::Scrubbed;

use super::{Item, Sender};
use crate::{scrub::Bounds, size::size_of_span};

impl Item for SpanData {
    fn bytes(&self) -> usize {
        size_of_span(self)
    }
}

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
    type Ready = SpanData;

    fn scrub(&self, span: SpanData) -> Scrubbed<SpanData> {
        self.bounds.apply(span)
    }

    async fn send(&self, spans: Vec<Scrubbed<SpanData>>) -> bool {
        let spans = spans.into_iter().map(Scrubbed::into_inner).collect();
        self.exporter.export(spans).await.is_ok()
    }

    fn close(&self) {
        let _result = self.exporter.shutdown();
    }
}
