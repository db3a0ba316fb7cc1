//! Spans and log records pass the checks of `steeple-export`: full, hung, reset, limited, too large, panics, flushes, exact counts.
#![cfg(feature = "otlp")]

use std::{borrow::Cow, time::Duration};

use opentelemetry::{
    InstrumentationScope,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanLinks},
};
use steeple_export::{
    Endpoint,
    test_util::{Subject, check_all},
};
use steeple_scrub::Scrubber;
use tracing::Level;

use super::{Spans, Wire};
use crate::{
    Otlp,
    logs::{Record, Records},
    otlp::Signal,
    scrub::Bounds,
};

fn bounds() -> Bounds {
    Bounds { scrubber: Scrubber::default(), max_value: 4096, kept: None }
}

fn wire(endpoint: &Endpoint, signal: Signal) -> Wire {
    let otlp = Otlp::new().endpoint(endpoint.uri().to_string());
    Wire::new(&otlp, signal, &Resource::builder_empty().build(), &bounds()).unwrap()
}

struct OfSpans;

impl Subject for OfSpans {
    type Protocol = Spans;

    fn protocol(&self, endpoint: Endpoint) -> Spans {
        Spans { wire: wire(&endpoint, Signal::Traces), bounds: bounds() }
    }

    fn item(&self, number: usize) -> SpanData {
        let now = std::time::UNIX_EPOCH;
        let ids = (TraceId::from(1), SpanId::from(2));
        SpanData {
            span_context: SpanContext::new(ids.0, ids.1, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: Cow::Owned(format!("GET /{number:010}")),
            start_time: now,
            end_time: now,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }
}

struct OfRecords;

impl Subject for OfRecords {
    type Protocol = Records;

    fn protocol(&self, endpoint: Endpoint) -> Records {
        Records { wire: wire(&endpoint, Signal::Logs), bounds: bounds() }
    }

    fn item(&self, number: usize) -> Record {
        Record {
            at: Duration::from_secs(1),
            level: Level::INFO,
            target: Cow::Borrowed("shop"),
            body: format!("line {number:010}"),
            attributes: Vec::new(),
            ids: None,
        }
    }
}

#[test]
fn spans_pass_every_check() {
    check_all(OfSpans);
}

#[test]
fn log_records_pass_every_check() {
    check_all(OfRecords);
}
