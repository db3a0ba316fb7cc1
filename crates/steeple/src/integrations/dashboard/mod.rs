//! The page about the service.

mod axum;

use std::{
    fmt,
    sync::{Arc, OnceLock, PoisonError},
    time::Duration,
};

use steeple_dashboard::{Access, Dashboard, DashboardBuilder, LogControl, LogLevel, PrometheusOptions, Requests};
use steeple_log::LogHandle;
use steeple_metrics::Names;

use super::{Integration, NoCalls, Setting, Setup, Started, switch};
use crate::{ConfigError, Steeple, SteepleBuilder, axum::AdminRoutes, env::Lookup, summary::Summary};

pub(crate) type Options = DashboardBuilder;
pub(crate) type Observer = Option<Requests>;

/// The dashboard's options before it is mounted.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Inner>);

struct Inner {
    options: DashboardBuilder,
    requests: Requests,
    /// `Some(None)`: it could not be built, which was logged.
    mounted: OnceLock<Option<Dashboard>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl SteepleBuilder {
    /// Changes the options for the dashboard. What the environment has set stays, unless this sets the same.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// let builder = steeple::Steeple::builder_from_env()?
    ///     .dashboard(|dashboard| dashboard.trace_url("https://tempo.example/trace/{trace_id}"));
    /// # let _unused = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dashboard(mut self, change: impl FnOnce(DashboardBuilder) -> DashboardBuilder) -> Self {
        self.integrations.dashboard.change(change);
        self
    }
}

impl Steeple {
    /// The dashboard, for its numbers: [`Dashboard::real_time`], [`Dashboard::business`], [`Dashboard::system_health`]. From
    /// the first call on, it samples. `None` where `STEEPLE_DISABLE` has `dashboard`.
    pub fn dashboard_handle(&self) -> Option<Dashboard> {
        let handle = &self.running().dashboard.as_ref()?.0;
        handle.mounted.get_or_init(|| self.mount(handle)).clone()
    }

    fn mount(&self, handle: &Inner) -> Option<Dashboard> {
        let sinks =
            [&self.inner().sinks, &self.inner().log_sinks].into_iter().flat_map(|sinks| sinks.0.iter().cloned());
        let log = self.log_outputs().into_iter().flat_map(|log| log.sinks());
        let mut options = handle.options.clone().sinks(log.chain(sinks));
        for (name, value) in settings(&self.inner().summary) {
            options = options.setting(name, value);
        }
        options = with_parts(self, options);
        if let Some(outputs) = self.log_outputs() {
            options = options.log_control(Lines(outputs));
        }
        let dashboard = match options.build(self.metrics()) {
            Ok(dashboard) => dashboard,
            Err(error) => {
                tracing::error!(%error, "the dashboard is not served");
                return None;
            }
        };
        let shutdown = self.shutdown();
        dashboard.end_streams_when(move || {
            let shutdown = shutdown.clone();
            async move { shutdown.begun().await }
        });
        Some(dashboard)
    }
}

/// What other integrations show on the page. Each has its file here.
macro_rules! parts {
    ($($part:ident: $feature:literal, $path:literal;)+) => {
        fn with_parts(steeple: &Steeple, options: DashboardBuilder) -> DashboardBuilder {
            $(
                #[cfg(feature = $feature)]
                let options = {
                    #[path = $path]
                    mod $part;
                    $part::add(steeple, options)
                };
            )+
            let _without_integrations = steeple;
            options
        }
    };
}

parts! {
    alerts: "alerts", "parts/alerts.rs";
    events: "events", "parts/events.rs";
    trace: "trace", "parts/trace.rs";
}

/// The settings in force, as pairs of a name and a value.
fn settings(summary: &Summary) -> Vec<(String, String)> {
    let pair = |name: &str, value: &dyn fmt::Display| (name.to_owned(), value.to_string());
    let mut settings = Vec::new();
    settings.extend(summary.service.region.as_ref().map(|region| pair("region", region)));
    let addresses = summary.addresses.lock().unwrap_or_else(PoisonError::into_inner);
    settings.extend(addresses.iter().map(|(name, address)| pair(name, address)));
    drop(addresses);
    settings.push(pair("log", &summary.log));
    settings.push(pair("trusted proxies", &summary.trust));
    settings.extend(summary.integrations.states.iter().map(|(name, state)| pair(name, state)));
    settings.extend(summary.warnings.iter().map(|warning| pair("warning", warning)));
    settings
}

/// What chooses where the numbers of the page are from.
const SOURCE: &str = "DASHBOARD_SOURCE";

