//! Spans and log records by OTLP.

mod testing;

use std::time::Duration;

use steeple_trace::{
    ClientSpans, Diagnostic, DropReason, JobSpans, KeptTraces, PassThrough, Stats, TailSampling, Trace, TraceBuilder,
};
use tracing_subscriber::{EnvFilter, Layer, filter::LevelFilter, layer::SubscriberExt};

use super::{InProcess, Integration, Setting, Setup, Started};
use crate::{
    ClientLayer, ConfigError, Steeple, SteepleBuilder,
    env::{self, Lookup, Service},
    own_metrics::OwnMetrics,
};

pub use self::testing::Span;

pub(crate) type Options = TraceBuilder;
/// Without a receiver, what callers want passed on is kept for the service's own calls.
pub(crate) type Observer = (Option<Trace>, Option<PassThrough>);
pub(crate) type CallObserver = Option<ClientSpans>;

/// What traces jobs.
pub(crate) type JobObserver = Option<JobSpans>;

/// The observer of jobs.
pub(crate) fn job_observer(handle: Option<&Trace>) -> JobObserver {
    handle.map(Trace::jobs)
}

impl SteepleBuilder {
    /// Changes the options for spans and log records. What the environment has set stays, unless this sets the same.
    ///
    /// Off without a receiver, which OpenTelemetry's variables, `NEW_RELIC_LICENSE_KEY` or [`TraceBuilder::otlp`] set.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// use steeple::trace::Sampling;
    ///
    /// let builder = steeple::Steeple::builder_from_env()?.traces(|traces| traces.sampling(Sampling::ratio(0.2).parent_based()));
    /// # let _unused = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn traces(mut self, change: impl FnOnce(TraceBuilder) -> TraceBuilder) -> Self {
        self.integrations.trace.change(change);
        self
    }
}

impl Steeple {
    /// What makes spans and sends them. `None` without a receiver.
    pub fn traces(&self) -> Option<&Trace> {
        self.running().trace.as_ref()
    }

    /// Looks for what would keep spans from arriving: a receiver that does not answer, a level that filters them out.
    ///
    /// Tries to connect, for a second at most: call it before serving, or where blocking is allowed. Empty without a
    /// receiver. The first exchange logs the same, once.
    pub fn diagnose(&self) -> Vec<Diagnostic> {
        self.traces().map_or_else(Vec::new, Trace::diagnose)
    }
}

impl ClientLayer {
    /// Passes `baggage` on to this host as well; `*.example.internal` matches all hosts below it, `*` all hosts.
    ///
    /// By default no host receives baggage: it can identify the user.
    pub fn baggage_to(mut self, host: impl Into<String>) -> Self {
        self.observers.0 = self.observers.0.map(|spans| spans.baggage_to(host));
        self
    }

    /// Passes the trace on to this host, and to others that are set like this, but to no other.
    pub fn only_to(mut self, host: impl Into<String>) -> Self {
        self.observers.0 = self.observers.0.map(|spans| spans.only_to(host));
        self
    }
}

impl Integration for TraceBuilder {
    type Handle = Trace;
    type Observer = Observer;
    type CallObserver = CallObserver;

    fn from_env(env: &dyn Lookup) -> Result<Setting<Self>, ConfigError> {
        const RECEIVERS: [&str; 6] = [
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
            "NEW_RELIC_LICENSE_KEY",
            "OTEL_TRACES_EXPORTER",
            "OTEL_LOGS_EXPORTER",
        ];
        let options = super::lookups(env, |lookup| Self::from_env(lookup))?
            .map_err(|error| ConfigError::part("traces", &error))?;
        let options = match tail(env)? {
            Some(tail) => options.tail_sampling(tail),
            None => options,
        };
        let variable = env.first(&RECEIVERS)?.map(|(name, _)| name).filter(|_| options.has_receiver());
        Ok(Setting { options, variable })
    }

    fn start(self, setup: &mut Setup<'_>) -> Result<Option<Started<Trace>>, ConfigError> {
        if !self.has_receiver() && setup.recording.is_none() {
            return Ok(None);
        }
        let routed = setup.routes.iter().fold(self, |trace, (route, options)| trace.route(route, options.clone()));
        let mut options =
            with_service(routed, setup.service).scrubber(setup.scrubber.clone()).http(|http| http.or(&setup.http));
        if let Some(proxies) = setup.proxies.clone() {
            options = options.trust_peers(move |peer| proxies.trusts_peer(peer));
        }
        if let Some(threshold) = setup.apdex {
            options = options.apdex(threshold);
        }
        // Nothing is kept before a dashboard is mounted.
        let options = options.keep_traces(KeptTraces::new());
        let built = match setup.recording.clone() {
            Some(recording) => options.build_with_exporter(testing::Kept(recording.memory())),
            None => options.build(),
        };
        let trace = built.map_err(|error| ConfigError::part("traces", &error))?;
        count(&mut setup.own, &trace);
        for sink in trace.sinks() {
            setup.add_sink(sink);
        }
        setup.lines_as_events |= trace.logs_layer().is_some();
        let to = if setup.recording.is_some() { "memory".to_owned() } else { trace.receivers().join(", ") };
        Ok(Some(Started { handle: trace, to }))
    }

