use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt},
};
use steeple_core::{Exchange, TraceContext};

use crate::{
    Trace,
    ids::PresetGuard,
    propagation::{Carried, as_random, is_random, span_context, trace_context},
    segment::Tracing,
};

/// Which trace a call belongs to.
pub(super) enum Origin {
    /// Below this span. Whether the trace's id is random, the exchange knows and the span may not.
    Span(Context, Carried, bool),
    /// To an exchange without a span.
    Unrecorded(SpanContext, Carried),
    /// To nothing yet.
    New(bool, SpanContext),
}

impl Origin {
    pub(super) fn here(trace: &Trace) -> Self {
        let exchange = Exchange::current();
        if let Some(tracing) = exchange.as_ref().and_then(Exchange::get::<Tracing>) {
            let random = exchange.as_ref().and_then(Exchange::trace).is_some_and(TraceContext::has_random_id);
            return Self::Span(tracing.parent(), tracing.carried, random);
        }
        let current = Context::map_current(|current| {
            let span = current.span();
            span.span_context().is_valid().then(|| (current.clone(), span.is_recording()))
        });
        match (current, exchange.as_ref().and_then(Exchange::trace)) {
            (Some((context, true)), _) => Self::Span(context, Carried::default(), false),
            (_, Some(known)) => {
                let carried = exchange.as_ref().and_then(Exchange::get::<Carried>).unwrap_or_default();
                Self::Unrecorded(span_context(known, carried.trace_state()), carried)
            }
            (Some((context, false)), None) => {
                Self::Unrecorded(context.span().span_context().clone(), Carried::default())
            }
            (None, None) => {
                let (root, sampled) = trace.new_root();
                Self::New(sampled, span_context(&root, opentelemetry::trace::TraceState::default()))
            }
        }
    }

    pub(super) fn records(&self) -> bool {
        match self {
            Self::Span(context, ..) => context.span().is_recording(),
            Self::Unrecorded(..) => false,
            Self::New(sampled, _) => *sampled,
        }
    }

    pub(super) fn context(&self) -> Context {
        match self {
            Self::Span(context, ..) => context.clone(),
            Self::Unrecorded(..) | Self::New(..) => Context::new(),
        }
    }

    /// A new trace was decided on by its id: the span gets that one.
    pub(super) fn preset(&self, trace: &Trace) -> Option<PresetGuard> {
        match self {
            Self::New(_, context) => trace_context(context).map(|ids| trace.preset(ids)),
            Self::Span(..) | Self::Unrecorded(..) => None,
        }
    }

    pub(super) fn passed_on(&self) -> SpanContext {
        match self {
            Self::Span(context, ..) => context.span().span_context().clone(),
            Self::Unrecorded(context, _) | Self::New(_, context) => context.clone(),
        }
    }

    /// The flags that are sent: with the flag of level 2, if the trace has it.
    pub(super) fn sent(&self, own: &SpanContext) -> SpanContext {
        let random = match self {
            Self::Span(_, _, random) => *random,
            Self::Unrecorded(context, _) | Self::New(_, context) => is_random(context),
        };
        if random { as_random(own) } else { own.clone() }
    }

    /// What the exchange's caller wants passed on.
    pub(super) fn carried(&self) -> Carried {
        match self {
            Self::Span(_, carried, _) | Self::Unrecorded(_, carried) => carried.clone(),
            Self::New(..) => Carried::default(),
        }
    }
}
