//! The server span underneath an exchange.
//!
//! By preference it is a `tracing` span that `tracing-opentelemetry` mirrors: then `tracing::Span::current()` and
//! OpenTelemetry's `Context::current()` both are the exchange's span in the handler, and log events belong to it.
//! Where the subscriber has no such layer, or filters the span away, it is a span of the SDK alone: it is exported all
//! the same, and `Context::current()` is it.

use std::cell::RefCell;

use opentelemetry::{
    Context, ContextGuard, KeyValue,
    trace::{Link, SpanContext, SpanKind, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

thread_local! {
    /// What [`enter`] attached on this thread. A guard cannot travel with the exchange: it belongs to its thread.
    static ATTACHED: RefCell<Vec<ContextGuard>> = const { RefCell::new(Vec::new()) };
}

/// A span that is open, and entered whenever its exchange is polled.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    /// With the span in it.
    pub(crate) context: Context,
    /// `None`: a span of the SDK alone.
    mirror: Option<Span>,
}

/// What a span starts with.
pub(crate) struct Start<'t> {
    pub(crate) parent: Context,
    pub(crate) link: Option<SpanContext>,
    pub(crate) name: &'static str,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) tracer: &'t SdkTracer,
}

impl OpenSpan {
    pub(crate) fn start(start: Start<'_>) -> Self {
        if let Some(mirror) = mirror(&start) {
            return Self::mirrored(start, mirror);
        }
        let mut builder =
            start.tracer.span_builder(start.name).with_kind(SpanKind::Server).with_attributes(start.attributes);
        if let Some(link) = start.link {
            builder = builder.with_links(vec![Link::with_context(link)]);
        }
        let span = builder.start_with_context(start.tracer, &start.parent);
        Self { context: start.parent.with_span(span), mirror: None }
    }

    fn mirrored(start: Start<'_>, span: Span) -> Self {
        for attribute in start.attributes {
            span.set_attribute(attribute.key, attribute.value);
        }
        if let Some(link) = start.link {
            span.add_link(link);
        }
        // The span of the SDK comes into being here.
        let context = span.context();
        Self { context, mirror: Some(span) }
    }

    /// Makes the span the current one on this thread, until [`exit`](Self::exit).
    pub(crate) fn enter(&self) {
        match &self.mirror {
            Some(mirror) => {
                let _disabled = mirror.with_subscriber(|(id, subscriber)| subscriber.enter(id));
            }
            None => attach(&self.context),
        }
    }

    pub(crate) fn exit(&self) {
        match &self.mirror {
            Some(mirror) => {
                let _disabled = mirror.with_subscriber(|(id, subscriber)| subscriber.exit(id));
            }
            None => detach(),
        }
    }

    /// Whether `tracing` knows this span.
    pub(crate) fn is_mirrored(&self) -> bool {
        self.mirror.is_some()
    }
}

/// The span as `tracing` makes it, if its OpenTelemetry layer takes part.
fn mirror(start: &Start<'_>) -> Option<Span> {
    let span = server_span(start.name);
    let mirrors = !span.is_disabled() && span.set_parent(start.parent.clone()).is_ok();
    mirrors.then_some(span)
}

/// The one callsite of server spans: `steeple_trace` at `info`.
pub(crate) fn server_span(name: &'static str) -> Span {
    tracing::info_span!(target: "steeple_trace", "request", otel.kind = "server", otel.name = name)
}

pub(crate) fn attach(context: &Context) {
    let guard = context.clone().attach();
    let _ending = ATTACHED.try_with(|attached| {
        if let Ok(mut attached) = attached.try_borrow_mut() {
            attached.push(guard);
        }
    });
}

pub(crate) fn detach() {
    let guard = ATTACHED.try_with(|attached| attached.try_borrow_mut().ok()?.pop()).ok().flatten();
    drop(guard);
}