/// The Prometheus that knows all instances. An address alone turns nothing on: it may be the application's own.
fn prometheus(env: &dyn Lookup) -> Result<Option<PrometheusOptions>, ConfigError> {
    const URL: &str = "PROMETHEUS_URL";
    const TOKEN: &str = "PROMETHEUS_TOKEN";
    const USER: &str = "PROMETHEUS_USER";
    const PASSWORD: &str = "PROMETHEUS_PASSWORD";
    match env.text(SOURCE)?.as_deref() {
        None | Some("process") => return Ok(None),
        Some("prometheus") => (),
        Some(other) => return Err(ConfigError::variable_value(SOURCE, other, "`process` or `prometheus`")),
    }
    let url = env
        .secret(URL)?
        .ok_or_else(|| ConfigError::missing(URL, "the URL of a Prometheus, since DASHBOARD_SOURCE is `prometheus`"))?;
    let mut options = PrometheusOptions::new(url);
    match (env.secret(TOKEN)?, env.text(USER)?, env.secret(PASSWORD)?) {
        (None, None, None) => (),
        (Some(token), None, None) => options = options.bearer(token),
        (None, Some(user), Some(password)) => options = options.basic(user, password),
        _ => {
            return Err(ConfigError::secret_value(
                TOKEN,
                "unset where PROMETHEUS_USER and PROMETHEUS_PASSWORD are, which go together",
            ));
        }
    }
    if let Some(job) = env.text("PROMETHEUS_JOB")? {
        options = options.job(job);
    }
    if let Some(matchers) = env.text("PROMETHEUS_MATCHERS")? {
        options = options.matchers(matchers);
    }
    if let Some(instance) = env.text("PROMETHEUS_INSTANCE")? {
        options = options.instance(instance);
    }
    if let Some(names) = env.text("PROMETHEUS_NAMES")? {
        options = options.names(match names.as_str() {
            "classic" => Names::Classic,
            "otel" => Names::OpenTelemetry,
            other => return Err(ConfigError::variable_value("PROMETHEUS_NAMES", other, "`classic` or `otel`")),
        });
    }
    options = options.native(switch(env, "PROMETHEUS_NATIVE_HISTOGRAMS")?);
    if let Some(interval) = env.text("PROMETHEUS_SCRAPE_INTERVAL")? {
        let seconds = interval.strip_suffix('s').unwrap_or(&interval).parse().ok();
        let seconds = seconds.filter(|seconds| (1..=600).contains(seconds)).ok_or_else(|| {
            ConfigError::variable_value("PROMETHEUS_SCRAPE_INTERVAL", &interval, "1 to 600 seconds, such as `15s`")
        })?;
        options = options.scrape_interval(Duration::from_secs(seconds));
    }
    Ok(Some(options))
}

/// How much is logged, where Steeple has set up the log.
struct Lines(LogHandle);

impl LogControl for Lines {
    fn current(&self) -> LogLevel {
        let level = self.0.level();
        LogLevel {
            filter: level.directives().to_owned(),
            until: level.until().map(|until| u64::try_from(until.as_millis()).unwrap_or_default()),
        }
    }

    fn set(&self, filter: &str, time: Duration) -> Result<(), String> {
        self.0.override_level(filter, time).map(drop).map_err(|error| error.to_string())
    }

    fn reset(&self) {
        let _was_overridden = self.0.clear_level_override();
    }
}

impl Integration for DashboardBuilder {
    type Handle = Handle;
    type Observer = Observer;
    type CallObserver = NoCalls;

    fn from_env(env: &dyn Lookup) -> Result<Setting<Self>, ConfigError> {
        const TOKEN: &str = "DASHBOARD_TOKEN";
        const USER: &str = "DASHBOARD_USER";
        const PASSWORD: &str = "DASHBOARD_PASSWORD";
        let mut options = Self::default();
        let mut variable = None;
        if let Some(token) = env.secret(TOKEN)? {
            let access = Access::token(token)
                .map_err(|_weak| ConfigError::secret_value(TOKEN, "at least 128 random bits (openssl rand -hex 16)"))?;
            (options, variable) = (options.access(access), Some(TOKEN));
        }
        match (env.text(USER)?, env.secret(PASSWORD)?) {
            (Some(_), Some(_)) if variable.is_some() => {
                return Err(ConfigError::new(
                    Some(USER),
                    "DASHBOARD_TOKEN and DASHBOARD_USER are both set; set one of them",
                ));
            }
            (Some(user), Some(password)) => {
                let access = Access::basic(user, password).map_err(|_weak| {
                    ConfigError::secret_value(PASSWORD, "at least 12 bytes, and a user without a colon")
                })?;
                (options, variable) = (options.access(access), Some(USER));
            }
            (Some(_), None) => {
                return Err(ConfigError::missing(PASSWORD, "a password, since DASHBOARD_USER is set"));
            }
            (None, Some(_)) => {
                return Err(ConfigError::missing(USER, "a user, since DASHBOARD_PASSWORD is set"));
            }
            (None, None) => (),
        }
        if let Some(url) = env.text("DASHBOARD_TRACE_URL")? {
            options = options.trace_url(url);
        }
        options.check().map_err(|error| ConfigError::rejected("DASHBOARD_TRACE_URL", &error))?;
        if let Some(prometheus) = prometheus(env)? {
            (options, variable) = (options.prometheus(prometheus), variable.or(Some(SOURCE)));
        }
        Ok(Setting { options, variable })
    }

    fn start(self, setup: &mut Setup<'_>) -> Result<Option<Started<Handle>>, ConfigError> {
        let requests = Requests::new(setup.scrubber.clone());
        let mut options =
            self.scrubber(setup.scrubber.clone()).requests(requests.clone()).http(|http| http.or(&setup.http));
        if let Some(name) = &setup.service.name {
            options = options.service(name.clone());
        }
        if let Some(version) = &setup.service.version {
            options = options.version(version.clone());
        }
        if let Some(environment) = &setup.service.environment {
            options = options.environment(environment.clone());
        }
        if let Some(state) = &setup.state {
            options = options.keep_in(state.clone());
        }
        options.check().map_err(|error| ConfigError::part("the dashboard", &error))?;
        let source = if options.has_prometheus() { ", with all instances from Prometheus" } else { "" };
        let to = format!("at /steeple where it is mounted, for {}{source}", options.who());
        setup.started.insert(AdminRoutes(Steeple::dashboard));
        let handle = Handle(Arc::new(Inner { options, requests, mounted: OnceLock::new() }));
        Ok(Some(Started { handle, to }))
    }

    fn observer(handle: Option<&Handle>) -> Observer {
        handle.map(|handle| handle.0.requests.clone())
    }
}
