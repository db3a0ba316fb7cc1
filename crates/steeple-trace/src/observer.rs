use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, request, response};
use opentelemetry::{
    Context,
    baggage::BaggageExt,
    trace::{SpanContext, SpanKind, Status, TraceContextExt},
};
use opentelemetry_sdk::trace::SpanData;
use steeple_core::{
    End, Exchange, Identity, ObserveLayer, Observer, Peer, RoutePolicy, RouteSettings, Signal, TraceContext, clock,
};
use steeple_export::{Flush, Pipeline, Sink};
use steeple_scrub::Scrubber;
use tracing::Subscriber;
use tracing_subscriber::{layer::Layer, registry::LookupSpan};

use crate::{
    ClientLayer, ClientSpans, Diagnostic, FlushReport, ResponseHeader, Sampling, Trace, TraceBuilder, TraceStats,
    Trust,
    attributes::{self, Attributes, Capture, Noted, Target},
    diagnose::Diagnosis,
    export::by,
    ids::{Owner, PresetGuard},
    newrelic,
    propagation::{self, Carried, Propagators},
    recorded::Tracer,
    scrub::Bounds,
    segment::Tracing,
    span::{self, OpenSpan, Start},
    tail::{Hold, Slot},
    trust::TrustPolicy,
};

pub(crate) type PeerOf = Arc<dyn Fn(&request::Parts) -> Option<SocketAddr> + Send + Sync>;

/// Whether a peer is one of the proxies.
pub(crate) type TrustsPeer = Arc<dyn Fn(Option<Peer>) -> bool + Send + Sync>;

/// What all clones of a [`Trace`] share.
pub(crate) struct Inner {
    pub(crate) tracer: Tracer,
    pub(crate) owner: Owner,
    pub(crate) queue: Option<Pipeline<SpanData>>,
    pub(crate) hold: Option<Arc<Hold>>,
    #[cfg(feature = "otlp")]
    pub(crate) logs: Option<Arc<crate::logs::Logs>>,
    pub(crate) sampling: Sampling,
    pub(crate) routes: Arc<RouteSettings<RoutePolicy>>,
    pub(crate) propagators: Propagators,
    pub(crate) trust: TrustPolicy,
    pub(crate) scrubber: Scrubber,
    pub(crate) max_value: usize,
    pub(crate) max_attributes: u32,
    pub(crate) capture: Capture,
    pub(crate) response_header: Option<ResponseHeader>,
    pub(crate) behind_proxy: bool,
    /// Decides in place of `trust` and `behind_proxy`.
    pub(crate) trusts_peer: Option<TrustsPeer>,
    pub(crate) default_scheme: &'static str,
    pub(crate) peer_of: Option<PeerOf>,
    /// Whether exchanges without a span are visible to other libraries' propagation.
    pub(crate) show_unsampled: bool,
    /// T of Apdex, where spans go to New Relic.
    pub(crate) new_relic: Option<Duration>,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) kept: Option<crate::KeptTraces>,
}

impl Inner {
    /// The ratio for an exchange's route, as far as it is known by now, if it has one.
    pub(crate) fn ratio_of(&self, exchange: &Exchange) -> Option<f64> {
        self.routes.of(exchange)?.trace_sample_ratio()
    }

    /// Whether an exchange's route has no spans.
    fn skips(&self, exchange: &Exchange) -> bool {
        exchange.is_skipped(Signal::Traces) || self.routes.of(exchange).is_some_and(|route| route.skips(Signal::Traces))
    }

    fn sinks(&self) -> Vec<Arc<dyn Sink>> {
        let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
        if let Some(queue) = &self.queue {
            sinks.push(Arc::new(queue.clone()));
        }
        #[cfg(feature = "otlp")]
        if let Some(logs) = &self.logs {
            sinks.push(Arc::new(logs.queue().clone()));
        }
        sinks
    }