    fn observer(handle: Option<&Trace>) -> Observer {
        (handle.cloned(), handle.is_none().then(PassThrough::default))
    }

    fn call_observer(handle: Option<&Trace>) -> Option<ClientSpans> {
        match handle {
            Some(trace) => Some(trace.client_spans()),
            // Without a receiver nothing is recorded, but the caller's trace is passed on.
            None => Some(Trace::builder().build().ok()?.client_spans().without_spans()),
        }
    }

    fn subscribe<S: InProcess>(subscriber: S, handle: Option<Trace>, filter: String) -> impl InProcess {
        // Below `info` are the inner spans of h2 and its like: no exchange's, with frames for attributes.
        // The filters are there without the layers too: a layer that is `None` and has no filter keeps the others from
        // refusing, and every span of every library is made. That made a request over HTTP/2 three times as dear.
        let level = if handle.is_some() { LevelFilter::INFO } else { LevelFilter::OFF };
        let spans = handle.as_ref().map(Trace::tracing_layer).with_filter(level);
        let records = handle.as_ref().and_then(Trace::logs_layer);
        let filter = if records.is_some() { &filter } else { "off" };
        // The log has parsed it already, but allows spaces between its items.
        let items = filter.split(',').map(str::trim).filter(|item| !item.is_empty());
        // An event that was tracked goes where events go, and its line nowhere where the event may go as well.
        let plain = items.chain(["steeple::events=off"]).collect::<Vec<_>>().join(",");
        let filter = EnvFilter::builder().parse(plain).unwrap_or_default();
        subscriber.with(spans).with(records.with_filter(filter))
    }
}

/// `TRACE_TAIL_ERRORS`, `TRACE_TAIL_SLOW_MS`: which exchanges are kept beside those that sampling takes.
fn tail(env: &dyn Lookup) -> Result<Option<TailSampling>, ConfigError> {
    const SLOW: &str = "TRACE_TAIL_SLOW_MS";
    const ERRORS: &str = "TRACE_TAIL_ERRORS";
    let errors = match env.text(ERRORS)?.map(|text| text.to_ascii_lowercase()).as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(ConfigError::variable_value(ERRORS, other, "`true` or `false`")),
    };
    let slow = env::milliseconds(env, SLOW)?;
    Ok(match slow {
        Some(slow) => Some(TailSampling::new().slow(slow)),
        // No exchange is slow.
        None if errors => Some(TailSampling::new().slow(Duration::MAX)),
        None => None,
    })
}

/// Sets what the service is. The log's lines have the same.
fn with_service(mut options: TraceBuilder, service: &Service) -> TraceBuilder {
    if let Some(name) = &service.name {
        options = options.service_name(name);
    }
    let attributes = [
        ("service.version", &service.version),
        ("deployment.environment.name", &service.environment),
        ("cloud.region", &service.region),
    ];
    for (key, value) in attributes {
        if let Some(value) = value {
            options = options.resource(key, value);
        }
    }
    options
}

fn count(own: &mut OwnMetrics, trace: &Trace) {
    let records = trace.clone();
    own.add("steeple_log_records_exported_total", "Log records that the receiver accepted.", move || {
        records.log_stats().records.exported
    });
    let records = trace.clone();
    own.add_by(
        "steeple_log_records_dropped_total",
        "Log records that did not reach the receiver.",
        "reason",
        move || by_reason(&records.log_stats().records),
    );
    let spans = trace.clone();
    own.add("steeple_spans_exported_total", "Spans that the receiver accepted.", move || spans.stats().spans.exported);
    let spans = trace.clone();
    own.add_by("steeple_spans_dropped_total", "Spans that did not reach the receiver.", "reason", move || {
        let stats = spans.stats();
        let mut all = by_reason(&stats.spans);
        all.push(("memory".to_owned(), stats.held_dropped));
        all
    });
}

/// The reasons that spans and log records can have.
fn by_reason(stats: &Stats) -> Vec<(String, u64)> {
    const REASONS: [DropReason; 9] = [
        DropReason::QueueFull,
        DropReason::TooLarge,
        DropReason::RateLimited,
        DropReason::Network,
        DropReason::Unavailable,
        DropReason::Rejected,
        DropReason::Unauthorized,
        DropReason::Panicked,
        DropReason::Shutdown,
    ];
    REASONS.iter().map(|reason| (reason.as_str().to_owned(), stats.dropped(*reason))).collect()
}
