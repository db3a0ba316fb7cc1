use std::{sync::Arc, time::Duration};

use steeple_core::RequestIds;
use steeple_log::{Format, Log, LogGuard, LogOptions, Logging};
use steeple_metrics::{Metrics, MetricsBuilder};
use steeple_scrub::Scrubber;
use steeple_transaction::{Naming, NamingRules};
use steeple_user::{TrustedProxies, Users, UsersOptions};
#[cfg(feature = "trace")]
use tracing_subscriber::{Layer, filter::LevelFilter};
use tracing_subscriber::{layer::SubscriberExt, registry::Registry, util::SubscriberInitExt};

use crate::{
    ConfigError, Steeple,
    env::{self, Lookup, Service},
    health::Checks,
    integration::{self, Errors, Traces},
};

/// Options for [`Steeple`], all with a default.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple::{Steeple, transaction::NamingRules};
///
/// let steeple = Steeple::builder()
///     .service_name("shop")
///     .slow_after(Duration::from_millis(300))
///     .naming(NamingRules::new().rename("/files/**", "/files/{path}"))
///     .without_log_setup() // the process has a subscriber of its own
///     .build()?;
/// # Ok::<(), steeple::ConfigError>(())
/// ```
#[derive(Debug)]
#[must_use = "options do nothing until they are built"]
pub struct Builder {
    pub(crate) service: Service,
    /// The variable that the level came from, its value, and whether it has the wide syntax of `RUST_LOG`.
    pub(crate) level: Option<(&'static str, String, bool)>,
    pub(crate) format: Option<Format>,
    pub(crate) directory: Option<String>,
    pub(crate) slow_after: Option<Duration>,
    pub(crate) set_up_log: bool,
    pub(crate) metrics: MetricsBuilder,
    pub(crate) naming: NamingRules,
    pub(crate) users: UsersOptions,
    /// What the environment says of proxies; it stays when the code sets other options for users.
    pub(crate) proxies: Option<TrustedProxies>,
    pub(crate) request_ids: RequestIds,
    pub(crate) scrubber: Scrubber,
    pub(crate) keep: f64,
    pub(crate) drain: Duration,
    pub(crate) flush: Duration,
    pub(crate) checks: Checks,
    #[cfg(feature = "sentry")]
    pub(crate) sentry: Option<steeple_sentry::SentryOptions>,
    #[cfg(feature = "trace")]
    pub(crate) traces: Option<steeple_trace::TraceBuilder>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            service: Service::default(),
            level: None,
            format: None,
            directory: None,
            slow_after: None,
            set_up_log: true,
            metrics: Metrics::builder().merge(prometheus::default_registry().clone()),
            naming: NamingRules::new(),
            users: UsersOptions::new(),
            proxies: None,
            request_ids: RequestIds::new(),
            scrubber: Scrubber::default(),
            keep: 1.0,
            drain: Duration::from_secs(30),
            flush: Duration::from_secs(5),
            checks: Checks::default(),
            #[cfg(feature = "sentry")]
            sentry: None,
            #[cfg(feature = "trace")]
            traces: None,
        }
    }
}

impl Builder {
    pub(crate) fn from_lookup(env: &impl Lookup) -> Result<Self, ConfigError> {
        let level = match env.text("LOG_LEVEL")? {
            Some(level) => Some(("LOG_LEVEL", level, false)),
            None => env.text("RUST_LOG")?.map(|filter| ("RUST_LOG", filter, true)),
        };
        Ok(Self {
            service: env::service(env)?,
            level,
            format: env::log_format(env)?,
            directory: env.text("LOG_DIR")?,
            slow_after: env::slow_after(env)?,
            proxies: env::trusted_proxies(env)?,
            #[cfg(feature = "sentry")]
            sentry: integration::sentry_options(env)?,
            #[cfg(feature = "trace")]
            traces: integration::trace_options(env)?,
            ..Self::default()
        })
    }

