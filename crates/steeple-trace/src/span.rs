//! The server span underneath an exchange.
//!
//! By preference it is a `tracing` span that `tracing-opentelemetry` mirrors: then `tracing::Span::current()` and
//! OpenTelemetry's `Context::current()` both are the exchange's span in the handler, and log events belong to it.
//! Where the subscriber has no such layer, or filters the span away, it is a span of the SDK alone: it is exported all
//! the same, and `Context::current()` is it. So it is where the layer has another tracer than ours: that of a second
//! `Trace` in the same process, or the application's own.

use std::{cell::RefCell, time::SystemTime};

use opentelemetry::{
    Context, ContextGuard, KeyValue,
    trace::{Link, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{
    attributes::Attributes,
    ending::Ending,
    export::{HandedOver, VERDICT},
    recorded::Tracer,
};

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
    /// Whether it ends in our processor.
    is_ours: bool,
}

/// What a span starts with.
pub(crate) struct Start<'t> {
    pub(crate) parent: Context,
    pub(crate) link: Option<SpanContext>,
    pub(crate) kind: SpanKind,
    pub(crate) name: &'static str,
    pub(crate) attributes: Attributes,
    pub(crate) tracer: &'t Tracer,
    /// The span as `tracing` has it, if it does: [`mirror`].
    pub(crate) mirror: Option<Span>,
    /// Whether the tracer's spans end in our processor.
    pub(crate) exports: bool,
}

impl OpenSpan {
    pub(crate) fn start(start: Start<'_>) -> Self {
        if let Some(mirror) = start.mirror {
            return Self::mirrored(start.attributes, start.link, mirror);
        }
        let mut builder =
            start.tracer.span_builder(start.name).with_kind(start.kind).with_attributes(start.attributes.into_vec());
        if let Some(link) = start.link {
            builder = builder.with_links(vec![Link::with_context(link)]);
        }
        let span = builder.start_with_context(start.tracer, &start.parent);
        Self { context: start.parent.with_span(span), mirror: None, is_ours: start.exports }
    }

    fn mirrored(attributes: Attributes, link: Option<SpanContext>, span: Span) -> Self {
        for attribute in attributes.into_vec() {
            span.set_attribute(attribute.key, attribute.value);
        }
        if let Some(link) = link {
            span.add_link(link);
        }
        // The span of the SDK comes into being here.
        let context = span.context();
        // Its layer may turn out to be someone else's.
        Self { context, mirror: Some(span), is_ours: false }
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

    pub(crate) fn describe(&self, attributes: Attributes) {
        self.context.span().set_attributes(attributes.into_vec());
    }

    /// Ends the span, at a time or now, with the exceptions that were noticed.
    pub(crate) fn end(&self, ending: Ending, exceptions: Vec<Attributes>, at: Option<SystemTime>) {
        let span = self.context.span();
        for exception in exceptions {
            span.add_event("exception", exception.into_vec());
        }
        let handed = if self.is_ours {
            Some(HandedOver::new(span.span_context(), ending))
        } else {
            span.update_name(ending.name.into_inner());
            span.set_attributes(ending.attributes.into_vec());
            if let Some(verdict) = ending.verdict {
                span.set_attribute(KeyValue::new(VERDICT, verdict));
            }
            span.set_status(ending.failure.map_or(Status::Unset, |failure| Status::error(failure.into_inner())));
            None
        };
        match at {
            Some(at) => span.end_with_timestamp(at),
            None => span.end(),
        }
        drop(handed);
    }

    /// Whether `tracing` knows this span.
    pub(crate) fn is_mirrored(&self) -> bool {
        self.mirror.is_some()
    }
}

/// The span as `tracing` makes it, if its OpenTelemetry layer takes part. Not asked for where that layer is someone else's, who
/// would export it.
pub(crate) fn mirror(kind: &SpanKind, name: &'static str, parent: &Context) -> Option<Span> {
    let span = match kind {
        SpanKind::Consumer => job_span("consumer"),
        SpanKind::Internal => job_span("internal"),
        SpanKind::Server | SpanKind::Client | SpanKind::Producer => server_span(name),
    };
    let mirrors = !span.is_disabled() && span.set_parent(parent.clone()).is_ok();
    mirrors.then_some(span)
}

/// The one callsite of server spans: `steeple_trace` at `info`.
pub(crate) fn server_span(name: &'static str) -> Span {
    tracing::info_span!(target: "steeple_trace", "request", otel.kind = "server", otel.name = name)
}

/// The one callsite of the spans of jobs.
fn job_span(kind: &'static str) -> Span {
    tracing::info_span!(target: "steeple_trace", "job", otel.kind = kind)
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
