use std::{path::PathBuf, sync::Arc, time::Duration};

use steeple_core::{RequestIds, RouteOptions};
use steeple_log::{Format, Log, LogBuilder, LogGuard, PanicHook, Rotation};
use steeple_metrics::{GrpcType, Metrics, MetricsBuilder, prometheus::registry};
use steeple_scrub::Scrubber;
use steeple_transaction::{Naming, NamingBuilder};
use steeple_user::{TrustedProxies, Users, UsersBuilder};

use crate::{
    ConfigError, Steeple, SteepleLayer,
    env::{self, Lookup, Service},
    health::Checks,
    integrations::{Settings, Setup},
    jobs::JobObservers,
    logging::{Level, LogSetup},
    options::{Connections, Ending},
    own_metrics,
    pushes::Pushes,
    request_span::RequestSpans,
    shutdown::{Shutdown, Tasks},
    sink::Sinks,
    skips::Skips,
    state,
    steeple::Inner,
    summary::Summary,
    testing::{Capture, Recording},
};

/// Options for [`Steeple`], all with a default.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple::Steeple;
///
/// let steeple = Steeple::builder()
///     .service_name("shop")
///     .slow_after(Duration::from_millis(300))
///     .naming(|names| names.rename("/files/**", "/files/{path}"))
///     .without_log_setup() // the process has a subscriber
///     .build()?;
/// # Ok::<(), steeple::ConfigError>(())
/// ```
#[derive(Debug)]
#[must_use = "options do nothing until they are built"]
pub struct SteepleBuilder {
    service: Service,
    log_setup: LogSetup,
    log: LogBuilder,
    slow_after: Option<Duration>,
    log_sample_ratio: Option<f64>,
    apdex: Option<Duration>,
    pub(crate) pushes: Pushes,
    metrics: MetricsBuilder,
    routes: Vec<(String, RouteOptions)>,
    default_registry: bool,
    naming: NamingBuilder,
    users: UsersBuilder,
    /// What the environment sets for proxies; it stays when the code sets other options for users.
    proxies: Option<TrustedProxies>,
    /// The variable that set them.
    proxies_from: Option<&'static str>,
    known_methods: Option<Vec<String>>,
    request_ids: RequestIds,
    scrubber: Scrubber,
    ending: Ending,
    pub(crate) connections: Connections,
    checks: Checks,
    panic_hook: PanicHook,
    state_directory: Option<PathBuf>,
    state_interval: Duration,
    request_spans: Option<bool>,
    recording: Option<Recording>,
    /// On the heap: a builder is moved at every call, also in futures.
    pub(crate) integrations: Box<Settings>,
}

impl Default for SteepleBuilder {
    fn default() -> Self {
        Self {
            service: Service::default(),
            log_setup: LogSetup::default(),
            log: Log::builder(),
            slow_after: None,
            log_sample_ratio: None,
            apdex: None,
            pushes: Pushes::default(),
            metrics: Metrics::builder(),
            routes: Vec::new(),
            default_registry: true,
            naming: Naming::builder(),
            users: Users::builder(),
            proxies: None,
            proxies_from: None,
            known_methods: None,
            request_ids: RequestIds::new(),
            scrubber: Scrubber::default(),
            ending: Ending::default(),
            connections: Connections::default(),
            checks: Checks::default(),
            panic_hook: PanicHook::default(),
            state_directory: None,
            state_interval: Duration::from_secs(60),
            request_spans: None,
            recording: None,
            integrations: Box::default(),
        }
    }
}

impl SteepleBuilder {
    pub(crate) fn from_lookup(env: &dyn Lookup) -> Result<Self, ConfigError> {
        Ok(Self {
            service: env::service(env)?,
            log_setup: LogSetup::from_lookup(env)?,
            slow_after: env::slow_after(env)?,
            log_sample_ratio: env::log_sample_ratio(env)?,
            proxies: env::trusted_proxies(env)?,
            proxies_from: env.text(env::TRUSTED_PROXIES)?.map(|_| env::TRUSTED_PROXIES),
            known_methods: env::known_methods(env)?,
            ending: Ending::from_env(env)?,
            state_directory: env.text(state::DIRECTORY)?.map(PathBuf::from),
            pushes: Pushes::from_env(env)?,
            integrations: Box::new(Settings::from_env(env)?),
            ..Self::default()
        })
    }

