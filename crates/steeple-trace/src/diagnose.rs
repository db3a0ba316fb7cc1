//! What would keep spans from arriving: found at the first exchange and logged once.

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

/// One thing that would keep spans from arriving. Found by [`Trace::diagnose`].
#[doc(alias = "doctor")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    kind: DiagnosticKind,
    detail: String,
}

/// A finding, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiagnosticKind {
    /// Nothing is exported: no exporter is configured.
    NoExporter,
    /// A receiver does not accept connections.
    Unreachable,
    /// The subscriber filters out the span of exchanges: the target `steeple_trace` at `info`.
    Filtered,
    /// No layer of `tracing-opentelemetry`, in a version that goes with this crate, is in the subscriber.
    NoLayer,
    /// The layer in the subscriber sends its spans elsewhere: it was made with another tracer, such as that of another
    /// [`Trace`] in this process. Spans of exchanges are made without it.
    OtherTracer,
    /// No trace context is read or passed on.
    NoPropagator,
    /// The sampling ratio is 0 and tail sampling is off: no trace is recorded.
    NothingSampled,
}

impl Diagnostic {
    /// The kind of the finding.
    pub fn kind(&self) -> DiagnosticKind {
        self.kind
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            DiagnosticKind::NoExporter => "no exporter is configured: no span is sent",
            DiagnosticKind::Unreachable => "could not reach a receiver",
            DiagnosticKind::Filtered => {
                "the subscriber filters out `steeple_trace=info`: `tracing::Span::current()` is not the exchange's span"
            }
            DiagnosticKind::NoLayer => {
                "the subscriber has no layer of tracing-opentelemetry 0.34: spans of `#[instrument]` are not exported; \
                 add `Trace::tracing_layer()`"
            }
            DiagnosticKind::OtherTracer => {
                "the subscriber's OpenTelemetry layer has another tracer: spans of `#[instrument]` go there, those of \
                 exchanges come here; use `Trace::tracing_layer()` of this trace, or build with that tracer's provider"
            }
            DiagnosticKind::NoPropagator => "no propagator is configured: traces end at each service",
            DiagnosticKind::NothingSampled => "the sampling ratio is 0 and tail sampling is off: no trace is recorded",
        })?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// What the check looks at, and what exchanges have shown.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    /// Hosts and ports of the receivers of spans and log records, each once.
    receivers: Vec<String>,
    /// How long a receiver may take to accept a connection.
    timeout: Duration,
    /// Whether someone else exports.
    foreign: bool,
    checked: AtomicBool,
    other_tracer: AtomicBool,
}

impl Diagnosis {
    pub(crate) fn new(spans: Option<String>, logs: Option<String>, foreign: bool, timeout: Duration) -> Self {
        let logs = logs.filter(|logs| spans.as_ref() != Some(logs));
        Self { receivers: spans.into_iter().chain(logs).collect(), foreign, timeout, ..Self::default() }
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

    /// At the first exchange: checks, and logs problems. Costs later ones a load.
    #[inline]
    pub(crate) fn check_once(&self, trace: &Trace) {
        if !self.checked.load(Ordering::Relaxed) && !self.checked.swap(true, Ordering::Relaxed) {
            self.check(trace);
        }
    }

    #[cold]
    fn check(&self, trace: &Trace) {
        // Where it is off, that is intended.
        if trace.exports() || self.foreign {
            log(self.look_around(trace));
        }
        // A receiver is tried on its own thread, because that may take long.
        for receiver in self.receivers.clone() {
            let dispatch = tracing::dispatcher::get_default(Clone::clone);
            let timeout = self.timeout;
            let report = move || {
                let finding = unreachable(&receiver, timeout);
                tracing::dispatcher::with_default(&dispatch, || log(finding));
            };
            if let Err(error) = thread::Builder::new().name("steeple-diagnose".to_owned()).spawn(report) {
                tracing::error!(target: "steeple_trace", %error, "tracing: could not start a thread to check the receiver");
            }
        }
    }

    pub(crate) fn examine(&self, trace: &Trace) -> Vec<Diagnostic> {
        self.checked.store(true, Ordering::Relaxed);
        let mut findings = self.look_around(trace);
        findings.extend(self.receivers.iter().filter_map(|receiver| unreachable(receiver, self.timeout)));
        findings
    }

    fn look_around(&self, trace: &Trace) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        if !trace.exports() && !self.foreign {
            problems.push(DiagnosticKind::NoExporter);
        }
        if !trace.propagates() {
            problems.push(DiagnosticKind::NoPropagator);
        }
        // Without an exporter nothing is sampled either, and that was not chosen.
        if (trace.exports() || self.foreign) && trace.records_nothing() {
            problems.push(DiagnosticKind::NothingSampled);
        }
        if trace.exports() || self.foreign {
            problems.extend(subscriber_problem());
        }
        if trace.exports() && has_other_tracer(trace.owner()) {
            self.other_tracer.store(true, Ordering::Relaxed);
        }
        if self.other_tracer.load(Ordering::Relaxed) {
            problems.push(DiagnosticKind::OtherTracer);
        }
        problems.into_iter().map(|kind| Diagnostic { kind, detail: String::new() }).collect()
    }
}

fn log(findings: impl IntoIterator<Item = Diagnostic>) {
    for finding in findings {
        tracing::error!(target: "steeple_trace", problem = ?finding.kind, "tracing: {finding}");
    }
}

/// Tries the callsite of server spans, below a parent that is not sampled: nothing comes of it.
fn subscriber_problem() -> Option<DiagnosticKind> {
    let span = server_span("diagnose");
    let parent =
        Context::new().with_remote_span_context(span_context(&TraceContext::new_root(), TraceState::default()));
    match span.set_parent(parent) {
        Ok(()) | Err(SetParentError::AlreadyStarted) => None,
        Err(SetParentError::SpanDisabled) => Some(DiagnosticKind::Filtered),
        Err(SetParentError::LayerNotFound) => Some(DiagnosticKind::NoLayer),
    }
}

/// Whether a span gets another id than the one that was set: then it does not come from our provider.
fn has_other_tracer(owner: Owner) -> bool {
    let span = server_span("diagnose");
    let trace = TraceContext::new_root();
    let parent =
        Context::new().with_remote_span_context(span_context(&TraceContext::new_root(), TraceState::default()));
    if span.set_parent(parent).is_err() {
        return false;
    }
    let _preset = crate::ids::PresetGuard::set_dropped(owner, trace);
    span.context().span().span_context().span_id().to_bytes() != trace.span_id().to_bytes()
}

fn unreachable(receiver: &str, timeout: Duration) -> Option<Diagnostic> {
    let found = |error: std::io::Error| Diagnostic {
        kind: DiagnosticKind::Unreachable,
        detail: format!("{receiver}: {error}"),
    };
    let mut last = None;
    match receiver.to_socket_addrs() {
        Ok(addresses) => {
            for address in addresses {
                match TcpStream::connect_timeout(&address, timeout) {
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
