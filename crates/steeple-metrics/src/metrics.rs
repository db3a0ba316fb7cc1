use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

use prometheus::Registry;
use steeple_core::{ObserveLayer, clock};
use steeple_scrub::Scrubber;

use crate::{
    Buckets, BuildError, Business, Cache, Database, GrpcType, Names,
    beyond::{build_info::BuildInfo, connections::Pools, process::Process, users::ActiveUsers},
    client::CallOptions,
    collectors::CollectorPanics,
    encode::Source,
    folded::Folded,
    grpc::Grpc,
    http::{Http, HttpOptions, Limits},
    indicator::{Grid, ResourceFamilies, ResourceOptions},
    layout::{Layout, Scale},
    registry,
    series::Name,
};

/// The metrics of a service. A cheap clone, and an [`Observer`](steeple_core::Observer).
///
/// # Examples
/// ```
/// use steeple_metrics::Metrics;
///
/// # fn main() -> Result<(), steeple_metrics::BuildError> {
/// let metrics = Metrics::builder().build()?;
/// let layer = metrics.layer();
/// let page = metrics.render(None, None);
/// assert_eq!(page.content_type, "text/plain; version=0.0.4; charset=utf-8");
/// # let _unused = layer;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Metrics(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    pub(crate) registry: Registry,
    /// What the registry does to names, from the first scrape on.
    pub(crate) naming: OnceLock<registry::Naming>,
    /// Other registries whose families appear in the same answer.
    pub(crate) merged: Vec<Registry>,
    /// All that is ours, in the order in which it is printed.
    pub(crate) sources: RwLock<Vec<Arc<dyn Source>>>,
    pub(crate) business: OnceLock<Business>,
    pub(crate) cache: OnceLock<Cache>,
    pub(crate) database: OnceLock<Database>,
    pub(crate) pools: OnceLock<Arc<Pools>>,
    /// Names that were warned of because they are in two places.
    pub(crate) warned: Mutex<HashSet<String>>,
    pub(crate) history: OnceLock<crate::indicator::History>,
    pub(crate) client: OnceLock<crate::client::ClientCalls>,
    #[cfg(feature = "push")]
    pub(crate) pushes: OnceLock<Arc<crate::family::Family>>,
    #[cfg(feature = "tokio-runtime")]
    pub(crate) runtime: OnceLock<()>,
}

/// What a request's path touches.
pub(crate) struct Core {
    pub(crate) http: Arc<Http>,
    pub(crate) grpc: Arc<Grpc>,
    pub(crate) measure: Measure,
    pub(crate) folded: Arc<Folded>,
    pub(crate) collector_panics: Arc<CollectorPanics>,
    pub(crate) users: Option<Arc<ActiveUsers>>,
    #[cfg(feature = "otel")]
    pub(crate) otel: Option<crate::otel::Otel>,
    /// The buckets of durations that nobody gave buckets of their own.
    pub(crate) latency: Arc<Layout>,
    /// The cells that durations of all requests are added up in.
    pub(crate) grid: Grid,
    pub(crate) resources: Arc<ResourceOptions>,
    pub(crate) native: bool,
    pub(crate) started: Instant,
    pub(crate) max_family_series: usize,
    pub(crate) calls: CallOptions,
}

impl Core {
    /// Tells one suite of metrics from another.
    pub(crate) fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }
}

/// Which routes are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// All but those that [opted out](crate::RouteOptions::unmeasured).
    #[default]
    Everything,
    /// Those alone that [opted in](crate::RouteOptions::measured).
    OptedIn,
}

impl Metrics {
    /// Metrics with all defaults, in a registry of their own.
    ///
    /// # Errors
    /// None as things are; see [`MetricsBuilder::build`].
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Options, all with a default.
    pub fn builder() -> MetricsBuilder {
        MetricsBuilder::default()
    }

    /// A layer that measures.
    pub fn layer(&self) -> ObserveLayer<Self> {
        ObserveLayer::new(self.clone())
    }

    /// The registry that the metrics live in.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Adds families: to the registry, and to what is rendered.
    pub(crate) fn add(&self, source: Arc<dyn Source>) -> Result<(), BuildError> {
        // OpenMetrics calls a counter `jobs_total` by the name of a gauge `jobs`.
        let taken = self.0.sources.read().unwrap_or_else(PoisonError::into_inner).iter().any(|other| {
            let others = other.families();
            source.families().iter().any(|new| others.iter().any(|old| new.is_called_like(old)))
        });
        if taken {
            return Err(BuildError::registry(prometheus::Error::AlreadyReg));
        }
        registry::register(&self.0.registry, self.0.core.id(), Arc::clone(&source), false)?;
        #[cfg(feature = "otel")]
        if let Some(otel) = &self.0.core.otel {
            otel.watch(&source);
        }
        self.0.sources.write().unwrap_or_else(PoisonError::into_inner).push(source);
        Ok(())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("registry", &self.0.registry).finish_non_exhaustive()
    }
}