    /// Flushes spans and log records side by side: a receiver that hangs takes no time from the other.
    fn flush(&self, timeout: Duration, close: bool) -> FlushReport {
        let deadline = by(timeout);
        let begin =
            |sink: &Arc<dyn Sink>| if close { sink.begin_shutdown(deadline) } else { sink.begin_flush(deadline) };
        let sinks = self.sinks();
        let flushes: Vec<Flush> = sinks.iter().map(begin).collect();
        let reports = sinks.iter().zip(&flushes).map(|(sink, flush)| sink.wait(flush));
        reports.fold(FlushReport::new("traces".into(), 0, 0, 0), |all, one| {
            let sum = |a: u64, b: u64| a.saturating_add(b);
            FlushReport::new(
                all.sink,
                sum(all.exported, one.exported),
                sum(all.dropped, one.dropped),
                sum(all.left, one.left),
            )
        })
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("sampling", &self.0.sampling)
            .field("propagators", &self.0.propagators)
            .field("exports", &self.0.queue.is_some())
            .field("holds", &self.0.hold.is_some())
            .finish_non_exhaustive()
    }
}

impl Trace {
    /// Starts with the defaults: every trace is sampled unless the caller has not sampled it, and nothing is exported.
    pub fn builder() -> TraceBuilder {
        TraceBuilder::default()
    }

    /// What [`TraceBuilder::keep_traces`] was given.
    pub fn kept_traces(&self) -> Option<&crate::KeptTraces> {
        self.0.kept.as_ref()
    }

    /// A layer for a stack with no other observer. Beside others, put a clone first into their tuple.
    pub fn layer(&self) -> ObserveLayer<Self> {
        ObserveLayer::new(self.clone())
    }

