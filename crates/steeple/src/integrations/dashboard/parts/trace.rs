//! The spans of traces that are kept.

use std::time::Duration;

use steeple_dashboard::{DashboardBuilder, SpanRecord, TraceSource};
use steeple_trace::{KeptTraces, Trace};

use crate::Steeple;

struct Traces(KeptTraces);

impl TraceSource for Traces {
    fn has(&self, trace_id: &str) -> bool {
        self.0.has(trace_id)
    }

    fn spans(&self, trace_id: &str) -> Vec<SpanRecord> {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let spans = self.0.spans(trace_id).into_iter().map(|span| SpanRecord {
            id: span.id,
            parent: span.parent,
            name: span.name,
            kind: span.kind,
            start_us: micros(span.start),
            micros: micros(span.duration),
            failed: span.failed,
            attributes: span.attributes,
        });
        spans.collect()
    }
}

pub(super) fn add(steeple: &Steeple, options: DashboardBuilder) -> DashboardBuilder {
    match steeple.traces().and_then(Trace::kept_traces) {
        Some(kept) => {
            kept.begin();
            options.traces(Traces(kept.clone()))
        }
        None => options,
    }
}
