use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderName, request};
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider, SpanData, SpanExporter},
};
use steeple_core::{Peer, RouteError, RouteOptions, RoutePolicy, RouteSettings};
use steeple_export::{Pipeline, Retry};
use steeple_scrub::Scrubber;

use crate::{
    BuildError, NewRelic, Otlp, Propagators, ResponseHeader, Sampling, TailSampling, Trace, Trust,
    attributes::Capture,
    diagnose::Diagnosis,
    export::{OfSdk, Processor, Settings},
    ids::{ExchangeIds, Owner},
    newrelic,
    observer::{Inner, PeerOf, TrustsPeer},
    recorded::{Recording, Tracer},
    resource,
    sampling::Decided,
    scrub::Bounds,
    tail::Hold,
    trust::TrustPolicy,
};
#[cfg(feature = "otlp")]
use crate::{
    export::{self, Spans, Wire},
    logs::{LogExport, Logs},
    otlp::Signal,
};

/// How exchanges are traced. Made by [`Trace::builder`] or, from the standard variables, by [`TraceBuilder::from_env`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_trace::{Sampling, TailSampling, Trace, Trust};
///
/// let trace = Trace::builder()
///     .service_name("taskboard")
///     .sampling(Sampling::ratio(0.01).parent_based())
///     .tail_sampling(TailSampling::new().slow(Duration::from_millis(500)))
///     .trust(Trust::Nothing)
///     .trust_from("10.0.0.0/8", Trust::Full)
///     .build()?;
/// let layer = trace.layer();
/// # let _unused = layer;
/// # Ok::<(), steeple_trace::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until they are built"]
pub struct TraceBuilder {
    pub(crate) service_name: Option<String>,
    pub(crate) resource: Vec<KeyValue>,
    pub(crate) sampling: Sampling,
    routes: Vec<(String, RouteOptions)>,
    pub(crate) propagators: Propagators,
    pub(crate) settings: Settings,
    pub(crate) max_attributes: u32,
    pub(crate) max_value: usize,
    pub(crate) export: Export,
    #[cfg(feature = "otlp")]
    pub(crate) logs: LogExport,
    #[cfg(feature = "otlp")]
    pub(crate) http: steeple_export::ClientBuilder,
    tail: Option<TailSampling>,
    trust: TrustPolicy,
    scrubber: Scrubber,
    capture: Capture,
    captured: Vec<String>,
    captured_of_response: Vec<String>,
    response_header: Option<ResponseHeader>,
    behind_proxy: bool,
    https: bool,
    peer_of: Option<PeerOf>,
    proxies_of: Option<TrustsPeer>,
    show_unsampled: bool,
    diagnose_timeout: Duration,
    apdex: Duration,
    kept: Option<crate::KeptTraces>,
}

/// Where spans go.
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "without the feature nothing is sent"))]
#[derive(Clone, Debug)]
pub(crate) enum Export {
    Nowhere,
    Otlp(Otlp),
    NewRelic(NewRelic),
}

impl Default for TraceBuilder {
    fn default() -> Self {
        Self {
            service_name: None,
            resource: Vec::new(),
            sampling: Sampling::default(),
            routes: Vec::new(),
            propagators: Propagators::default(),
            settings: Settings::default(),
            max_attributes: 128,
            max_value: newrelic::MAX_VALUE,
            export: Export::Nowhere,
            #[cfg(feature = "otlp")]
            logs: LogExport::default(),
            #[cfg(feature = "otlp")]
            http: steeple_export::Client::builder().allow_plain_http(),
            tail: None,
            trust: TrustPolicy::default(),
            scrubber: Scrubber::default(),
            capture: Capture::default(),
            captured: Vec::new(),
            captured_of_response: Vec::new(),
            response_header: None,
            behind_proxy: false,
            https: false,
            peer_of: None,
            proxies_of: None,
            show_unsampled: false,
            diagnose_timeout: Duration::from_secs(1),
            apdex: newrelic::APDEX_T,
            kept: None,
        }
    }
}

impl TraceBuilder {
    /// The name of this service: `service.name`. Default: `unknown_service`.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Says something about this process on all its spans, such as `deployment.environment.name`.
    pub fn resource(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.resource.push(KeyValue::new(key.into(), value.into()));
        self
    }