    /// The name of the service, on every log line. Default: that of the executable.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service.name = Some(name.into());
        self
    }

    /// The name of the service, unless the environment sets one.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// let builder = steeple::Steeple::builder_from_env()?.service_name_or("shop").service_version_or("1.2.3");
    /// # Ok(())
    /// # }
    /// ```
    pub fn service_name_or(mut self, name: impl Into<String>) -> Self {
        self.service.name.get_or_insert_with(|| name.into());
        self
    }

    /// The version of the service, on every log line. Default: none.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.service.version = Some(version.into());
        self
    }

    /// The version of the service, unless the environment sets one: `env!("CARGO_PKG_VERSION")`.
    pub fn service_version_or(mut self, version: impl Into<String>) -> Self {
        self.service.version.get_or_insert_with(|| version.into());
        self
    }

    /// Where the service runs: `production`, `staging`. On every log line. Default: none.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.service.environment = Some(name.into());
        self
    }

    /// The region that the service runs in: `eu-central-1`. Default: none.
    pub fn region(mut self, name: impl Into<String>) -> Self {
        self.service.region = Some(name.into());
        self
    }

    /// Which log lines are written: a level, or a level with exceptions by target (`info,hyper=warn`). Default: `info`.
    pub fn log_level(mut self, level: impl Into<String>) -> Self {
        self.log_setup.level = Some(Level::new(level));
        self
    }

    /// What log lines look like. Default: pretty on a terminal, JSON elsewhere.
    pub fn log_format(mut self, format: Format) -> Self {
        self.log_setup.format = Some(format);
        self
    }

    /// Writes nothing to standard output: for a service whose lines are read from its files alone.
    pub fn without_console(mut self) -> Self {
        self.log_setup.console = false;
        self
    }

    /// Writes `combined.log` and `error.log` into this directory as well. Default: standard output only.
    pub fn log_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.log_setup.set_directory(directory);
        self
    }

    /// When the files in the directory are closed, and how many stay. Default: daily, 14 of each.
    pub fn log_rotation(mut self, rotation: Rotation) -> Self {
        self.log_setup.rotation = rotation;
        self
    }

    /// Keeps in this directory the state that survives a deploy: the metrics of the last day, the day's totals, which alerts were
    /// announced, silences and error groups. One file per instance, at most 4 MiB, written every minute and at the end; made
    /// with mode 0700. Instances of one service in one environment may share it. Default: `STEEPLE_STATE_DIR`, else none.
    pub fn state_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.state_directory = Some(directory.into());
        self
    }

    /// How often the state in [`state_directory`](Self::state_directory) is saved. Default: once a minute.
    pub fn state_interval(mut self, interval: Duration) -> Self {
        self.state_interval = interval;
        self
    }

    /// Who reports panics where Steeple sets up the log. Default: [`PanicHook::Log`], which does **not** call the hook that
    /// was installed before.
    pub fn panic_hook(mut self, hook: PanicHook) -> Self {
        self.panic_hook = hook;
        self
    }

    /// Whether each exchange has a `tracing` span, `request` of the target `steeple::request`, with `request_id`, `trace_id` and
    /// `span_id`: any formatter shows them on the lines that handlers log. Default: where the process has a subscriber that is
    /// not Steeple's. Steeple's own lines have the ids without it.
    pub fn request_spans(mut self, on: bool) -> Self {
        self.request_spans = Some(on);
        self
    }

    /// Does not set up the process's log: exchanges' lines are `tracing` events for the process's subscriber.
    ///
    /// The same happens automatically when the process has a subscriber already.
    pub fn without_log_setup(mut self) -> Self {
        self.log_setup.is_on = false;
        self
    }

    /// Changes the options for exchanges' lines, such as those of one route.
    ///
    /// Scrubber and outputs are those of everything else here. [`slow_after`](Self::slow_after), `SLOW_REQUEST_MS`,
    /// [`log_sample_ratio`](Self::log_sample_ratio) and `LOG_SAMPLE_RATIO` override the same settings here for all routes.
    #[doc(alias = "access log")]
    pub fn log(mut self, change: impl FnOnce(LogBuilder) -> LogBuilder) -> Self {
        self.log = change(self.log);
        self
    }

    /// From how long on a request is slow, which makes its line a warning. Default: 1 second.
    pub fn slow_after(mut self, duration: Duration) -> Self {
        self.slow_after = Some(duration);
        self
    }

    /// From how long on a request is tolerated, and from four times as long on frustrates (T of Apdex): in the metrics as
    /// `http_apdex_requests_total{method,route,zone}`, on New Relic's spans as `apdexPerfZone`. Overrides what `traces` sets. That of
    /// a route, [`RouteOptions::apdex`], comes first. Default: no such metric, and 500 milliseconds for New Relic.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steeple::{Steeple, core::RouteOptions};
    ///
    /// let exports = RouteOptions::new().apdex(Duration::from_secs(5));
    /// let builder = Steeple::builder().apdex(Duration::from_millis(300)).route("POST /exports", exports);
    /// # let _unused = builder;
    /// ```
    #[doc(alias = "apdex_t")]
    pub fn apdex(mut self, threshold: Duration) -> Self {
        self.metrics = self.metrics.apdex(threshold);
        self.apdex = Some(threshold);
        self
    }

    /// The share of log lines that are written of requests that went well, 0 to 1. Lines of failed or slow requests are
    /// always written. Default: 1.
    pub fn log_sample_ratio(mut self, ratio: f64) -> Self {
        self.log_sample_ratio = Some(ratio);
        self
    }

    /// Changes the options for the metrics. The families of `prometheus`'s default registry are shown as well.
    pub fn metrics(mut self, change: impl FnOnce(MetricsBuilder) -> MetricsBuilder) -> Self {
        self.metrics = change(self.metrics);
        self
    }

    /// Other options for one route, in every signal: `/reports/{id}` for every method, `GET /reports/{id}` for one,
    /// `pkg.Service/Method` for a gRPC call. Of two for the same route the first counts. A [layer](RouteOptions::layer) on the
    /// route itself comes before them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steeple::{RouteOptions, Signal, Steeple, metrics::{Objective, RouteMetrics}};
    ///
    /// let builder = Steeple::builder()
    ///     .route("/status", RouteOptions::new().skip(Signal::Log).skip(Signal::Metrics).skip(Signal::Traces))
    ///     .route("GET /reports/{id}", RouteOptions::new().slow_after(Duration::from_secs(30)).trace_sample_ratio(1.0))
    ///     .route("POST /orders", RouteOptions::new().objective(Objective::success(0.999)));
    /// # let _unused = builder;
    /// ```
    pub fn route(mut self, route: impl Into<String>, options: RouteOptions) -> Self {
        self.routes.push((route.into(), options));
        self
    }

    /// Does not show the families of `prometheus`'s default registry, where `register_counter!` and its like put theirs.
    pub fn without_default_registry(mut self) -> Self {
        self.default_registry = false;
        self
    }

    /// Changes the rules for names. Default: none, the router's templates are the names.
    pub fn naming(mut self, change: impl FnOnce(NamingBuilder) -> NamingBuilder) -> Self {
        self.naming = change(self.naming);
        self
    }

    /// Changes where the user and the client's address come from, and what sinks may see of them. Default: the user that
    /// the application sets, by id alone; the socket's address, cut to its network. `TRUSTED_PROXIES` overrides the proxies
    /// that are set here.
    pub fn users(mut self, change: impl FnOnce(UsersBuilder) -> UsersBuilder) -> Self {
        self.users = change(self.users);
        self
    }

    /// The proxies in front of the service: one setting for the client's address, the headers of a gateway, and trace context.
    /// `TRUSTED_PROXIES` sets the same. Default: none for addresses and headers; trace context is believed.
    ///
    /// Where it is set, the trace of a caller that is not one of them becomes a link, and its sampled flag is ignored.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = Some(proxies);
        self.proxies_from = None;
        self
    }

    /// The HTTP methods that are known in this process, in place of those of the standards: all others are `_OTHER`.
    pub fn known_methods<M: Into<String>>(mut self, methods: impl IntoIterator<Item = M>) -> Self {
        self.known_methods = Some(methods.into_iter().map(Into::into).collect());
        self
    }

    /// How request ids are made. Default: a client's is taken if it is short and plain.
    pub fn request_ids(mut self, ids: RequestIds) -> Self {
        self.request_ids = ids;
        self
    }

    /// What counts as a secret. Default: [`Scrubber::default`].
    #[doc(alias = "redact")]
    #[doc(alias = "mask")]
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// How long requests may take to end once the shutdown has begun, `SHUTDOWN_DELAY` included. Default: 20 seconds.
    ///
    /// With [`flush_timeout`](Self::flush_timeout) it should stay below the time after which the process is killed, which
    /// is 30 seconds in Kubernetes.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.ending.drain = timeout;
        self
    }

    /// How long all sinks together may take at the very end to send and write everything queued. Default: 5 seconds.
    pub fn flush_timeout(mut self, timeout: Duration) -> Self {
        self.ending.flush = timeout;
        self
    }

    /// How long connections are still accepted once the shutdown has begun, so that load balancers notice that `/readyz`
    /// answers 503. Part of the [`drain_timeout`](Self::drain_timeout). Default: `SHUTDOWN_DELAY`, else 0.
    pub fn shutdown_delay(mut self, delay: Duration) -> Self {
        self.ending.delay = delay;
        self
    }

    /// How long a client of [`serve`](Steeple::serve) may take to send a request head; then its connection is closed.
    /// Default: 30 seconds.
    pub fn header_read_timeout(mut self, timeout: Duration) -> Self {
        self.connections.header_read_timeout = timeout;
        self
    }

    /// How long [`serve`](Steeple::serve) pauses where the process has no file descriptor left for a connection. Default:
    /// 100 milliseconds.
    pub fn accept_pause(mut self, pause: Duration) -> Self {
        self.connections.accept_pause = pause;
        self
    }

    /// How long [`serve`](Steeple::serve) waits for requests that it has cut off after the
    /// [`drain_timeout`](Self::drain_timeout): they end at once, unless one blocks its thread. Default: 1 second.
    pub fn cut_off_timeout(mut self, timeout: Duration) -> Self {
        self.connections.cut_off_timeout = timeout;
        self
    }

    /// How long each check of [`readiness`](Self::readiness) may take; one that takes longer has failed. Default: 2 seconds.
    pub fn readiness_timeout(mut self, timeout: Duration) -> Self {
        self.checks.timeout = timeout;
        self
    }

    /// Adds a check that must pass for `/readyz` to answer 200: a database that answers. Where it fails, the answer has its
    /// name, and the log its error.
    #[doc(alias = "healthcheck")]
    pub fn readiness<F, T, E>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        self.checks.add(name, check);
        self
    }

    /// Keeps everything in memory, and sets up nothing for the whole process.
    pub(crate) fn record(mut self, recording: Recording) -> Self {
        self.recording = Some(recording);
        self
    }

    /// Checks everything, starts the integrations that are on, and sets up the log of this process.
    ///
    /// # Errors
    /// When a setting is invalid. The error has its name, its value and the allowed values.
    pub fn build(self) -> Result<Steeple, ConfigError> {
        let service = self.service.or_executable();
        let ending = self.ending.check()?;
        env::set_known_methods(self.known_methods)?;
        let naming = self.naming.build().map_err(|error| ConfigError::part("the naming rules", &error))?;
        let trust = self.proxies_from.unwrap_or("as set in code, else none");
        let trusted = self.proxies.clone();
        let users = match self.proxies {
            Some(proxies) => self.users.trusted_proxies(proxies),
            None => self.users,
        };
        let users = users.build().map_err(|error| ConfigError::part("the user", &error))?;
        let metrics = if self.default_registry {
            self.metrics.merge(prometheus::default_registry().clone())
        } else {
            self.metrics
        };
        let metrics = of_service(metrics, &naming, &service);
        let skips = Skips::new(&self.routes).map_err(|error| ConfigError::part("the options of a route", &error))?;
        let each = || self.routes.iter().map(|(route, options)| (route.as_str(), options.clone()));
        let metrics = each().fold(metrics, |metrics, (route, options)| metrics.route(route, options));
        let metrics = self.pushes.of_metrics(metrics).scrubber(self.scrubber.clone()).build();
        let metrics = metrics.map_err(|error| ConfigError::part("the metrics", &error))?;
        let id_scrubber = self.scrubber.clone();
        // An id is on every line and goes back to the client: one that holds a secret is not taken.
        let request_ids = self.request_ids.or_accept(move |id| id_scrubber.text(id).is_clean());
        let state_directory = self.state_directory.as_ref().map(|directory| directory.display().to_string());
        let state = self.state_directory.map(|directory| state::open(directory, &service, &metrics)).transpose()?;
        let shutdown = Shutdown::default();
        let mut setup = Setup::new(&service, &self.scrubber, &metrics, self.recording.clone());
        (setup.state, setup.shutdown) = (state.clone(), shutdown.clone());
        (setup.proxies, setup.apdex) = (trusted, self.apdex);
        setup.routes.clone_from(&self.routes);
        let (running, mut integrations) = self.integrations.start(&mut setup)?;
        self.pushes.start(&service, &metrics, &mut setup, &mut integrations)?;
        let Setup { mut own, sinks, counted, mut warnings, lines_as_events, started, log_outputs, .. } = setup;
        let log_sinks = log_outputs.iter().map(|output| Arc::clone(&output.sink)).collect();
        let recording = self.recording.as_ref();
        let set_up = self.log_setup.set_up(&service, &self.scrubber, &running, &metrics, log_outputs, recording)?;
        warnings.extend(set_up.warnings);
        let handle = set_up.guard.as_ref().map(LogGuard::handle);
        let log = each().fold(self.log, |log, (route, options)| log.route(route, options));
        let log = log.scrubber(self.scrubber.clone());
        let log = if lines_as_events { log.also_events() } else { log };
        let log = self.slow_after.into_iter().fold(log, LogBuilder::slow_after);
        let log = self.log_sample_ratio.into_iter().fold(log, LogBuilder::sample_ratio);
        let log = match &handle {
            Some(handle) => log.build_onto(handle),
            None => log.build_events(),
        };
        let log = log.map_err(|error| ConfigError::part("the log", &error))?;
        match &set_up.guard {
            // The hook is the process's: it is not a recorder's to replace.
            Some(guard) if self.recording.is_none() => guard.report_panics(self.panic_hook),
            Some(_) | None => steeple_core::record_panics(),
        }
        own_metrics::add(&mut own, handle, log.clone());
        let state = state.map(|state| state::Kept::start(state, self.state_interval, &mut own)).transpose()?;
        own.register(registry(&metrics));
        own_metrics::count_sinks(registry(&metrics), counted);
        let recorder = self.recording.map(Capture::new);
        let wants_spans = self.request_spans.unwrap_or(set_up.is_left_alone);
        let request_spans = wants_spans.then_some(RequestSpans);
        let summary = Summary::new(service, set_up.summary, trust, integrations, warnings);
        if let Some(directory) = state_directory {
            summary.listens("state", directory);
        }
        let jobs = JobObservers::new(&running, skips.clone(), request_ids.clone(), &log, &metrics, recorder.clone());
        Ok(Steeple::new(Inner {
            jobs,
            layer: SteepleLayer::new(running.observe(
                skips,
                request_ids,
                naming,
                users,
                log,
                metrics,
                recorder,
                request_spans,
            )),
            running,
            scrubber: self.scrubber,
            started,
            guard: set_up.guard,
            sinks: Sinks(sinks),
            log_sinks: Sinks(log_sinks),
            summary,
            checks: self.checks,
            shutdown,
            state,
            ending,
            connections: self.connections,
            tasks: Tasks::default(),
        }))
    }
}

/// Which kind each gRPC method has, and which build it is.
fn of_service(metrics: MetricsBuilder, naming: &Naming, service: &Service) -> MetricsBuilder {
    let metrics = naming.grpc_methods().iter().fold(metrics, |metrics, method| {
        let kind = match (method.client_streaming, method.server_streaming) {
            (false, false) => GrpcType::Unary,
            (true, false) => GrpcType::ClientStream,
            (false, true) => GrpcType::ServerStream,
            (true, true) => GrpcType::BidiStream,
        };
        // A kind that the application has set for a method comes before this one, and stays.
        metrics.grpc_method(method.name.clone(), kind)
    });
    match &service.name {
        Some(name) => metrics.build_info_or(name, service.version.as_deref().unwrap_or_default()),
        None => metrics,
    }
}