    /// The layer for a `tracing` subscriber that makes `#[tracing::instrument]` spans children of the exchange's.
    ///
    /// Events at `error` do not make a span failed: that is what the end of the exchange decides.
    pub fn tracing_layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer.clone())
            .with_error_events_to_status(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
    }

    /// The layer for a `tracing` subscriber that exports events as log records. `None`, which a subscriber takes as well,
    /// where that is [not configured](TraceBuilder::logs).
    ///
    /// A record has the ids of the innermost recorded span, else those of the exchange, sampled or not. Put a filter on
    /// it: it takes every event that it gets.
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn logs_layer(&self) -> Option<crate::LogsLayer> {
        self.0.logs.clone().map(crate::LogsLayer)
    }

    /// What became of the log records so far.
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn log_stats(&self) -> crate::LogStats {
        self.0.logs.as_ref().map_or_else(crate::LogStats::default, |logs| logs.stats())
    }

    /// A layer for outgoing calls. See [`ClientLayer`].
    pub fn client_layer(&self) -> ClientLayer {
        ClientLayer::new(self.client_spans())
    }

    /// The observer of outgoing calls that is in [`client_layer`](Self::client_layer): for a
    /// [`CallLayer`](steeple_core::call::CallLayer) with others beside it.
    pub fn client_spans(&self) -> ClientSpans {
        ClientSpans::new(self.clone())
    }

    /// What became of the spans so far.
    pub fn stats(&self) -> TraceStats {
        let recording = self.0.tracer.recording();
        let mut stats = TraceStats {
            spans: self.0.queue.as_ref().map(Sink::stats).unwrap_or_default(),
            truncated: recording.truncated(),
            dropped_events: recording.dropped_events(),
            ..TraceStats::default()
        };
        if let Some(hold) = &self.0.hold {
            hold.read_into(&mut stats);
        }
        stats
    }

    /// The pipelines of spans (`traces`) and of log records (`otlp_logs`), as far as they are configured: to flush them beside
    /// other sinks, under one deadline.
    pub fn sinks(&self) -> Vec<Arc<dyn Sink>> {
        self.0.sinks()
    }

    /// `host:port` of the receivers of spans and log records, each once. Empty where nothing is sent.
    pub fn receivers(&self) -> &[String] {
        self.0.diagnosis.receivers()
    }

    /// Sends everything queued, waiting no longer than this. Works on any runtime: another thread sends.
    pub async fn flush(&self, timeout: Duration) -> FlushReport {
        self.settle(timeout, false).await
    }

    /// Sends everything queued and accepts nothing more, waiting no longer than this.
    pub async fn shutdown(&self, timeout: Duration) -> FlushReport {
        self.settle(timeout, true).await
    }

    /// [`flush`](Self::flush) that blocks this thread: for places without a runtime.
    pub fn flush_blocking(&self, timeout: Duration) -> FlushReport {
        self.0.flush(timeout, false)
    }

    /// [`shutdown`](Self::shutdown) that blocks this thread: for the end of `main`, or before `exit`.
    pub fn shutdown_blocking(&self, timeout: Duration) -> FlushReport {
        self.0.flush(timeout, true)
    }

    async fn settle(&self, timeout: Duration, close: bool) -> FlushReport {
        let sinks = self.0.sinks();
        if sinks.is_empty() {
            return FlushReport::new("traces".into(), 0, 0, 0);
        }
        let inner = Arc::clone(&self.0);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // Another thread waits: this one may be the only one that the runtime has.
        let waiting = std::thread::Builder::new().name("steeple-flush".to_owned()).spawn(move || {
            let _gone = sender.send(inner.flush(timeout, close));
        });
        let report = if waiting.is_ok() { receiver.await.ok() } else { None };
        report.unwrap_or_else(|| {
            let left = sinks.iter().map(|sink| sink.stats().queued_items).fold(0, u64::saturating_add);
            FlushReport::new("traces".into(), 0, 0, left)
        })
    }

    /// Looks for what would keep spans from arriving. Tries to connect to the receiver, for a second at most, or for
    /// [`TraceBuilder::diagnose_timeout`](crate::TraceBuilder::diagnose_timeout): call it before serving, or from a blocking task.
    ///
    /// The first exchange runs the same checks and logs what they find, once; not where tracing is off.
    #[doc(alias = "doctor")]
    pub fn diagnose(&self) -> Vec<Diagnostic> {
        self.0.diagnosis.examine(self)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn tracer(&self) -> &Tracer {
        &self.0.tracer
    }

    /// Ids and the decision that the next span of ours on this thread gets.
    pub(crate) fn preset(&self, trace: TraceContext) -> PresetGuard {
        PresetGuard::set(self.0.owner, trace)
    }

    pub(crate) fn owner(&self) -> Owner {
        self.0.owner
    }

    pub(crate) fn exports(&self) -> bool {
        self.0.queue.is_some()
    }

    pub(crate) fn propagates(&self) -> bool {
        self.0.propagators != Propagators::none()
    }

    pub(crate) fn records_nothing(&self) -> bool {
        self.0.hold.is_none()
            && self.0.sampling.is_never()
            && !self.0.routes.iter().any(|route| route.trace_sample_ratio().is_some_and(|ratio| ratio > 0.0))
    }

    pub(crate) fn pass_on(&self, context: &SpanContext, carried: &Carried, headers: &mut HeaderMap) {
        self.0.propagators.write(context, carried, headers);
    }

    /// What the application put into the current context comes before what the caller sent.
    pub(crate) fn pass_baggage(&self, carried: &Carried, headers: &mut HeaderMap) {
        let current = Context::current();
        self.0.propagators.write_baggage(current.baggage(), carried, headers);
    }

    /// Ids for work outside of any exchange, and whether it is sampled.
    pub(crate) fn new_root(&self) -> (TraceContext, bool) {
        let root = TraceContext::new_root();
        let sampled = self.0.sampling.decide(None, root.trace_id().to_bytes(), None);
        (root.with_sampled(sampled), sampled)
    }

    /// For texts that are scrubbed before they reach the exporter.
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds_of(self.0.max_value)
    }

    pub(crate) fn scrubber(&self) -> &Scrubber {
        &self.0.scrubber
    }

    /// The status of a failure with this message.
    pub(crate) fn failed(&self, error: &dyn fmt::Display) -> Status {
        Status::error(self.bounds_of(attributes::MAX_TEXT).formatted(format_args!("{error}")).into_inner())
    }

    fn bounds_of(&self, max_value: usize) -> Bounds {
        Bounds { scrubber: self.0.scrubber.clone(), max_value, max_attributes: usize::MAX, kept: None }
    }

    /// Whether the peer is one of the proxies. `None`: proxies are not set.
    fn believes(&self, request: &request::Parts) -> Option<bool> {
        let trusts = self.0.trusts_peer.as_ref()?;
        let own = || self.0.peer_of.as_ref().and_then(|peer_of| peer_of(request)).map(Peer::Address);
        Some(trusts(own().or_else(|| Peer::of(&request.extensions))))
    }

    fn peer(&self, request: &request::Parts) -> Option<SocketAddr> {
        match &self.0.peer_of {
            Some(peer_of) => peer_of(request),
            None => Peer::of(&request.extensions)?.address(),
        }
    }

    /// Decides what this exchange's trace is, and whether it gets a span.
    #[inline]
    fn decide(&self, exchange: &Exchange, request: &request::Parts) -> Decision {
        let inner = &self.0;
        let local = Context::map_current(|context| {
            let span = context.span();
            let span = span.span_context();
            span.is_valid().then(|| (context.clone(), span.clone()))
        });
        if let Some((context, span)) = local {
            // Another layer's span is open around us: ours goes below it.
            let ids = (span.trace_id().to_bytes(), span.span_id().to_bytes());
            let trace = TraceContext::child_of(ids.0, ids.1, span.is_sampled());
            let trace = trace.map(|trace| trace.with_random_id(propagation::is_random(&span)));
            let trace = trace.unwrap_or_else(TraceContext::new_root);
            return Decision { trace, parent: context, link: None, carried: Carried::default() };
        }
        let trust = match self.believes(request) {
            Some(true) => Trust::Full,
            Some(false) => Trust::Nothing,
            None => inner.trust.of(|| self.peer(request).map(|peer| peer.ip())),
        };
        let incoming = inner.propagators.read(&request.headers);
        let continued = incoming.context.filter(|_| trust != Trust::Nothing);
        // Something before us may have looked for a trace already: its ids are on log lines by now.
        let trace = exchange.trace().copied().or(continued);
        let trace = trace.unwrap_or_else(TraceContext::new_root);
        let asked = incoming.asked.filter(|_| trust == Trust::Full);
        let sampled = inner.sampling.decide_with(asked, || trace.trace_id().to_bytes(), || inner.ratio_of(exchange));
        let carried = match trust {
            Trust::Nothing => Carried::default(),
            Trust::Full | Trust::Ids => {
                let debug = incoming.debug && trust == Trust::Full;
                inner.propagators.read_carried(&request.headers, &incoming, continued.is_some(), debug)
            }
        };
        let link = match (trust, incoming.context) {
            (Trust::Nothing, Some(context)) if sampled || inner.hold.is_some() => {
                propagation::remote_parent(&context, incoming.asked.unwrap_or_default(), carried.trace_state())
            }
            _ => None,
        };
        Decision { trace: trace.with_sampled(sampled), parent: Context::new(), link, carried }
    }

    fn record(&self, exchange: &Exchange, request: &request::Parts, made: Decision) -> State {
        let inner = &self.0;
        let peer = self.peer(request);
        let Decision { trace, mut parent, link, carried } = made;
        if let Some(remote) = propagation::remote_parent(&trace, trace.is_sampled(), carried.trace_state())
            && !parent.span().span_context().is_valid()
        {
            parent = parent.with_remote_span_context(remote);
        }
        parent = carried.put_baggage(parent);
        let slot =
            inner.hold.as_ref().filter(|_| !trace.is_sampled()).map(|hold| hold.begin(exchange, trace.span_id()));
        if let Some(slot) = slot {
            parent = parent.with_value(slot);
        }
        let behind_proxy = self.believes(request).unwrap_or(inner.behind_proxy);
        let target = Target::of(request, behind_proxy, inner.default_scheme);
        let name = if exchange.is_grpc() { "grpc" } else { exchange.method() };
        let preset = self.preset(trace);
        let kind = SpanKind::Server;
        let mirror = if inner.diagnosis.may_mirror() { span::mirror(&kind, name, &parent) } else { None };
        let exports = self.exports();
        // What a layer of `tracing` gets may leave by other ways than ours.
        let later = exports && mirror.is_none() && inner.max_attributes >= attributes::MIN_LATER;
        let mut attributes = attributes::at_start(exchange, request, target, &inner.scrubber, later);
        let captured = &inner.capture.request;
        attributes::headers(&mut attributes, (exchange.is_grpc(), false), captured, &request.headers, &inner.scrubber);
        let tracer = &inner.tracer;
        let span = OpenSpan::start(Start { parent, link, kind, name, attributes, tracer, mirror, exports });
        drop(preset);
        let found = propagation::trace_context(span.context.span().span_context());
        inner.diagnosis.saw(&span, found.is_some_and(|found| found.span_id() == trace.span_id()));
        // The ids of a provider that is not ours are its own.
        let trace = match found {
            Some(found) if found.span_id() != trace.span_id() => found,
            _ => trace,
        };
        exchange.set_trace(trace);
        exchange.insert(Tracing::new(self.clone(), span.context.clone(), carried));
        let original_method = if exchange.is_grpc() {
            Some(request.uri.path().trim_start_matches('/').into())
        } else {
            (exchange.method() == "_OTHER").then(|| request.method.as_str().into())
        };
        let noted = Noted { original_method, peer };
        State::Recorded(Box::new(Recorded { span, slot, noted, started: clock::unix_now() }))
    }
}