    /// The name of the service, on every log line. Default: none.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service.name = Some(name.into());
        self
    }

    /// The version of the service, on every log line. Default: none.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.service.version = Some(version.into());
        self
    }

    /// Where the service runs: `production`, `staging`. On every log line. Default: none.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.service.environment = Some(name.into());
        self
    }

    /// Which log lines are written: a level, or a level with exceptions by target (`info,hyper=warn`). Default: `info`.
    pub fn log_level(mut self, level: impl Into<String>) -> Self {
        self.level = Some(("LOG_LEVEL", level.into(), false));
        self
    }

    /// What log lines look like. Default: pretty on a terminal, JSON elsewhere.
    pub fn log_format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Writes `combined.log` and `error.log` into this directory as well. Default: standard output only.
    pub fn log_directory(mut self, directory: impl Into<String>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Leaves the process's log alone: exchanges' lines are `tracing` events for whatever subscriber there is.
    ///
    /// That is also what happens when the process has a subscriber already.
    pub fn without_log_setup(mut self) -> Self {
        self.set_up_log = false;
        self
    }

    /// From how long on a request is slow, which makes its line a warning. Default: 1 second.
    pub fn slow_after(mut self, duration: Duration) -> Self {
        self.slow_after = Some(duration);
        self
    }

    /// The share of log lines that are kept of what went well, 0 to 1. What failed or was slow is always kept. Default: 1.
    pub fn keep_log_lines(mut self, share: f64) -> Self {
        self.keep = share;
        self
    }

    /// Options for the metrics. Default: their own, and what is in `prometheus`'s default registry is shown as well.
    pub fn metrics(mut self, metrics: MetricsBuilder) -> Self {
        self.metrics = metrics;
        self
    }

    /// Rules for names. Default: none, the router's templates are the names.
    pub fn naming(mut self, rules: NamingRules) -> Self {
        self.naming = rules;
        self
    }

    /// Where the user and the client's address come from, and what sinks may see of them. Default: the user that the
    /// application sets, by id alone; the socket's address, cut to its network. `TRUSTED_PROXIES` goes before what is
    /// said of proxies here.
    pub fn users(mut self, users: UsersOptions) -> Self {
        self.users = users;
        self
    }

    /// How request ids are made. Default: a client's is taken if it is short and plain.
    pub fn request_ids(mut self, ids: RequestIds) -> Self {
        self.request_ids = ids;
        self
    }

    /// Sends failures to Sentry. Default: what the environment says, else not.
    #[cfg(feature = "sentry")]
    pub fn sentry(mut self, options: steeple_sentry::SentryOptions) -> Self {
        self.sentry = Some(options);
        self
    }

    /// Sends spans by OTLP. Default: what the environment says, else not.
    #[cfg(feature = "trace")]
    pub fn traces(mut self, options: steeple_trace::TraceBuilder) -> Self {
        self.traces = Some(options);
        self
    }

    /// What counts as a secret. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// How long requests may take to end once the shutdown has begun. Default: 30 seconds.
    pub fn drain(mut self, deadline: Duration) -> Self {
        self.drain = deadline;
        self
    }

    /// How long the log may take to be written at the very end. Default: 5 seconds.
    pub fn flush(mut self, deadline: Duration) -> Self {
        self.flush = deadline;
        self
    }

    /// Something that must work for `/readyz` to say so: a database that answers. Its name is in the answer when it does
    /// not; its error is in the log.
    pub fn readiness<F, T, E>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        self.checks.add(name, check);
        self
    }

    /// Checks everything and sets up the log of this process.
    ///
    /// # Errors
    /// When a setting cannot be used. The error names it, what it holds and what it may hold.
    pub fn build(self) -> Result<Steeple, ConfigError> {
        let naming = self.naming.build().map_err(|error| ConfigError::part("the naming rules", error))?;
        let users = match self.proxies {
            Some(proxies) => self.users.trusted_proxies(proxies),
            None => self.users,
        };
        let users = users.build().map_err(|error| ConfigError::part("the user", error))?;
        let metrics = self.metrics.build().map_err(|error| ConfigError::part("the metrics", error))?;
        #[cfg(feature = "trace")]
        let traces = integration::traces(self.traces, &self.service, &self.scrubber)?;
        #[cfg(not(feature = "trace"))]
        let traces = ();
        let guard = if self.set_up_log {
            set_up_log(&self.service, self.level, self.format, self.directory, &self.scrubber, &traces)?
        } else {
            None
        };
        let handle = guard.as_ref().map(LogGuard::handle);
        // What is exported as log records goes through `tracing`; else lines are written straight into the outputs.
        let writer = guard.as_ref().filter(|_| !integration::exports_logs(&traces));
        let mut log = writer.map_or_else(Log::builder, LogGuard::log).scrubber(self.scrubber.clone()).keep(self.keep);
        if let Some(slow_after) = self.slow_after {
            log = LogOptions::slow_after(log, slow_after);
        }
        let log = log.build().map_err(|error| ConfigError::part("the log", error))?;
        steeple_core::notice_panics();
        #[cfg_attr(
            not(any(feature = "sentry", feature = "trace")),
            expect(unused_mut, reason = "integrations add to it")
        )]
        let mut own = integration::own_metrics(handle, log.clone());
        #[cfg(feature = "sentry")]
        let errors = integration::sentry(self.sentry, &self.scrubber, &mut own)?;
        #[cfg(not(feature = "sentry"))]
        let errors = ();
        #[cfg(feature = "trace")]
        if let Some(traces) = &traces {
            integration::trace_metrics(&mut own, traces.clone());
        }
        own.register(metrics.registry());
        Ok(Steeple::new(
            (self.request_ids, naming, users, traces, errors, log, metrics),
            guard.map(Arc::new),
            self.checks,
            self.drain,
            self.flush,
        ))
    }
}

