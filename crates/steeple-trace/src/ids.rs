//! Gives the SDK the ids that an exchange already has, so that log lines and spans agree.

use std::cell::Cell;

use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SamplingDecision};
use steeple_core::{Exchange, TraceContext};

thread_local! {
    static PRESET: Cell<Option<Preset>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Preset {
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
    pub(crate) fn set(trace: TraceContext) -> Self {
        let decision = if trace.is_sampled() { Decision::RecordAndSample } else { Decision::RecordOnly };
        Self::set_to(trace, decision)
    }

    /// Not recorded.
    pub(crate) fn set_dropped(trace: TraceContext) -> Self {
        Self::set_to(trace, Decision::Drop)
    }

    fn set_to(trace: TraceContext, decision: Decision) -> Self {
        // Fails on a thread that is ending: then the ids are random and the exchange takes them over.
        let _ending = PRESET.try_with(|preset| preset.set(Some(Preset { trace, decision })));
        Self(())
    }
}

impl Drop for PresetGuard {
    fn drop(&mut self) {
        let _ending = PRESET.try_with(|preset| preset.set(None));
    }
}

fn preset() -> Option<Preset> {
    PRESET.try_with(Cell::get).ok().flatten()
}

pub(crate) fn preset_decision() -> Option<SamplingDecision> {
    preset().map(|preset| match preset.decision {
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
#[derive(Debug, Default)]
pub(crate) struct ExchangeIds(RandomIdGenerator);

impl IdGenerator for ExchangeIds {
    fn new_trace_id(&self) -> TraceId {
        let known = preset().map(|preset| preset.trace).or_else(current_trace);
        known.map_or_else(|| self.0.new_trace_id(), |trace| TraceId::from_bytes(trace.trace_id().to_bytes()))
    }

    fn new_span_id(&self) -> SpanId {
        preset().map_or_else(|| self.0.new_span_id(), |preset| SpanId::from_bytes(preset.trace.span_id().to_bytes()))
    }
}
