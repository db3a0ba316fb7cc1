//! The self-check: what would keep spans from arriving, said once and loudly.

use std::{
    fmt,
    net::{TcpStream, ToSocketAddrs},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use opentelemetry::{
    Context,
    trace::{TraceContextExt, TraceState},
};
use steeple_core::TraceContext;
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};

use crate::{
    Trace,
    ids::Owner,
    propagation::span_context,
    span::{OpenSpan, server_span},
};

/// One thing that the self-check found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    problem: Problem,
    detail: String,
}

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing is exported: no exporter is configured.
    NoExporter,
    /// A receiver does not accept connections.
    Unreachable,
    /// The subscriber filters the span of exchanges away: the target `steeple_trace` at `info`.
    Filtered,
    /// No layer of `tracing-opentelemetry`, in a version that goes with this crate, is in the subscriber.
    NoLayer,
    /// The layer in the subscriber sends its spans elsewhere: it was made with another tracer, such as that of another
    /// [`Trace`] in this process. Spans of exchanges are made without it.
    OtherTracer,
    /// No trace context is read or passed on.
    NoPropagator,
    /// Every trace is thrown away.
    NothingSampled,
}

impl Finding {
    /// What kind of thing is wrong.
    pub fn problem(&self) -> Problem {
        self.problem
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.problem {
            Problem::NoExporter => "no exporter is configured: spans go nowhere",
            Problem::Unreachable => "a receiver cannot be reached",
            Problem::Filtered => {
                "the subscriber filters `steeple_trace=info` away: `tracing::Span::current()` is not the exchange's span"
            }
            Problem::NoLayer => {
                "the subscriber has no layer of tracing-opentelemetry 0.34: spans of `#[instrument]` are not exported; \
                 add `Trace::tracing_layer()`"
            }
            Problem::OtherTracer => {
                "the subscriber's OpenTelemetry layer has another tracer: spans of `#[instrument]` go there, those of \
                 exchanges come here; use `Trace::tracing_layer()` of this trace, or build with that tracer's provider"
            }
            Problem::NoPropagator => "no propagator is configured: each service has traces of its own",
            Problem::NothingSampled => "the sampling ratio is 0 and nothing is kept at the end: no trace is recorded",
        })?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// What the check looks at, and what exchanges have shown.
#[derive(Debug, Default)]
pub(crate) struct Doctor {
    /// Hosts and ports of the receivers of spans and log records, each once.
    receivers: Vec<String>,
    /// Whether somebody else exports.
    foreign: bool,
    checked: AtomicBool,
    other_tracer: AtomicBool,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

impl Doctor {
    pub(crate) fn new(spans: Option<String>, logs: Option<String>, foreign: bool) -> Self {
        let logs = logs.filter(|logs| spans.as_ref() != Some(logs));
        Self { receivers: spans.into_iter().chain(logs).collect(), foreign, ..Self::default() }
    }

    /// Hosts and ports of the receivers, each once.
    pub(crate) fn receivers(&self) -> &[String] {
        &self.receivers
    }

    /// A span of an exchange has started.
    pub(crate) fn saw(&self, span: &OpenSpan, has_our_ids: bool) {
        if span.is_mirrored() && !has_our_ids && !self.foreign {
            self.other_tracer.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the subscriber's OpenTelemetry layer is ours, as far as is known: else its spans would go elsewhere.
    pub(crate) fn may_mirror(&self) -> bool {
        !self.other_tracer.load(Ordering::Relaxed)
    }

    /// At the first exchange: checks, and logs what is wrong. Costs later ones a load.
    #[inline]
    pub(crate) fn check_once(&self, trace: &Trace) {
        if !self.checked.load(Ordering::Relaxed) && !self.checked.swap(true, Ordering::Relaxed) {
            self.check(trace);
        }
    }

    #[cold]
    fn check(&self, trace: &Trace) {
        // Where it is off, that is no mistake.
        if trace.exports() || self.foreign {
            log(self.look_around(trace));
        }
        // A receiver is tried on a thread of its own, because that may take long.
        for receiver in self.receivers.clone() {
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            let report = move || {
                let finding = unreachable(&receiver);
                tracing::dispatcher::with_default(&dispatch, || log(finding));
            };
            if let Err(error) = thread::Builder::new().name("steeple-doctor".to_owned()).spawn(report) {
                tracing::error!(target: "steeple_trace", %error, "tracing: could not start a thread to check the receiver");
            }
        }
    }

    pub(crate) fn examine(&self, trace: &Trace) -> Vec<Finding> {
        self.checked.store(true, Ordering::Relaxed);
        let mut findings = self.look_around(trace);
        findings.extend(self.receivers.iter().filter_map(|receiver| unreachable(receiver)));
        findings
    }

    fn look_around(&self, trace: &Trace) -> Vec<Finding> {
        let mut problems = Vec::new();
        if !trace.exports() && !self.foreign {
            problems.push(Problem::NoExporter);
        }
        if !trace.propagates() {
            problems.push(Problem::NoPropagator);
        }
        // What goes nowhere is not sampled either: that was nobody's choice.
        if (trace.exports() || self.foreign) && trace.records_nothing() {
            problems.push(Problem::NothingSampled);
        }
        if trace.exports() || self.foreign {
            problems.extend(subscriber_problem());
        }
        if trace.exports() && has_other_tracer(trace.owner()) {
            self.other_tracer.store(true, Ordering::Relaxed);
        }
        if self.other_tracer.load(Ordering::Relaxed) {
            problems.push(Problem::OtherTracer);
        }
        problems.into_iter().map(|problem| Finding { problem, detail: String::new() }).collect()
    }
}

fn log(findings: impl IntoIterator<Item = Finding>) {
    for finding in findings {
        tracing::error!(target: "steeple_trace", problem = ?finding.problem, "tracing: {finding}");
    }
}

/// Tries the callsite of server spans, below a parent that is not sampled: nothing comes of it.
fn subscriber_problem() -> Option<Problem> {
    let span = server_span("doctor");
    let parent =
        Context::new().with_remote_span_context(span_context(&TraceContext::new_root(), TraceState::default()));
    match span.set_parent(parent) {
        Ok(()) | Err(SetParentError::AlreadyStarted) => None,
        Err(SetParentError::SpanDisabled) => Some(Problem::Filtered),
        Err(SetParentError::LayerNotFound) => Some(Problem::NoLayer),
    }
}

/// Whether a span that was told its id gets another: then it does not come from our provider.
fn has_other_tracer(owner: Owner) -> bool {
    let span = server_span("doctor");
    let trace = TraceContext::new_root();
    let parent =
        Context::new().with_remote_span_context(span_context(&TraceContext::new_root(), TraceState::default()));
    if span.set_parent(parent).is_err() {
        return false;
    }
    let _preset = crate::ids::PresetGuard::set_dropped(owner, trace);
    span.context().span().span_context().span_id().to_bytes() != trace.span_id().to_bytes()
}

fn unreachable(receiver: &str) -> Option<Finding> {
    let found =
        |error: std::io::Error| Finding { problem: Problem::Unreachable, detail: format!("{receiver}: {error}") };
    let mut last = None;
    match receiver.to_socket_addrs() {
        Ok(addresses) => {
            for address in addresses {
                match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                    Ok(_) => return None,
                    Err(error) => last = Some(error),
                }
            }
            let none = || std::io::Error::other("the name has no address");
            Some(found(last.unwrap_or_else(none)))
        }
        Err(error) => Some(found(error)),
    }
}