/// Decisions from the request head.
struct Decision {
    trace: TraceContext,
    parent: Context,
    link: Option<SpanContext>,
    carried: Carried,
}

/// How an exchange is traced.
#[derive(Debug)]
pub struct State(Kind);

#[derive(Debug)]
enum Kind {
    /// It has a span.
    Recorded(Box<Recorded>),
    /// It has none, but other libraries see its ids.
    Shown(Context),
    /// It has none; its ids go into the response.
    Told,
}

#[derive(Debug)]
struct Recorded {
    span: OpenSpan,
    slot: Option<Slot>,
    noted: Noted,
    /// Since the Unix epoch.
    started: Duration,
}

impl State {
    #[expect(non_snake_case, reason = "reads as the variant that it makes")]
    fn Recorded(recorded: Box<Recorded>) -> Self {
        Self(Kind::Recorded(recorded))
    }
}

impl Observer for Trace {
    type State = State;

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(&*self.0))
    }

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<State> {
        let inner = &self.0;
        inner.diagnosis.check_once(self);
        let made = self.decide(exchange, request);
        let wanted = made.trace.is_sampled() || inner.hold.is_some();
        if wanted && !inner.skips(exchange) {
            return Some(self.record(exchange, request, made));
        }
        let trace = made.trace.with_sampled(false);
        exchange.set_trace(trace);
        if !made.carried.is_empty() {
            exchange.insert(made.carried.clone());
        }
        if inner.show_unsampled {
            let span = propagation::span_context(&trace, made.carried.trace_state());
            let context = made.carried.put_baggage(made.parent.with_remote_span_context(span));
            return Some(State(Kind::Shown(context)));
        }
        inner.response_header.map(|_| State(Kind::Told))
    }

    fn on_response(&self, state: &mut State, exchange: &Exchange, response: &mut response::Parts) {
        let inner = &self.0;
        if let Kind::Recorded(recorded) = &state.0 {
            let names = &inner.capture.response;
            let mut captured = Attributes::default();
            let kind = (exchange.is_grpc(), true);
            attributes::headers(&mut captured, kind, names, &response.headers, &inner.scrubber);
            recorded.span.describe(captured);
        }
        if let Some((kind, trace)) = inner.response_header.zip(exchange.trace())
            && let Ok(value) = HeaderValue::from_str(&kind.value(trace))
        {
            response.headers.append(kind.name(), value);
        }
    }

    fn on_enter(&self, state: &mut State, _exchange: &Exchange) {
        match &state.0 {
            Kind::Recorded(recorded) => recorded.span.enter(),
            Kind::Shown(context) => span::attach(context),
            Kind::Told => (),
        }
    }

    fn on_exit(&self, state: &mut State, _exchange: &Exchange) {
        match &state.0 {
            Kind::Recorded(recorded) => recorded.span.exit(),
            Kind::Shown(_) => span::detach(),
            Kind::Told => (),
        }
    }

    fn on_end(&self, state: State, exchange: &Exchange, end: &End) {
        let Kind::Recorded(recorded) = state.0 else { return };
        let inner = &self.0;
        let Recorded { span, slot, noted, started } = *recorded;
        let mut ending = attributes::at_end(exchange, end, &noted, &inner.scrubber);
        if let Some(threshold) = inner.new_relic {
            let applied = RoutePolicy::of(exchange).and_then(|applied| applied.apdex());
            let of_route = || inner.routes.of(exchange)?.apdex();
            let threshold = applied.or_else(of_route).unwrap_or(threshold);
            newrelic::describe(exchange, end, threshold, &inner.scrubber, &mut ending);
        }
        if self.exports() {
            if inner.skips(exchange) {
                // The route was learned too late for it to have no span.
                exchange.skip(Signal::Traces);
                ending.verdict = Some(false);
            } else if ending.failure.is_none() {
                ending.verdict = Some(true);
            }
        }
        let ended = std::time::UNIX_EPOCH.checked_add(started.saturating_add(end.duration));
        span.end(ending, attributes::exceptions(exchange, &inner.scrubber), ended);
        if let (Some(hold), Some(slot)) = (&inner.hold, slot) {
            hold.end(slot, exchange, end);
        }
    }
}
