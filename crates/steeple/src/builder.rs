use std::{path::PathBuf, sync::Arc, time::Duration};

use steeple_core::RequestIds;
use steeple_log::{Format, Log, LogGuard, LogOptions, Rotation};
use steeple_metrics::{Metrics, MetricsBuilder};
use steeple_scrub::Scrubber;
use steeple_transaction::{Naming, NamingBuilder};
use steeple_user::{TrustedProxies, Users, UsersBuilder};

use crate::{
    ConfigError, Steeple,
    env::{self, Lookup, Service},
    health::Checks,
    integration::{self, Errors, Traces},
    logging::{Level, LogSetup},
};

/// Options for [`Steeple`], all with a default.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple::{Steeple, transaction::Naming};
///
/// let steeple = Steeple::builder()
///     .service_name("shop")
///     .slow_after(Duration::from_millis(300))
///     .naming(Naming::builder().rename("/files/**", "/files/{path}"))
///     .without_log_setup() // the process has a subscriber of its own
///     .build()?;
/// # Ok::<(), steeple::ConfigError>(())
/// ```
#[derive(Debug)]
#[must_use = "options do nothing until they are built"]
pub struct Builder {
    pub(crate) service: Service,
    pub(crate) log_setup: LogSetup,
    pub(crate) log: LogOptions,
    pub(crate) slow_after: Option<Duration>,
    pub(crate) keep: Option<f64>,
    pub(crate) metrics: MetricsBuilder,
    pub(crate) default_registry: bool,
    pub(crate) naming: NamingBuilder,
    pub(crate) users: UsersBuilder,
    /// What the environment says of proxies; it stays when the code sets other options for users.
    pub(crate) proxies: Option<TrustedProxies>,
    pub(crate) known_methods: Option<Vec<String>>,
    pub(crate) request_ids: RequestIds,
    pub(crate) scrubber: Scrubber,
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
            log_setup: LogSetup::default(),
            log: Log::builder(),
            slow_after: None,
            keep: None,
            metrics: Metrics::builder(),
            default_registry: true,
            naming: Naming::builder(),
            users: Users::builder(),
            proxies: None,
            known_methods: None,
            request_ids: RequestIds::new(),
            scrubber: Scrubber::default(),
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
        Ok(Self {
            service: env::service(env)?,
            log_setup: LogSetup::from_lookup(env)?,
            slow_after: env::slow_after(env)?,
            proxies: env::trusted_proxies(env)?,
            known_methods: env::known_methods(env)?,
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

    /// The name of the service, unless the environment has said one.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// let options = steeple::Steeple::builder_from_env()?.service_name_or("shop").service_version_or("1.2.3");
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

    /// The version of the service, unless the environment has said one: `env!("CARGO_PKG_VERSION")`.
    pub fn service_version_or(mut self, version: impl Into<String>) -> Self {
        self.service.version.get_or_insert_with(|| version.into());
        self
    }

    /// Where the service runs: `production`, `staging`. On every log line. Default: none.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.service.environment = Some(name.into());
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

    /// Leaves the process's log alone: exchanges' lines are `tracing` events for whatever subscriber there is.
    ///
    /// That is also what happens when the process has a subscriber already.
    pub fn without_log_setup(mut self) -> Self {
        self.log_setup.is_on = false;
        self
    }

    /// Options for exchanges' lines, such as those of one route. Default: their own.
    ///
    /// Scrubber and outputs are those of everything else here. [`slow_after`](Self::slow_after), `SLOW_REQUEST_MS` and
    /// [`keep_log_lines`](Self::keep_log_lines) go before what is said here for all routes.
    pub fn log(mut self, log: LogOptions) -> Self {
        self.log = log;
        self
    }

    /// From how long on a request is slow, which makes its line a warning. Default: 1 second.
    pub fn slow_after(mut self, duration: Duration) -> Self {
        self.slow_after = Some(duration);
        self
    }

    /// The share of log lines that are kept of what went well, 0 to 1. What failed or was slow is always kept. Default: 1.
    pub fn keep_log_lines(mut self, share: f64) -> Self {
        self.keep = Some(share);
        self
    }

    /// Options for the metrics. Default: their own. What is in `prometheus`'s default registry is shown as well.
    pub fn metrics(mut self, metrics: MetricsBuilder) -> Self {
        self.metrics = metrics;
        self
    }

    /// Does not show what is in `prometheus`'s default registry, where `register_counter!` and its like put theirs.
    pub fn without_default_registry(mut self) -> Self {
        self.default_registry = false;
        self
    }

    /// Rules for names. Default: none, the router's templates are the names.
    pub fn naming(mut self, rules: NamingBuilder) -> Self {
        self.naming = rules;
        self
    }

    /// Where the user and the client's address come from, and what sinks may see of them. Default: the user that the
    /// application sets, by id alone; the socket's address, cut to its network. `TRUSTED_PROXIES` goes before what is
    /// said of proxies here.
    pub fn users(mut self, users: UsersBuilder) -> Self {
        self.users = users;
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

    /// Sends failures to Sentry. Default: what the environment says, else not. Where the options say no environment or no
    /// release, they are those of the service: `production`, `shop@1.2.3`.
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

    /// How long Sentry, the traces and the log may each take at the very end to send or write what is queued. Default: 5
    /// seconds.
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
        env::set_known_methods(self.known_methods)?;
        let naming = self.naming.build().map_err(|error| ConfigError::part("the naming rules", error))?;
        let users = match self.proxies {
            Some(proxies) => self.users.trusted_proxies(proxies),
            None => self.users,
        };
        let users = users.build().map_err(|error| ConfigError::part("the user", error))?;
        let metrics = if self.default_registry {
            self.metrics.merge(prometheus::default_registry().clone())
        } else {
            self.metrics
        };
        let metrics = metrics.scrubber(self.scrubber.clone()).build();
        let metrics = metrics.map_err(|error| ConfigError::part("the metrics", error))?;
        #[cfg(feature = "trace")]
        let traces = integration::traces(self.traces, &self.service, &self.scrubber)?;
        #[cfg(not(feature = "trace"))]
        let traces = ();
        let guard = self.log_setup.set_up(&self.service, &self.scrubber, &traces, &metrics)?;
        let handle = guard.as_ref().map(LogGuard::handle);
        let mut log = self.log.scrubber(self.scrubber.clone());
        if let Some(writer) = &handle {
            log = log.writer(writer.clone());
        }
        if integration::exports_logs(&traces) {
            log = log.also_events();
        }
        if let Some(slow_after) = self.slow_after {
            log = log.slow_after(slow_after);
        }
        if let Some(share) = self.keep {
            log = log.keep(share);
        }
        let log = log.build().map_err(|error| ConfigError::part("the log", error))?;
        steeple_core::notice_panics();
        #[cfg_attr(
            not(any(feature = "sentry", feature = "trace")),
            expect(unused_mut, reason = "integrations add to it")
        )]
        let mut own = integration::own_metrics(handle, log.clone());
        #[cfg(feature = "sentry")]
        let errors = integration::sentry(self.sentry, &self.service, &self.scrubber, &mut own)?;
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

/// What the layer of [`Steeple`] watches with, in this order: ids and names are there before anybody writes them.
pub type Observers = (RequestIds, Naming, Users, Traces, Errors, Log, Metrics);