/// Options for [`Metrics`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are built"]
pub struct MetricsBuilder {
    registry: Option<Registry>,
    merged: Vec<Registry>,
    names: Names,
    scheme: Name,
    measure: Measure,
    buckets: Buckets,
    size_buckets: Buckets,
    native: bool,
    limits: Limits,
    max_grpc_methods: usize,
    known_routes: Vec<Name>,
    grpc_methods: Vec<(Name, GrpcType)>,
    max_family_series: usize,
    calls: CallOptions,
    active_users: Option<Duration>,
    process: bool,
    resources: ResourceOptions,
    build: Option<(String, String)>,
    scrubber: Scrubber,
    #[cfg(feature = "otel")]
    meter: Option<opentelemetry::metrics::Meter>,
}

impl Default for MetricsBuilder {
    fn default() -> Self {
        Self {
            registry: None,
            merged: Vec::new(),
            names: Names::Classic,
            scheme: "http".into(),
            measure: Measure::Everything,
            buckets: Buckets::opentelemetry(),
            size_buckets: Buckets::sizes(),
            native: true,
            limits: Limits { routes: 1000, series: 10_000 },
            max_grpc_methods: 500,
            known_routes: Vec::new(),
            grpc_methods: Vec::new(),
            max_family_series: 200,
            calls: CallOptions::default(),
            active_users: Some(Duration::from_secs(300)),
            process: true,
            resources: ResourceOptions::default(),
            build: None,
            scrubber: Scrubber::default(),
            #[cfg(feature = "otel")]
            meter: None,
        }
    }
}

impl MetricsBuilder {
    /// The registry that the metrics live in; a prefix or labels of its own are kept. Default: one of their own.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Another registry whose families appear in the same answer. May be called again.
    pub fn merge(mut self, registry: Registry) -> Self {
        self.merged.push(registry);
        self
    }

