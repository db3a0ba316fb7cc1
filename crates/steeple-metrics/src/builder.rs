use std::{
    sync::{Arc, Mutex, OnceLock, RwLock},
    time::Duration,
};

use steeple_core::{Exchange, RouteOptions, RouteSettings, clock};
use steeple_scrub::Scrubber;

use crate::{
    Buckets, BuildError, GrpcType, Measure, Metrics, Names, Registry,
    app::{build_info::BuildInfo, named::Named, process::Process, users::ActiveUsers},
    append::Appended,
    core::{CallOptions, Core},
    encode::Source,
    folded::{Folded, HIGHEST_MAX_VALUE, MAX_VALUE},
    grpc::Grpc,
    http::{Http, HttpOptions, Limits},
    idle::Idle,
    indicator::{Grid, ResourceFamilies, ResourceOptions},
    layout::{Layout, Scale},
    metrics::Inner,
    own_labels::OwnLabels,
    registry,
    route::OfRoute,
    series::{Name, begun_ms},
};

/// Options for [`Metrics`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are built"]
pub struct MetricsBuilder {
    registry: Option<Registry>,
    merged: Vec<Registry>,
    appended: Vec<Appended>,
    names: Names,
    scheme: Name,
    measure: Measure,
    routes: Vec<(String, RouteOptions)>,
    apdex: Option<Duration>,
    buckets: Buckets,
    size_buckets: Buckets,
    native: bool,
    limits: Limits,
    max_grpc_methods: usize,
    known_routes: Vec<Name>,
    grpc_methods: Vec<(Name, GrpcType)>,
    own_labels: OwnLabels,
    max_family_series: usize,
    idle: Option<Duration>,
    max_label_bytes: usize,
    calls: CallOptions,
    active_users: Option<Duration>,
    active_users_alias: Option<String>,
    process: bool,
    resources: ResourceOptions,
    build: Option<(String, String)>,
    scrubber: Scrubber,
    #[cfg(feature = "otel")]
    pub(crate) meter: Option<opentelemetry::metrics::Meter>,
}

