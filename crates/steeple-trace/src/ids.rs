//! Gives the SDK the ids that an exchange already has, so that log lines and spans agree.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SamplingDecision};
use steeple_core::{Exchange, TraceContext};

thread_local! {
    static PRESET: Cell<Option<Preset>> = const { Cell::new(None) };
}

/// Tells the provider of one [`Trace`](crate::Trace) from those of others in this process: a subscriber has the layer of
/// one of them only, and takes every span there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(usize);

impl Owner {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Clone, Copy)]
struct Preset {
    owner: Owner,
    trace: TraceContext,
    decision: Decision,
}

#[derive(Clone, Copy)]
enum Decision {
    Drop,
    RecordOnly,
    RecordAndSample,
}

/// While this lives, the next span on this thread gets these ids and this decision.
pub(crate) struct PresetGuard(());

impl PresetGuard {
    /// Recorded: for good if it is sampled, else until its end.
    pub(crate) fn set(owner: Owner, trace: TraceContext) -> Self {
        let decision = if trace.is_sampled() { Decision::RecordAndSample } else { Decision::RecordOnly };
        Self::set_to(owner, trace, decision)
    }

    /// Not recorded.
    pub(crate) fn set_dropped(owner: Owner, trace: TraceContext) -> Self {
        Self::set_to(owner, trace, Decision::Drop)
    }

    fn set_to(owner: Owner, trace: TraceContext, decision: Decision) -> Self {
        // Fails on a thread that is ending: then the ids are random and the exchange takes them over.
        let _ending = PRESET.try_with(|preset| preset.set(Some(Preset { owner, trace, decision })));
        Self(())
    }
}

impl Drop for PresetGuard {
    fn drop(&mut self) {
        let _ending = PRESET.try_with(|preset| preset.set(None));
    }
}

fn preset(owner: Owner) -> Option<Preset> {
    PRESET.try_with(Cell::get).ok().flatten().filter(|preset| preset.owner == owner)
}

pub(crate) fn preset_decision(owner: Owner) -> Option<SamplingDecision> {
    preset(owner).map(|preset| match preset.decision {
        Decision::Drop => SamplingDecision::Drop,
        Decision::RecordOnly => SamplingDecision::RecordOnly,
        Decision::RecordAndSample => SamplingDecision::RecordAndSample,
    })
}

/// The trace of the exchange that is being polled on this thread.
pub(crate) fn current_trace() -> Option<TraceContext> {
    Exchange::current().and_then(|exchange| exchange.trace().copied())
}

/// Random ids, except for the spans of exchanges.
#[derive(Debug)]
pub(crate) struct ExchangeIds {
    owner: Owner,
    random: RandomIdGenerator,
}

impl ExchangeIds {
    pub(crate) fn new(owner: Owner) -> Self {
        Self { owner, random: RandomIdGenerator::default() }
    }
}

impl IdGenerator for ExchangeIds {
    fn new_trace_id(&self) -> TraceId {
        let known = preset(self.owner).map(|preset| preset.trace).or_else(current_trace);
        known.map_or_else(|| self.random.new_trace_id(), |trace| TraceId::from_bytes(trace.trace_id().to_bytes()))
    }

    fn new_span_id(&self) -> SpanId {
        preset(self.owner)
            .map_or_else(|| self.random.new_span_id(), |preset| SpanId::from_bytes(preset.trace.span_id().to_bytes()))
    }
}
