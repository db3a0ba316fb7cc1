#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attributes;
mod builder;
pub mod client;
mod diagnose;
mod ending;
mod env;
mod error;
mod export;
mod ids;
mod jobs;
mod kept;
#[cfg(feature = "otlp")]
mod logs;
mod newrelic;
mod observer;
mod opentelemetry;
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "without the feature nothing is sent"))]
mod otlp;
mod pass_through;
mod propagation;
mod recorded;
mod resource;
mod response_header;
mod sampling;
mod scrub;
mod segment;
mod size;
mod span;
mod tail;
mod trust;

use std::sync::Arc;

pub use steeple_core::call::UrlTemplate;
#[cfg(feature = "otlp")]
#[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
pub use steeple_export::{ClientBuilder, ProxyOptions};
pub use steeple_export::{DropReason, FlushReport, Retry, Sink, Stats};

#[cfg(feature = "otlp")]
#[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
pub use self::logs::LogsLayer;
pub use self::{
    builder::TraceBuilder,
    client::{ClientLayer, ClientSpans},
    diagnose::{Diagnostic, DiagnosticKind},
    error::BuildError,
    export::{LogStats, TraceStats},
    jobs::{JobSpans, JobState},
    kept::{KeptSpan, KeptTraces},
    newrelic::NewRelic,
    observer::State,
    otlp::{Otlp, Protocol},
    pass_through::PassThrough,
    propagation::Propagators,
    response_header::ResponseHeader,
    sampling::Sampling,
    segment::{Judge, OfAny, OfResult, Segment, SegmentKind, Segments},
    tail::TailSampling,
    trust::Trust,
};

/// Traces every exchange. A cheap clone; see the [crate's docs](crate).
///
/// In a tuple of observers it goes first: the ones after it find the trace's ids on the exchange. Only what leaves
/// exchanges out of traces ([`Exchange::skip`](steeple_core::Exchange::skip)) by their request head goes before it: once
/// a span is there, skipping affects held exchanges alone (see [`TailSampling`]).
#[derive(Clone)]
pub struct Trace(Arc<observer::Inner>);