#[cfg_attr(not(feature = "trace"), expect(clippy::trivially_copy_pass_by_ref, reason = "with traces it is none"))]
fn set_up_log(
    service: &Service,
    level: Option<(&'static str, String, bool)>,
    format: Option<Format>,
    directory: Option<String>,
    scrubber: &Scrubber,
    traces: &Traces,
) -> Result<Option<LogGuard>, ConfigError> {
    let mut logging = Logging::new().scrubber(scrubber.clone());
    if let Some(name) = &service.name {
        logging = logging.service_name(name);
    }
    if let Some(version) = &service.version {
        logging = logging.service_version(version);
    }
    if let Some(environment) = &service.environment {
        logging = logging.environment(environment);
    }
    if let Some((_, text, wide)) = &level {
        logging = if *wide { logging.filter(text) } else { logging.level(text) };
    }
    if let Some(format) = format {
        logging = logging.console(format);
    }
    if let Some(directory) = &directory {
        logging =
            logging.directory_as(directory, format.filter(|format| *format == Format::Ecs).unwrap_or(Format::Json));
    }
    match logging.build() {
        Ok(guard) => {
            let subscriber = Registry::default().with(guard.layer());
            #[cfg(feature = "trace")]
            let subscriber = {
                let filter = level.as_ref().map_or("info", |(_, filter, _)| filter);
                // Below `info` are the inner spans of h2 and its like: no exchange's, with frames for attributes.
                let spans = traces.as_ref().map(|traces| traces.tracing_layer().with_filter(LevelFilter::INFO));
                subscriber.with(spans).with(integration::logs_layer(traces.as_ref(), filter))
            };
            #[cfg(not(feature = "trace"))]
            let () = traces;
            // Where the process logs in its own way already, it keeps it: lines go through its subscriber.
            Ok(subscriber.try_init().is_ok().then_some(guard))
        }
        Err(error) if error.is_filter() => {
            let (name, value, _) = level.unwrap_or(("LOG_LEVEL", String::new(), false));
            let expected = "a level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or one with exceptions by target \
                            (`info,hyper=warn`)";
            Err(ConfigError::variable_value(name, value, expected).because(error))
        }
        Err(error) if error.is_directory() => {
            let value = directory.unwrap_or_default();
            Err(ConfigError::variable_value("LOG_DIR", value, "a directory that can be made and written")
                .because(error))
        }
        Err(error) => Err(ConfigError::part("the log", error)),
    }
}

/// What the layer of [`Steeple`] watches with, in this order: ids and names are there before anybody writes them.
pub type Observers = (RequestIds, Naming, Users, Traces, Errors, Log, Metrics);
