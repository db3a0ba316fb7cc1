//! A `tracing` span around each exchange, for subscribers that are not Steeple's.

use http::request;
use steeple_core::{End, Exchange, Observer};
use tracing::Span;

/// Opens a span whose fields any formatter shows on the lines within it.
#[derive(Clone, Copy, Debug)]
#[expect(unnameable_types, reason = "part of the state of an opaque observer")]
pub struct RequestSpans;

/// The span, from the first time on that the service is polled.
#[derive(Debug, Default)]
#[expect(unnameable_types, reason = "part of the state of an opaque observer")]
pub struct RequestSpan(Option<Span>);

impl Observer for RequestSpans {
    type State = RequestSpan;

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<RequestSpan> {
        exchange.trace_or_continue(&request.headers);
        Some(RequestSpan::default())
    }

    fn on_enter(&self, RequestSpan(span): &mut RequestSpan, exchange: &Exchange) {
        // Here and not before, and in the exchange's scope: the span carries what the observers before this one have bound to the
        // thread, see `steeple_log::ExchangeLayer`.
        let span = span.get_or_insert_with(|| exchange.in_scope(|| open(exchange)));
        let _disabled = span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
    }

    fn on_exit(&self, RequestSpan(span): &mut RequestSpan, _exchange: &Exchange) {
        if let Some(span) = span {
            let _disabled = span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
        }
    }

    fn on_end(&self, _span: RequestSpan, _exchange: &Exchange, _end: &End) {}
}

fn open(exchange: &Exchange) -> Span {
    let (id, trace) = (exchange.get_request_id(), exchange.trace());
    tracing::info_span!(
        target: "steeple::request",
        "request",
        request_id = id.map(steeple_core::RequestId::as_str),
        trace_id = trace.map(|trace| tracing::field::display(trace.trace_id())),
        span_id = trace.map(|trace| tracing::field::display(trace.span_id())),
    )
}