impl Default for MetricsBuilder {
    fn default() -> Self {
        Self {
            registry: None,
            merged: Vec::new(),
            appended: Vec::new(),
            names: Names::Classic,
            scheme: "http".into(),
            measure: Measure::Everything,
            routes: Vec::new(),
            apdex: None,
            buckets: Buckets::opentelemetry(),
            size_buckets: Buckets::sizes(),
            native: true,
            limits: Limits { routes: 1000, series: 10_000 },
            max_grpc_methods: 500,
            known_routes: Vec::new(),
            grpc_methods: Vec::new(),
            own_labels: OwnLabels::default(),
            max_family_series: 200,
            idle: None,
            max_label_bytes: MAX_VALUE,
            calls: CallOptions::default(),
            active_users: Some(Duration::from_secs(300)),
            active_users_alias: None,
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
    /// The registry that the metrics live in; its prefix and labels are kept. Default: a new one.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = prometheus::Registry::new_custom(Some("shop".to_owned()), None)?;
    /// let metrics = steeple_metrics::Metrics::builder().registry(registry.clone()).build()?;
    /// let page = String::from_utf8_lossy(&metrics.render(None, None).body).into_owned();
    /// assert!(page.contains("# TYPE shop_http_requests_in_flight gauge\n"));
    /// # Ok(()) }
    /// ```
    pub fn registry(mut self, registry: impl Into<Registry>) -> Self {
        self.registry = Some(registry.into());
        self
    }

    /// Another registry whose families appear in the same answer. May be called again.
    pub fn merge(mut self, registry: impl Into<Registry>) -> Self {
        self.merged.push(registry.into());
        self
    }

    /// The page of another recorder, whose families appear in the same answer: `render` returns text in Prometheus' format 0.0.4, as
    /// `PrometheusHandle::render` of `metrics-exporter-prometheus` does. May be called again. `name` is what the log calls it.
    ///
    /// A family of the same name and kind as one of ours, or of a registry's, is shown with its series beside those; one of another
    /// kind is not shown. Either is a warning, once. Where `render` panics, its families are missing, which is counted in
    /// `steeple_metrics_collector_panics_total`.
    ///
    /// ```
    /// use steeple_metrics::Metrics;
    ///
    /// // let handle = PrometheusBuilder::new().install_recorder()?;
    /// # struct Handle;
    /// # impl Handle { fn render(&self) -> String { "# TYPE jobs_waiting gauge\njobs_waiting{queue=\"mail\"} 3\n".to_owned() } }
    /// # let handle = Handle;
    /// let metrics = Metrics::builder().append("the metrics crate", move || handle.render()).build()?;
    /// let page = String::from_utf8_lossy(&metrics.render(None, None).body).into_owned();
    /// assert!(page.contains("jobs_waiting{queue=\"mail\"} 3\n"));
    /// # Ok::<(), steeple_metrics::BuildError>(())
    /// ```
    pub fn append(mut self, name: impl Into<String>, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.appended.push(Appended { name: name.into(), render: Arc::new(render) });
        self
    }

    /// Which names the request metrics have. Default: the classic ones.
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// OpenTelemetry's names as well, beside the classic ones where these are on.
    pub fn with_otel_names(mut self) -> Self {
        if self.names == Names::Classic {
            self.names = Names::Both;
        }
        self
    }

    /// The value of OpenTelemetry's label `url_scheme`. Default: `http`.
    ///
    /// It is a setting because behind a proxy only headers have it, and those are the client's.
    pub fn url_scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = scheme.into();
        self
    }

    /// Which routes are measured. Default: everything.
    pub fn measure(mut self, measure: Measure) -> Self {
        self.measure = measure;
        self
    }

    /// How one route is measured: `/exports/{id}`, or `GET /exports/{id}` for one method. What a layer or a handler
    /// [applies](steeple_core::RouteLayer::apply) comes first. Reads [`RouteMetrics`](crate::RouteMetrics), and whether
    /// [metrics are skipped](RouteOptions::skip); the rest is for the other signals.
    ///
    /// ```
    /// use steeple_core::RouteOptions;
    /// use steeple_metrics::{Buckets, Metrics, RouteMetrics};
    ///
    /// let exports = RouteOptions::new().buckets(Buckets::new([1.0, 10.0, 60.0]));
    /// let metrics = Metrics::builder().route("/exports/{id}", exports).build()?;
    /// # let _unused = metrics;
    /// # Ok::<(), steeple_metrics::BuildError>(())
    /// ```
    pub fn route(mut self, route: impl Into<String>, options: RouteOptions) -> Self {
        self.routes.push((route.into(), options));
        self
    }

    /// Counts requests by how satisfied their users are, in `http_apdex_requests_total{method,route,zone}`, by this threshold T.
    /// That of a route, [`RouteOptions::apdex`], comes first. Default: none, which also leaves out the family.
    ///
    /// Calls of gRPC methods, streams of events and upgraded connections are not counted.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steeple_core::RouteOptions;
    /// use steeple_metrics::Metrics;
    ///
    /// let exports = RouteOptions::new().apdex(Duration::from_secs(5));
    /// let metrics = Metrics::builder().apdex(Duration::from_millis(500)).route("POST /exports", exports).build()?;
    /// # let _unused = metrics;
    /// # Ok::<(), steeple_metrics::BuildError>(())
    /// ```
    #[doc(alias = "apdex_t")]
    pub fn apdex(mut self, threshold: Duration) -> Self {
        self.apdex = Some(threshold);
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

    /// The maximum number of distinct routes. Default: 1,000. Half of them are kept for templates that were there before any
    /// request: the router's own, and texts known at compile time.
    pub fn max_routes(mut self, routes: usize) -> Self {
        self.limits.routes = routes;
        self
    }

    /// Most series of one family. Default: 10,000. Every route has room for 8 more.
    pub fn max_series(mut self, series: usize) -> Self {
        self.limits.series = series;
        self
    }

    /// The maximum number of distinct gRPC methods. Default: 500.
    pub fn max_grpc_methods(mut self, methods: usize) -> Self {
        self.max_grpc_methods = methods;
        self
    }

    /// Routes that have their place from the start, whatever comes.
    pub fn known_routes<R: Into<String>>(mut self, routes: impl IntoIterator<Item = R>) -> Self {
        self.known_routes.extend(routes.into_iter().map(|route| Name::from(route.into())));
        self
    }

    /// Adds a label to the request metrics. The value is read at the end of each exchange: an attribute, a part of the user, a
    /// header that the handler noted. `None` is an empty value, which Prometheus shows as no label.
    ///
    /// - At most 8 labels. A request that is gRPC has none of them.
    /// - Values are scrubbed, cut to [`max_label_bytes`](Self::max_label_bytes) and capped with the route: what finds no room within
    ///   [`max_label_series`](Self::max_label_series) counts with its route under the value `_OTHER`, whose room is reserved, and
    ///   in `steeple_metrics_label_overflow_total{label="own"}`.
    /// - Each request then pays for reading the values and for a second look-up.
    /// - A function that panics reads no value.
    ///
    /// ```
    /// use steeple_core::AttributeValue;
    /// use steeple_metrics::Metrics;
    ///
    /// let metrics = Metrics::builder().label("plan", |exchange| {
    ///     exchange.attributes().into_iter().find_map(|(key, value)| match value {
    ///         AttributeValue::Text(text) if key.as_str() == "plan" => Some(text.to_string()),
    ///         _ => None,
    ///     })
    /// });
    /// # metrics.build()?;
    /// # Ok::<(), steeple_metrics::BuildError>(())
    /// ```
    #[doc(alias = "tag")]
    #[doc(alias = "dimension")]
    pub fn label<F>(mut self, name: impl Into<String>, value: F) -> Self
    where
        F: Fn(&Exchange) -> Option<String> + Send + Sync + 'static,
    {
        self.own_labels.add(name.into(), value);
        self
    }

    /// Most combinations of a route and the values of [further labels](Self::label). Default: 1,000.
    pub fn max_label_series(mut self, combinations: usize) -> Self {
        self.own_labels.set_max(combinations);
        self
    }

    /// A gRPC method, `pkg.Service/Method`, that has its place from the start, and the value of its label `grpc_type`.
    pub fn grpc_method(mut self, method: impl Into<String>, kind: GrpcType) -> Self {
        self.grpc_methods.push((method.into().into(), kind));
        self
    }

    /// Most series of each family about anything but requests: queries, caches, the application's own. Default: 200.
    pub fn max_family_series(mut self, series: usize) -> Self {
        self.max_family_series = series;
        self
    }

    /// The maximum length of a label value in bytes: a longer one is cut at a character boundary when its series is made, and counted in
    /// `steeple_metrics_label_values_changed_total{reason="too_long"}`. Default: 128. At least 1, at most 2,048.
    pub fn max_label_bytes(mut self, bytes: usize) -> Self {
        self.max_label_bytes = bytes.clamp(1, HIGHEST_MAX_VALUE);
        self
    }

    /// Leaves series out of `/metrics` and of what is pushed once nothing has been counted in them for as long: of customers that are
    /// gone, of versions that are no longer called. Counters and histograms with labels, by what each scrape finds; gauges and what the
    /// application registers itself stay. How often it happened is in `steeple_metrics_series_expired_total`. Default: never.
    ///
    /// Series of requests with values of [your own labels](Self::label) are removed: others get their room, and one that counts again
    /// begins at 0, with a new created timestamp, after a scrape without it, which is a reset as Prometheus knows it from a restart. In
    /// the process no sum falls: [`reading`](Metrics::reading), alerts and the dashboard have what was removed in the totals of its
    /// route. All other series keep their room; one that counts again is shown again and goes on from its former value, so that no rate
    /// sees a reset. [`values`](Metrics::values) leaves out the same series.
    #[doc(alias = "idle_timeout")]
    pub fn expire_idle(mut self, after: Duration) -> Self {
        self.idle = Some(after);
        self
    }

    /// Most distinct hosts of outgoing calls, beside [known ones](Self::known_servers). Default: 100.
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

    /// Shows `active_users` under a second name as well: `active_users_total` for panels that ask for it. Default: none.
    pub fn active_users_alias(mut self, name: impl Into<String>) -> Self {
        self.active_users_alias = Some(name.into());
        self
    }

    /// Does not look at who the users are.
    pub fn without_active_users(mut self) -> Self {
        self.active_users = None;
        self
    }

    /// Leaves out the metrics of the process. By default they are shown, on Linux, unless the registry has such metrics already.
    pub fn without_process(mut self) -> Self {
        self.process = false;
        self
    }

    /// Where processor, memory and disk are read. Default: the machine's own files, and the disk of the working directory.
    pub fn resources(mut self, resources: ResourceOptions) -> Self {
        self.resources = resources;
        self
    }

    /// The labels of `build_info`. Default: no such metric.
    pub fn build_info(mut self, service: impl Into<String>, version: impl Into<String>) -> Self {
        self.build = Some((service.into(), version.into()));
        self
    }

    /// The labels of `build_info`, unless they are set.
    pub fn build_info_or(mut self, service: impl Into<String>, version: impl Into<String>) -> Self {
        self.build.get_or_insert_with(|| (service.into(), version.into()));
        self
    }

    /// Scrubs label values, once, when a series is made. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// Checks everything and registers the families.
    ///
    /// # Errors
    /// [`BuildError::is_name`] for a label that cannot be one or is there already, [`BuildError::is_too_many`] for a ninth one; [`BuildError::is_bounds`] for unusable buckets; [`BuildError::is_name_taken`] when the registry has a family of
    /// one of these names already.
    pub fn build(mut self) -> Result<Metrics, BuildError> {
        let routes = std::mem::take(&mut self.routes).into_iter();
        let routes =
            routes.map(|(route, options)| Ok((route, OfRoute::of(&options.build().map_err(BuildError::route)?))));
        let routes = routes.collect::<Result<Vec<_>, BuildError>>()?;
        let latency = Arc::new(Layout::new(&self.buckets, Scale::Seconds, self.native)?);
        let sizes = Arc::new(Layout::new(&self.size_buckets, Scale::Bytes, self.native)?);
        let folded = Arc::new(Folded::new(self.scrubber, self.max_label_bytes));
        let _measures_from_now_on = begun_ms();
        let http = Arc::new(Http::new(HttpOptions {
            own: self.own_labels.check()?,
            names: self.names,
            scheme: self.scheme,
            limits: self.limits,
            latency: Arc::clone(&latency),
            sizes: Arc::clone(&sizes),
            known_routes: self.known_routes,
            folded: Arc::clone(&folded),
            expires: self.idle.is_some(),
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
        let idle = self.idle.map(|after| Arc::new(Idle::new(after)));
        let core = Arc::new(Core {
            http: Arc::clone(&http),
            grpc: Arc::clone(&grpc),
            measure: self.measure,
            routes: RouteSettings::new(routes),
            apdex: self.apdex,
            idle: idle.clone(),
            folded,
            collector_panics: Arc::default(),
            #[cfg(feature = "otel")]
            otel: self.meter.map(|meter| crate::opentelemetry::Otel::new(meter, &latency, &sizes)),
            users: self
                .active_users
                .map(|window| Arc::new(ActiveUsers::new(window).with_alias(self.active_users_alias))),
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
            appended: self.appended,
            sources: RwLock::new(own.to_vec()),
            cache: OnceLock::new(),
            database: OnceLock::new(),
            watcher: crate::app::watcher::Watcher::default(),
            pools: OnceLock::new(),
            named: Named::default(),
            warned: Mutex::default(),
            history: OnceLock::new(),
            today: OnceLock::new(),
            client: OnceLock::new(),
            #[cfg(feature = "push")]
            pushes: OnceLock::new(),
            #[cfg(feature = "tokio-runtime")]
            runtime: OnceLock::new(),
        }));
        if let Some(idle) = idle {
            metrics.add_or_yield("idle series", &[idle as _]);
        }
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
