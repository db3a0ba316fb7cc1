use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::trace::SpanData;
use steeple_export::{Answer, Protocol, Reason, Request, Response};
use steeple_scrub::Scrubbed;

use super::{Encoded, Wire};
use crate::{scrub::Bounds, size::size_of_span};

/// Sends spans by OTLP.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    pub(crate) wire: Wire,
    pub(crate) bounds: Bounds,
}

impl Protocol for Spans {
    type Item = SpanData;
    type Ready = Encoded;

    fn size(span: &SpanData) -> usize {
        size_of_span(span)
    }

    fn scrub(&mut self, span: SpanData) -> Scrubbed<Encoded> {
        self.bounds.apply(span).map(|span| {
            let scope = span.instrumentation_scope.clone();
            Encoded::new(&scope, &Span::from(span))
        })
    }

    fn encode(&mut self, batch: &[Scrubbed<Encoded>]) -> Result<Request, Reason> {
        self.wire.request(batch)
    }

    fn judge(&mut self, response: &Response, batch: &[Scrubbed<Encoded>]) -> Answer {
        self.wire.judge(response, batch.len())
    }
}
