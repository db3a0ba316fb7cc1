//! Spans of work that is not a request.

use std::time::UNIX_EPOCH;

use http::request;
use opentelemetry::{
    Context,
    trace::{SpanKind, TraceContextExt, TraceState},
};
use steeple_core::{End, Exchange, Identity, JobKind, MessagingSystem, Observer, Signal, TraceContext, clock};
use steeple_scrub::Scrubber;

use crate::{
    Trace,
    attributes::{self, Attributes, key},
    propagation::{self, Carried},
    segment::Tracing,
    span::{self, OpenSpan, Start},
    tail::Slot,
};

/// Traces jobs: [`Trace::jobs`].
///
/// - A job's span is `INTERNAL`, a consumer's `CONSUMER` with the name `process {name}`.
/// - A job that another span is open around is its child; all others begin a trace. The trace of a message's headers becomes a
///   link, as the conventions for messaging have it.
#[derive(Clone, Debug)]
pub struct JobSpans(Trace);

impl Trace {
    /// The observer that makes the spans of jobs, by the same sampling.
    pub fn jobs(&self) -> JobSpans {
        JobSpans(self.clone())
    }
}

/// The open span of a job.
#[derive(Debug)]
pub struct JobState {
    span: OpenSpan,
    slot: Option<Slot>,
    started: std::time::Duration,
}

impl Observer for JobSpans {
    type State = JobState;

    fn identity(&self) -> Option<Identity> {
        self.0.identity()
    }

    fn on_request(&self, exchange: &Exchange, head: &mut request::Parts) -> Option<JobState> {
        let inner = self.0.inner();
        inner.diagnosis.check_once(&self.0);
        let kind = exchange.get::<JobKind>().unwrap_or(JobKind::Job);
        let around = Context::map_current(|context| {
            let span = context.span().span_context().clone();
            span.is_valid().then(|| (context.clone(), span))
        });
        let incoming = inner.propagators.read(&head.headers).context;
        let link = incoming
            .and_then(|context| propagation::remote_parent(&context, context.is_sampled(), TraceState::default()));
        let (parent, trace) = if let Some((context, span)) = around.filter(|_| kind == JobKind::Job) {
            let ids = (span.trace_id().to_bytes(), span.span_id().to_bytes());
            let trace = TraceContext::child_of(ids.0, ids.1, span.is_sampled());
            (context, trace.unwrap_or_else(TraceContext::new_root))
        } else {
            let trace = TraceContext::new_root();
            let sampled = inner.sampling.decide(None, trace.trace_id().to_bytes(), inner.ratio_of(exchange));
            (Context::new(), trace.with_sampled(sampled))
        };
        let wanted = trace.is_sampled() || inner.hold.is_some();
        if !wanted || exchange.is_skipped(Signal::Traces) {
            exchange.set_trace(trace.with_sampled(false));
            return None;
        }
        let hold = inner.hold.as_ref().filter(|_| !trace.is_sampled());
        let slot = hold.map(|hold| hold.begin(exchange, trace.span_id()));
        let parent = match slot {
            Some(slot) => parent.with_value(slot),
            None => parent,
        };
        let preset = self.0.preset(trace);
        let attributes = at_start(exchange, kind, &inner.scrubber);
        let kind = if kind == JobKind::Consumer { SpanKind::Consumer } else { SpanKind::Internal };
        let name = "job";
        let mirror = if inner.diagnosis.may_mirror() { span::mirror(&kind, name, &parent) } else { None };
        let (tracer, exports) = (&inner.tracer, self.0.exports());
        let span = OpenSpan::start(Start { parent, link, kind, name, attributes, tracer, mirror, exports });
        drop(preset);
        // The ids of a provider that is not ours are its own.
        let trace = propagation::trace_context(span.context.span().span_context()).unwrap_or(trace);
        exchange.set_trace(trace);
        exchange.insert(Tracing::new(self.0.clone(), span.context.clone(), Carried::default()));
        Some(JobState { span, slot, started: clock::unix_now() })
    }

    fn on_enter(&self, state: &mut JobState, _exchange: &Exchange) {
        state.span.enter();
    }

    fn on_exit(&self, state: &mut JobState, _exchange: &Exchange) {
        state.span.exit();
    }

    fn on_end(&self, JobState { span, slot, started }: JobState, exchange: &Exchange, end: &End) {
        let inner = self.0.inner();
        let mut ending = attributes::of_work(exchange, end, &inner.scrubber);
        if exchange.get::<JobKind>() == Some(JobKind::Consumer) {
            ending.name = inner.scrubber.text(&format!("process {}", &**ending.name)).into_owned().into();
        }
        if ending.failure.is_none() && self.0.exports() {
            ending.verdict = Some(true);
        }
        let ended = UNIX_EPOCH.checked_add(started.saturating_add(end.duration));
        span.end(ending, attributes::exceptions(exchange, &inner.scrubber), ended);
        if let (Some(hold), Some(slot)) = (&inner.hold, slot) {
            hold.end(slot, exchange, end);
        }
    }
}

/// The facts about a message when its span starts.
fn at_start(exchange: &Exchange, kind: JobKind, scrubber: &Scrubber) -> Attributes {
    let mut attributes = Attributes::default();
    if kind == JobKind::Consumer {
        attributes.word(key::MESSAGING_OPERATION_NAME, "process");
        attributes.word(key::MESSAGING_OPERATION_TYPE, "process");
        if let Some(MessagingSystem(system)) = exchange.get() {
            attributes.word(key::MESSAGING_SYSTEM, system);
        }
        let name = exchange.name();
        attributes.text(key::MESSAGING_DESTINATION, scrubber.text(name.target()));
    }
    attributes
}
