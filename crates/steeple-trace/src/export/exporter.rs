use std::{sync::Arc, time::Instant};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    trace::{SpanData, SpanExporter},
};
use steeple_export::{Answer, DropReason, Exporter, Reason};
use steeple_scrub::Scrubbed;

use crate::{scrub::Bounds, size::size_of_span};

/// Sends spans through an exporter of the SDK's kind.
#[derive(Debug)]
pub(crate) struct OfSdk<E: SpanExporter> {
    exporter: Arc<Owned<E>>,
    bounds: Bounds,
}

/// Shuts the exporter down when the last one is dropped.
#[derive(Debug)]
struct Owned<E: SpanExporter>(E);

impl<E: SpanExporter> Drop for Owned<E> {
    fn drop(&mut self) {
        let _nothing_to_do_about_it = self.0.shutdown();
    }
}

impl<E: SpanExporter> OfSdk<E> {
    pub(crate) fn new(mut exporter: E, resource: &Resource, bounds: Bounds) -> Self {
        exporter.set_resource(resource);
        Self { exporter: Arc::new(Owned(exporter)), bounds }
    }
}

impl<E: SpanExporter> Clone for OfSdk<E> {
    /// The same exporter: there is only one.
    fn clone(&self) -> Self {
        Self { exporter: Arc::clone(&self.exporter), bounds: self.bounds.clone() }
    }
}

impl<E: SpanExporter + 'static> Exporter for OfSdk<E> {
    type Item = SpanData;
    type Ready = SpanData;

    fn size(span: &SpanData) -> usize {
        size_of_span(span)
    }

    fn scrub(&mut self, span: SpanData) -> Scrubbed<SpanData> {
        self.bounds.apply(span)
    }

    async fn export(&mut self, batch: &[Scrubbed<SpanData>], _deadline: Instant) -> Answer {
        let spans = batch.iter().map(|span| SpanData::clone(span)).collect();
        match self.exporter.0.export(spans).await {
            Ok(()) => Answer::Accepted,
            // What may be retried, the exporter has retried itself.
            Err(error) => Answer::Rejected {
                cause: match &error {
                    OTelSdkError::Timeout(_) => DropReason::Network,
                    OTelSdkError::AlreadyShutdown => DropReason::Shutdown,
                    OTelSdkError::InternalFailure(_) => DropReason::Rejected,
                },
                why: Reason::of_error(&error),
            },
        }
    }
}