    /// Which traces are recorded. Default: all, unless the caller has not sampled the trace.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Other options for one route: `/reports/{id}` for every method, `GET /reports/{id}` for one, `pkg.Service/Method` for a
    /// gRPC call. Reads whether [spans are skipped](RouteOptions::skip), [`RouteOptions::trace_sample_ratio`] and, for
    /// [tail sampling](Self::tail_sampling), [`RouteOptions::slow_after`].
    pub fn route(mut self, route: impl Into<String>, options: RouteOptions) -> Self {
        self.routes.push((route.into(), options));
        self
    }

    /// Holds the spans of every exchange until its end, and exports those of failed and slow ones. See [`TailSampling`].
    #[doc(alias = "keep")]
    pub fn tail_sampling(mut self, tail: TailSampling) -> Self {
        self.tail = Some(tail);
        self
    }

    /// The formats of trace context that are read and written. Default: W3C trace context and baggage.
    pub fn propagators(mut self, propagators: Propagators) -> Self {
        self.propagators = propagators;
        self
    }

    /// How far callers are believed. Default: fully, as OpenTelemetry's own instrumentations do; at an edge that
    /// strangers reach, [`Trust::Nothing`] or [`Trust::Ids`].
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust.otherwise(trust);
        self
    }

    /// How far callers from a network are believed: `10.0.0.0/8` or an address. The first network that holds the
    /// peer decides. The peer is known with the features `axum` (`ConnectInfo`) and `connection`, or by
    /// [`peer`](Self::peer).
    pub fn trust_from(mut self, network: impl Into<String>, trust: Trust) -> Self {
        self.trust.network(network.into(), trust);
        self
    }

    /// Believes the peers for which this returns true, and no others: their trace headers and, in forwarding headers, the parts of
    /// the request. All others are strangers, as with [`Trust::Nothing`]: their context becomes a link, their sampled flag is
    /// ignored. Overrides [`trust`](Self::trust), [`trust_from`](Self::trust_from) and [`behind_proxy`](Self::behind_proxy).
    ///
    /// The same predicate as for the client's address, such as `TrustedProxies::trusts_peer` of `steeple-user`, makes one
    /// setting of the three.
    pub fn trust_peers(mut self, trusts: impl Fn(Option<Peer>) -> bool + Send + Sync + 'static) -> Self {
        self.proxies_of = Some(Arc::new(trusts));
        self
    }

    /// How to find the address at the other end of the socket, for servers that have another way to find it.
    pub fn peer(mut self, peer: impl Fn(&request::Parts) -> Option<SocketAddr> + Send + Sync + 'static) -> Self {
        self.peer_of = Some(Arc::new(peer));
        self
    }

    /// Believes the proxy in front: `Forwarded` and `X-Forwarded-Proto`/`-Host` have what the client asked for.
    pub fn behind_proxy(mut self) -> Self {
        self.behind_proxy = true;
        self
    }

    /// This server speaks TLS itself: `url.scheme` is `https` unless something else sets it.
    pub fn https(mut self) -> Self {
        self.https = true;
        self
    }

    /// Puts the trace's id into every response.
    pub fn response_header(mut self, header: ResponseHeader) -> Self {
        self.response_header = Some(header);
        self
    }

    /// Puts a request header on the span. The scrubber may still refuse it.
    pub fn request_header(mut self, name: impl Into<String>) -> Self {
        self.captured.push(name.into());
        self
    }

    /// Puts a response header on the span. The scrubber may still refuse it.
    pub fn captured_response_header(mut self, name: impl Into<String>) -> Self {
        self.captured_of_response.push(name.into());
        self
    }

    /// What takes secrets out of everything that is exported. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// Shows the ids of exchanges that are not sampled to other libraries, as the parent of `Context::current()`.
    ///
    /// [`ClientLayer`](crate::ClientLayer) and `#[tracing::instrument]` do without it. Another client's propagation
    /// needs it to pass such ids on. Costs an allocation for each exchange that is not sampled.
    pub fn show_unsampled(mut self) -> Self {
        self.show_unsampled = true;
        self
    }

    /// How long a receiver may take to accept the connection by which [`Trace::diagnose`] checks it. Default: 1 second.
    pub fn diagnose_timeout(mut self, timeout: Duration) -> Self {
        self.diagnose_timeout = timeout;
        self
    }

    /// Sends spans by OTLP.
    pub fn otlp(mut self, otlp: Otlp) -> Self {
        self.export = Export::Otlp(otlp);
        self
    }

    /// Sends spans to New Relic, with what its pages look for.
    pub fn new_relic(mut self, new_relic: NewRelic) -> Self {
        self.max_attributes = self.max_attributes.min(newrelic::MAX_ATTRIBUTES);
        self.export = Export::NewRelic(new_relic);
        self
    }

    /// The threshold T by which [New Relic's](Self::new_relic) spans get `apdexPerfZone`. That of a route, [`RouteOptions::apdex`],
    /// comes first. Default: 500 milliseconds.
    #[doc(alias = "apdex_t")]
    pub fn apdex(mut self, threshold: Duration) -> Self {
        self.apdex = threshold;
        self
    }

    /// Sends the application's `tracing` events as log records by OTLP: those that reach [`Trace::logs_layer`]. Default:
    /// not. To New Relic: [`NewRelic::logs`].
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn logs(mut self, otlp: Otlp) -> Self {
        self.logs.otlp = Some(otlp);
        self
    }

    /// How many log records wait for the exporter at most, and how many are sent at once. Default: 2,048 and 512.
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn log_queue(mut self, max_records: usize, max_batch: usize) -> Self {
        self.logs.settings.max_queue = max_records.max(1);
        self.logs.settings.max_batch = max_batch.clamp(1, self.logs.settings.max_queue);
        self
    }

    /// How much memory the log records that wait for the exporter, or are being sent, take at most, in bytes. Default:
    /// 16 MiB.
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn log_queue_bytes(mut self, max_bytes: usize) -> Self {
        self.logs.settings.max_bytes = max_bytes;
        self
    }

    /// How long a batch of log records is tried, all attempts together. Default: 30 seconds.
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn log_export_timeout(mut self, timeout: Duration) -> Self {
        self.logs.settings.export_timeout = timeout;
        self
    }

    /// How long dropping the last handle waits until log records are sent. Default: 5 seconds.
    #[cfg(feature = "otlp")]
    pub fn log_drop_timeout(mut self, timeout: Duration) -> Self {
        self.logs.drop_timeout = timeout;
        self
    }

    /// How much memory the spans that wait for the exporter, or are being sent, take at most, in bytes. Default: 16 MiB.
    pub fn queue_bytes(mut self, max_bytes: usize) -> Self {
        self.settings.max_bytes = max_bytes;
        self
    }

    /// How many spans wait for the exporter at most, and how many are sent at once. Default: 2,048 and 512.
    pub fn queue(mut self, max_spans: usize, max_batch: usize) -> Self {
        self.settings.max_queue = max_spans.max(1);
        self.settings.max_batch = max_batch.clamp(1, self.settings.max_queue);
        self
    }

    /// How long a span waits for others to be sent with. Default: 5 seconds.
    pub fn export_delay(mut self, delay: Duration) -> Self {
        self.settings.delay = delay;
        self
    }

    /// How long a batch of spans is tried, all attempts together. Default: 30 seconds. How long one attempt may take:
    /// [`Otlp::timeout`].
    pub fn export_timeout(mut self, timeout: Duration) -> Self {
        self.settings.export_timeout = timeout;
        self
    }

    /// How soon a batch of spans or log records is tried again, and which `Retry-After` is respected. Default: after up to
    /// 200 milliseconds, doubling up to 5 seconds; 5 minutes. [`Retry::max_age`] has no effect:
    /// [`export_timeout`](Self::export_timeout) is its place.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.settings.retry = retry;
        #[cfg(feature = "otlp")]
        {
            self.logs.settings.retry = retry;
        }
        self
    }

    /// Changes how receivers are reached: proxies ([`from_env`](Self::from_env) reads the usual variables), certificates where
    /// [`Otlp::ca_file`] sets none. Other than for other sinks, plain `http` to another machine is allowed: collectors within a
    /// cluster seldom have TLS.
    #[doc(alias = "proxy")]
    #[cfg(feature = "otlp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp")))]
    pub fn http(mut self, change: impl FnOnce(steeple_export::ClientBuilder) -> steeple_export::ClientBuilder) -> Self {
        self.http = change(self.http);
        self
    }

    /// The most attributes of a span, and the most bytes of one value, also of a log record. Default: 128 and 4,095.
    pub fn attribute_limits(mut self, count: u32, value_bytes: usize) -> Self {
        self.max_attributes = count;
        self.max_value = value_bytes;
        self
    }

    /// Keeps spans of some of the exported traces in this process as well: see [`KeptTraces`](crate::KeptTraces). Not with
    /// [`build_with_provider`](Self::build_with_provider). Default: none.
    pub fn keep_traces(mut self, kept: crate::KeptTraces) -> Self {
        self.kept = Some(kept);
        self
    }

    /// Whether spans or log records have a receiver: without one nothing is sent.
    pub fn has_receiver(&self) -> bool {
        #[cfg(feature = "otlp")]
        let logs = self.logs.otlp.is_some();
        #[cfg(not(feature = "otlp"))]
        let logs = false;
        logs || !matches!(self.export, Export::Nowhere)
    }

    /// Builds, with the exporter that was chosen. Without one, exchanges have traces but no spans are recorded:
    /// no thread is started and no socket opened.
    ///
    /// # Errors
    /// [`BuildError::is_setting`] for an invalid ratio, network or header, [`BuildError::is_route`] for invalid options of a
    /// route; [`BuildError::is_exporter`] when
    /// the exporter cannot be made.
    pub fn build(self) -> Result<Trace, BuildError> {
        match self.export.clone() {
            Export::Nowhere => {
                let nothing = Self { sampling: Sampling::always_off(), tail: None, ..self };
                let owner = Owner::new();
                let provider = SdkTracerProvider::builder()
                    .with_sampler(Decided(nothing.sampling.clone(), owner))
                    .with_id_generator(ExchangeIds::new(owner))
                    .build();
                let tracer = provider.tracer_with_scope(resource::scope());
                let resource = nothing.make_resource();
                let routes = nothing.checked_routes()?;
                let made =
                    Made { tracer, owner, resource, foreign: false, queue: None, hold: None, routes, receiver: None };
                nothing.finish(made)
            }
            #[cfg(feature = "otlp")]
            Export::Otlp(otlp) => self.export_by(&otlp),
            #[cfg(feature = "otlp")]
            Export::NewRelic(new_relic) => {
                let otlp = Otlp::of_new_relic(&new_relic, Signal::Traces);
                self.export_by(&otlp)
            }
            #[cfg(not(feature = "otlp"))]
            Export::Otlp(_) | Export::NewRelic(_) => Err(BuildError::no_exporter()),
        }
    }

    #[cfg(feature = "otlp")]
    fn export_by(self, otlp: &Otlp) -> Result<Trace, BuildError> {
        let (resource, bounds) = (self.make_resource(), self.bounds());
        let wire = Wire::new(otlp, Signal::Traces, &resource, &bounds)?;
        let client = export::client(otlp, &self.http, &wire)?;
        let spans = Spans { wire, bounds };
        let pipeline = self.settings.pipeline("traces", otlp.timeout);
        let queue = pipeline.build(move || Ok(steeple_export::Http::new(client.clone(), spans.clone())))?;
        self.export_through(queue, resource, otlp.receiver(Signal::Traces))
    }

    pub(crate) fn export_by_sdk(self, exporter: impl SpanExporter + 'static) -> Result<Trace, BuildError> {
        let resource = self.make_resource();
        let exporter = OfSdk::new(exporter, &resource, self.bounds());
        // It may do anything, so it gets a thread.
        let pipeline = self.settings.pipeline("traces", self.settings.export_timeout).own_thread();
        let queue = pipeline.build(move || Ok(exporter.clone()))?;
        self.export_through(queue, resource, None)
    }

    pub(crate) fn on_provider(self, provider: &SdkTracerProvider) -> Result<Trace, BuildError> {
        let tracer = provider.tracer_with_scope(resource::scope());
        let shown = Self { show_unsampled: true, tail: None, ..self };
        let resource = shown.make_resource();
        let routes = shown.checked_routes()?;
        shown.finish(Made {
            tracer,
            owner: Owner::new(),
            resource,
            foreign: true,
            queue: None,
            hold: None,
            routes,
            receiver: None,
        })
    }

    fn export_through(
        self,
        queue: Pipeline<SpanData>,
        resource: Resource,
        receiver: Option<String>,
    ) -> Result<Trace, BuildError> {
        let routes = self.checked_routes()?;
        let hold = self.tail.clone().map(|tail| Arc::new(Hold::new(tail, Arc::clone(&routes), queue.clone())));
        let processor = Processor {
            queue: queue.clone(),
            hold: hold.clone(),
            routes: Arc::clone(&routes),
            timeout: self.settings.export_timeout,
            max_attributes: self.max_attributes,
        };
        let owner = Owner::new();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_sampler(Decided(self.sampling.clone(), owner))
            .with_id_generator(ExchangeIds::new(owner))
            .with_max_attributes_per_span(self.max_attributes)
            .with_span_processor(processor)
            .build();
        let tracer = provider.tracer_with_scope(resource::scope());
        self.finish(Made { tracer, owner, resource, foreign: false, queue: Some(queue), hold, routes, receiver })
    }

    /// The options for single routes, if they and the general ratio are valid.
    fn checked_routes(&self) -> Result<Arc<RouteSettings<RoutePolicy>>, BuildError> {
        self.sampling.check()?;
        let routes = self.routes.iter().map(|(route, options)| Ok((route, options.clone().build()?)));
        let routes = routes.collect::<Result<Vec<_>, RouteError>>().map_err(BuildError::route)?;
        Ok(Arc::new(RouteSettings::new(routes)))
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            scrubber: self.scrubber.clone(),
            max_value: self.max_value,
            max_attributes: usize::try_from(self.max_attributes).unwrap_or(usize::MAX),
            kept: self.kept.clone(),
        }
    }

    fn make_resource(&self) -> Resource {
        resource::of(self.service_name.as_deref(), &self.resource)
    }

    fn finish(mut self, made: Made) -> Result<Trace, BuildError> {
        self.trust.check()?;
        self.capture.request = header_names(&self.captured)?;
        self.capture.response = header_names(&self.captured_of_response)?;
        #[cfg(feature = "otlp")]
        let of_logs = self.logs.otlp.as_ref().and_then(|otlp| otlp.receiver(Signal::Logs));
        #[cfg(not(feature = "otlp"))]
        let of_logs = None;
        let diagnosis = Diagnosis::new(made.receiver, of_logs, made.foreign, self.diagnose_timeout);
        #[cfg(feature = "otlp")]
        let logs = match self.logs.otlp.take() {
            Some(otlp) => {
                let settings = (self.logs.settings, self.logs.drop_timeout);
                Some(Arc::new(Logs::start(&otlp, settings, &self.http, &made.resource, self.bounds())?))
            }
            None => None,
        };
        let recording = Arc::new(Recording::new(&self.bounds()));
        Ok(Trace(Arc::new(Inner {
            tracer: Tracer::new(made.tracer, recording),
            owner: made.owner,
            queue: made.queue,
            hold: made.hold,
            #[cfg(feature = "otlp")]
            logs,
            sampling: self.sampling,
            routes: made.routes,
            propagators: self.propagators,
            trust: self.trust,
            scrubber: self.scrubber,
            max_value: self.max_value,
            max_attributes: self.max_attributes,
            capture: self.capture,
            response_header: self.response_header,
            behind_proxy: self.behind_proxy,
            trusts_peer: self.proxies_of,
            default_scheme: if self.https { "https" } else { "http" },
            peer_of: self.peer_of,
            show_unsampled: self.show_unsampled,
            new_relic: matches!(self.export, Export::NewRelic(_)).then_some(self.apdex),
            diagnosis,
            kept: self.kept,
        })))
    }
}

/// What a way of exporting comes with.
struct Made {
    tracer: SdkTracer,
    owner: Owner,
    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "the resource of log records"))]
    resource: Resource,
    foreign: bool,
    queue: Option<Pipeline<SpanData>>,
    hold: Option<Arc<Hold>>,
    routes: Arc<RouteSettings<RoutePolicy>>,
    receiver: Option<String>,
}

fn header_names(names: &[String]) -> Result<Vec<HeaderName>, BuildError> {
    let parse = |name: &String| {
        name.parse::<HeaderName>().map_err(|_not_a_name| {
            BuildError::setting("a header to capture", name.clone(), "the name of a header, such as `x-tenant`")
        })
    };
    names.iter().map(parse).collect()
}

impl std::fmt::Debug for TraceBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceBuilder")
            .field("service_name", &self.service_name)
            .field("sampling", &self.sampling)
            .field("tail_sampling", &self.tail)
            .field("propagators", &self.propagators)
            .field("export", &self.export)
            .finish_non_exhaustive()
    }
}
