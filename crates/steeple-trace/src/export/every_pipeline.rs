//! Spans and log records pass the checks of `steeple-export`: full, hung, reset, limited, too large, panics, flushes, exact counts.
#![cfg(feature = "otlp")]

use std::{borrow::Cow, sync::Arc, time::Duration};

use opentelemetry::{
    InstrumentationScope,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanEvents, SpanExporter, SpanLinks},
};
use steeple_export::{
    Endpoint,
    test_util::{ExporterSubject, Script, Subject, Turn, check_all, check_exporter},
};
use steeple_scrub::Scrubber;
use tracing::Level;

use super::{OfSdk, Spans, Wire};
use crate::{
    Otlp,
    logs::{Record, Records},
    otlp::Signal,
    scrub::Bounds,
};

fn bounds() -> Bounds {
    Bounds { scrubber: Scrubber::default(), max_value: 4096, max_attributes: 128, kept: None }
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
        span(number)
    }
}

fn span(number: usize) -> SpanData {
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

/// An exporter of the SDK's kind, as an application hands one over.
#[derive(Debug)]
struct Theirs(Arc<Script>);

impl SpanExporter for Theirs {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        match self.0.next() {
            Turn::Holds => self.0.wait(),
            Turn::Hangs => std::future::pending().await,
            Turn::Refuses => return Err(OTelSdkError::InternalFailure("refused".to_owned())),
            Turn::Accepts | Turn::Breaks | Turn::Defers | Turn::Forbids | _ => (),
        }
        Ok(())
    }
}

struct ToTheirs;

impl ExporterSubject for ToTheirs {
    type Exporter = OfSdk<Theirs>;
    type Receiver = Arc<Script>;
    // What may be retried, such an exporter retries itself.
    const TURNS: &'static [Turn] = &[Turn::Accepts, Turn::Holds, Turn::Hangs, Turn::Refuses];
    const BLOCKS: bool = true;

    fn receiver(&self, turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> Arc<Script> {
        Arc::new(Script::new(turn))
    }

    fn exporter(&self, receiver: &Arc<Script>) -> OfSdk<Theirs> {
        OfSdk::new(Theirs(Arc::clone(receiver)), &Resource::builder_empty().build(), bounds())
    }

    fn item(&self, number: usize) -> SpanData {
        span(number)
    }
}

#[test]
fn spans_to_an_exporter_of_the_sdk_pass_every_check() {
    check_exporter(ToTheirs);
}
