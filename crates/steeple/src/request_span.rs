//! A `tracing` span around each exchange, for subscribers that are not Steeple's.

use http::request;
use steeple_core::{End, Exchange, Observer};
use tracing::Span;

/// Opens a span whose fields any formatter shows on the lines within it.
#[derive(Clone, Copy, Debug)]
#[expect(unnameable_types, reason = "part of the state of an opaque observer")]
pub struct RequestSpans;

impl Observer for RequestSpans {
    type State = Span;

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<Span> {
        exchange.trace_or_continue(&request.headers);
        let (id, trace) = (exchange.get_request_id(), exchange.trace());
        // In the exchange's scope, so that the span carries it: see `steeple_log::ExchangeLayer`.
        let span = exchange.in_scope(|| {
            tracing::info_span!(
                target: "steeple::request",
                "request",
                request_id = id.map(steeple_core::RequestId::as_str),
                trace_id = trace.map(|trace| tracing::field::display(trace.trace_id())),
                span_id = trace.map(|trace| tracing::field::display(trace.span_id())),
            )
        });
        (!span.is_disabled()).then_some(span)
    }

    fn on_enter(&self, span: &mut Span, _exchange: &Exchange) {
        let _disabled = span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
    }

    fn on_exit(&self, span: &mut Span, _exchange: &Exchange) {
        let _disabled = span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
    }

    fn on_end(&self, _span: Span, _exchange: &Exchange, _end: &End) {}
}