    /// Which names the request metrics have. Default: the classic ones.
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// The value of OpenTelemetry's label `url_scheme`. Default: `http`.
    ///
    /// It is a setting because behind a proxy only headers would tell, and those are the client's.
    pub fn url_scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = scheme.into();
        self
    }

    /// Which routes are measured. Default: everything.
    pub fn measure(mut self, measure: Measure) -> Self {
        self.measure = measure;
        self
    }

    /// Classic buckets of durations, in seconds. Default: [`Buckets::opentelemetry`].
    pub fn buckets(mut self, buckets: Buckets) -> Self {
        self.buckets = buckets;
        self
    }

    /// Classic buckets of sizes, in bytes. Default: [`Buckets::sizes`].
    pub fn size_buckets(mut self, buckets: Buckets) -> Self {
        self.size_buckets = buckets;
        self
    }

    /// Keeps no native histograms: a twelfth of the memory, and quantiles no finer than the classic buckets.
    pub fn classic_histograms_only(mut self) -> Self {
        self.native = false;
        self
    }

    /// Most routes that are told apart. Default: 1,000. Half of them are kept for templates that were there before any
    /// request: the router's own, and texts known at compile time.
    pub fn max_routes(mut self, routes: usize) -> Self {
        self.limits.routes = routes;
        self
    }

    /// Most series of one family. Default: 10,000. Every route has room for 8 of its own beside that.
    pub fn max_series(mut self, series: usize) -> Self {
        self.limits.series = series;
        self
    }

    /// Most gRPC methods that are told apart. Default: 500.
    pub fn max_grpc_methods(mut self, methods: usize) -> Self {
        self.max_grpc_methods = methods;
        self
    }

    /// Routes that have their place from the start, whatever comes.
    pub fn known_routes<R: Into<String>>(mut self, routes: impl IntoIterator<Item = R>) -> Self {
        self.known_routes.extend(routes.into_iter().map(|route| Name::from(route.into())));
        self
    }

    /// A gRPC method, `pkg.Service/Method`, that has its place from the start, and what the label `grpc_type` says of it.
    pub fn grpc_method(mut self, method: impl Into<String>, kind: GrpcType) -> Self {
        self.grpc_methods.push((method.into().into(), kind));
        self
    }

    /// Most series of each family about anything but requests: queries, caches, the application's own. Default: 200.
    pub fn max_family_series(mut self, series: usize) -> Self {
        self.max_family_series = series;
        self
    }

    /// Most hosts that outgoing calls tell apart, beside [known ones](Self::known_servers). Default: 100.
    pub fn max_servers(mut self, servers: usize) -> Self {
        self.calls.max_servers = servers;
        self
    }

    /// Hosts that outgoing calls go to and that have their place from the start, whatever comes.
    pub fn known_servers<H: Into<String>>(mut self, hosts: impl IntoIterator<Item = H>) -> Self {
        self.calls.known_servers.extend(hosts.into_iter().map(|host| host.into().to_ascii_lowercase().into()));
        self
    }

    /// Over how long users count as active. Default: 5 minutes. 12 KiB of memory, however many users there are, and a standard
    /// error of 2.3 %.
    pub fn active_users(mut self, window: Duration) -> Self {
        self.active_users = Some(window);
        self
    }

    /// Does not look at who the users are.
    pub fn without_active_users(mut self) -> Self {
        self.active_users = None;
        self
    }

    /// Says nothing of the process. By default it does, on Linux, unless the registry has such metrics already.
    pub fn without_process(mut self) -> Self {
        self.process = false;
        self
    }

    /// Where processor, memory and disk are read. Default: the machine's own files, and the disk of the working directory.
    pub fn resources(mut self, resources: ResourceOptions) -> Self {
        self.resources = resources;
        self
    }

    /// What `build_info` says. Default: there is no such metric.
    pub fn build_info(mut self, service: impl Into<String>, version: impl Into<String>) -> Self {
        self.build = Some((service.into(), version.into()));
        self
    }

    /// Scrubs label values, once, when a series is made. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// Records through the OpenTelemetry SDK as well, by this meter: `http.server.request.duration` and its like, and every
    /// other metric by its own name. The SDK sends them wherever it is told to. Default: it hears nothing.
    ///
    /// Each exchange then pays for the SDK's recording too, some hundred nanoseconds and a few allocations.
    #[cfg(feature = "otel")]
    pub fn meter(mut self, meter: opentelemetry::metrics::Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Checks everything and registers the families.
    ///
    /// # Errors
    /// [`BuildError::is_bounds`] for unusable buckets; [`BuildError::is_name_taken`] when the registry has a family of
    /// one of these names already.
    pub fn build(mut self) -> Result<Metrics, BuildError> {
        let latency = Arc::new(Layout::new(&self.buckets, Scale::Seconds, self.native)?);
        let sizes = Arc::new(Layout::new(&self.size_buckets, Scale::Bytes, self.native)?);
        let folded = Arc::new(Folded::new(self.scrubber));
        let http = Arc::new(Http::new(HttpOptions {
            names: self.names,
            scheme: self.scheme,
            limits: self.limits,
            latency: Arc::clone(&latency),
            sizes: Arc::clone(&sizes),
            known_routes: self.known_routes,
            folded: Arc::clone(&folded),
        }));
        let (max, known) = (self.max_grpc_methods, self.grpc_methods);
        self.calls = CallOptions {
            names: self.names,
            sizes: Some(Arc::clone(&sizes)),
            max_grpc_methods: max,
            grpc_methods: known.clone(),
            ..self.calls
        };
        let grpc = Arc::new(Grpc::new(self.names, Arc::clone(&latency), max, known, Arc::clone(&folded)));
        let core = Arc::new(Core {
            http: Arc::clone(&http),
            grpc: Arc::clone(&grpc),
            measure: self.measure,
            folded,
            collector_panics: Arc::default(),
            #[cfg(feature = "otel")]
            otel: self.meter.map(|meter| crate::otel::Otel::new(meter, &latency, &sizes)),
            users: self.active_users.map(|window| Arc::new(ActiveUsers::new(window))),
            grid: Grid::new(Arc::clone(&latency)),
            resources: Arc::new(self.resources),
            latency,
            native: self.native,
            started: clock::now(),
            max_family_series: self.max_family_series,
            calls: self.calls,
        });
        let registry = self.registry.unwrap_or_default();
        let own: [Arc<dyn Source>; 4] =
            [http, grpc, Arc::clone(&core.folded) as _, Arc::clone(&core.collector_panics) as _];
        for (place, source) in own.iter().enumerate() {
            registry::register(&registry, core.id(), Arc::clone(source), place == 0)?;
            #[cfg(feature = "otel")]
            if let Some(otel) = &core.otel {
                otel.watch(source);
            }
        }
        let users = core.users.clone();
        let metrics = Metrics(Arc::new(Inner {
            core,
            registry,
            naming: OnceLock::new(),
            merged: self.merged,
            sources: RwLock::new(own.to_vec()),
            business: OnceLock::new(),
            cache: OnceLock::new(),
            database: OnceLock::new(),
            pools: OnceLock::new(),
            warned: Mutex::default(),
            history: OnceLock::new(),
            client: OnceLock::new(),
            #[cfg(feature = "push")]
            pushes: OnceLock::new(),
            #[cfg(feature = "tokio-runtime")]
            runtime: OnceLock::new(),
        }));
        if let Some(users) = users {
            metrics.add_or_yield("active users", &[users as _]);
        }
        if let Some((service, version)) = self.build {
            metrics.add_or_yield("build", &[Arc::new(BuildInfo { service, version }) as _]);
        }
        if self.process {
            let resources = ResourceFamilies(Arc::clone(&metrics.0.core.resources));
            metrics.add_or_yield("process", &[Arc::new(Process) as _, Arc::new(resources) as _]);
        }
        Ok(metrics)
    }
}
