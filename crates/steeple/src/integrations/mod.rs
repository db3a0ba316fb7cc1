//! What a Cargo feature adds, and what stays off until a setting turns it on.
//!
//! Every integration is one file here, with the same shape: [`Integration`] for its options, a method of
//! [`SteepleBuilder`](crate::SteepleBuilder) that changes them, a method of [`Steeple`](crate::Steeple) that returns what
//! runs, and what a [`Recorder`](crate::testing::Recorder) keeps of it. To add one: the file, and its row in the list at the
//! end. `cargo fmt` does not see these files, because the list declares them: format them with `rustfmt`.

mod off;
#[cfg_attr(not(feature = "http"), path = "reach_off.rs")]
mod reach;
mod spool;

use std::{cell::RefCell, fmt, sync::Arc, time::Duration};

use http::Extensions;
use steeple_core::{Observer, RequestIds, RouteOptions, call::CallObserver};
use steeple_export::Sink;
use steeple_log::{Log, LogBuilder};
use steeple_metrics::{Metrics, state::State};
use steeple_scrub::Scrubber;
use steeple_transaction::Naming;
use steeple_user::{TrustedProxies, Users};
use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;

use self::reach::{Http, Reach};
use crate::{
    ConfigError,
    env::{self, Lookup, Service},
    own_metrics::OwnMetrics,
    request_span::RequestSpans,
    shutdown::Shutdown,
    skips::Skips,
    summary::Integrations,
    testing::{Capture, Recording},
};

/// The options of one integration, and how they become something that runs.
pub(crate) trait Integration: Default + fmt::Debug {
    /// What runs. `Steeple` keeps it.
    type Handle: Clone + fmt::Debug + Send + Sync + 'static;
    /// What observes exchanges: `()` if nothing does.
    type Observer: Observer + fmt::Debug + Default;
    /// What observes outgoing calls: [`NoCalls`] if nothing does.
    type CallObserver: CallObserver + Clone + fmt::Debug + Default;
    /// Whether its Cargo feature is on.
    const IS_COMPILED: bool = true;

    /// Reads the integration's variables. Invalid values are errors even if nothing turns the integration on.
    fn from_env(env: &dyn Lookup) -> Result<Setting<Self>, ConfigError>;

    /// Starts it, if its options turn it on. `Ok(None)`: it is off, no thread and no socket exists.
    fn start(self, setup: &mut Setup<'_>) -> Result<Option<Started<Self::Handle>>, ConfigError>;

    /// Reads its files again, at SIGHUP.
    fn reload(_handle: &Self::Handle) {}

    /// Its observer. `None`: it is off.
    fn observer(_handle: Option<&Self::Handle>) -> Self::Observer {
        Self::Observer::default()
    }

    /// Its observer of outgoing calls. `None`: it is off.
    fn call_observer(_handle: Option<&Self::Handle>) -> Self::CallObserver {
        Self::CallObserver::default()
    }

    /// Adds its layers to the process's subscriber, where Steeple sets up the log. `filter` is that of the log.
    fn subscribe<S: InProcess>(subscriber: S, _handle: Option<Self::Handle>, _filter: String) -> impl InProcess {
        subscriber
    }
}

/// A subscriber that can be the process's.
pub(crate) trait InProcess: Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static {}
impl<S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static> InProcess for S {}

/// Observes no outgoing calls.
pub(crate) type NoCalls = Option<steeple_metrics::ClientCalls>;

/// Options as the environment and the code have set them.
#[derive(Debug, Default)]
pub(crate) struct Setting<O> {
    pub(crate) options: O,
    /// The variable that turned it on. `None`: the code did, or it is off.
    pub(crate) variable: Option<&'static str>,
}

impl<O: Default> Setting<O> {
    /// Changes the options. What the environment has set stays, unless the change is about the same.
    pub(crate) fn change(&mut self, change: impl FnOnce(O) -> O) {
        self.options = change(std::mem::take(&mut self.options));
    }
}

/// What runs, and where it sends to.
#[derive(Debug)]
pub(crate) struct Started<H> {
    pub(crate) handle: H,
    /// For the start summary: a host, a file. Without credentials.
    pub(crate) to: String,
}

/// Reads variables for a crate that looks them up by itself.
pub(crate) fn lookups<T>(
    env: &dyn Lookup,
    read: impl FnOnce(&dyn Fn(&str) -> Option<String>) -> T,
) -> Result<T, ConfigError> {
    let failed = RefCell::new(None);
    let found = read(&|name| {
        env.secret(name).unwrap_or_else(|error| {
            failed.borrow_mut().get_or_insert(error);
            None
        })
    });
    failed.into_inner().map_or(Ok(found), Err)
}

/// An output that an integration adds to the log.
pub(crate) struct LogOutputs {
    /// For the warning where the log is not Steeple's.
    pub(crate) variable: &'static str,
    /// What the output sends with.
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) add: Box<dyn FnOnce(LogBuilder) -> LogBuilder>,
}

impl LogOutputs {
    pub(crate) fn new(
        variable: &'static str,
        sink: Arc<dyn Sink>,
        add: impl FnOnce(LogBuilder) -> LogBuilder + 'static,
    ) -> Self {
        Self { variable, sink, add: Box::new(add) }
    }
}

/// What an integration finds when it starts, and what it adds.
pub(crate) struct Setup<'a> {
    pub(crate) service: &'a Service,
    pub(crate) scrubber: &'a Scrubber,
    pub(crate) metrics: &'a Metrics,
    /// What it counts about itself goes here.
    pub(crate) own: OwnMetrics,
    /// What it sends with, to be flushed at the end: see [`add_sink`](Self::add_sink).
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    /// Those of them that count in `steeple_export_…`.
    pub(crate) counted: Vec<Arc<dyn Sink>>,
    /// What lines go to besides the console and files: see [`add_log_output`](Self::add_log_output).
    pub(crate) log_outputs: Vec<LogOutputs>,
    /// Settings without effect go here: one warning each in the start summary.
    pub(crate) warnings: Vec<String>,
    /// Whether exchanges' lines have to be `tracing` events as well.
    pub(crate) lines_as_events: bool,
    /// What survives a deploy.
    pub(crate) state: Option<State>,
    /// Has begun once the service ends.
    pub(crate) shutdown: Shutdown,
    /// The handles of integrations that have started before, by type.
    pub(crate) started: Extensions,
    /// How the integration that starts reaches receivers, where its options do not set it.
    pub(crate) http: Http,
    /// The proxies in front of the service, where the one setting for all has them.
    pub(crate) proxies: Option<TrustedProxies>,
    /// Options for single routes, in every signal.
    pub(crate) routes: Vec<(String, RouteOptions)>,
    /// T of Apdex, where the one setting for all has it.
    pub(crate) apdex: Option<Duration>,
    /// Where everything is kept in a test.
    pub(crate) recording: Option<Recording>,
}

impl<'a> Setup<'a> {
    pub(crate) fn new(
        service: &'a Service,
        scrubber: &'a Scrubber,
        metrics: &'a Metrics,
        recording: Option<Recording>,
    ) -> Self {
        Self {
            service,
            scrubber,
            metrics,
            own: OwnMetrics::default(),
            sinks: Vec::new(),
            counted: Vec::new(),
            log_outputs: Vec::new(),
            warnings: Vec::new(),
            lines_as_events: false,
            state: None,
            shutdown: Shutdown::default(),
            started: Extensions::new(),
            http: Http::default(),
            proxies: None,
            routes: Vec::new(),
            apdex: None,
            recording,
        }
    }

    /// Adds a sink: flushed and shut down with all others, counted in `steeple_export_…{sink}`.
    pub(crate) fn add_sink(&mut self, sink: Arc<dyn Sink>) {
        self.counted.push(Arc::clone(&sink));
        self.sinks.push(sink);
    }

    /// Adds an output to the log, where Steeple sets it up. Its sink is flushed and shut down after the log, and counted as all
    /// others.
    pub(crate) fn add_log_output(&mut self, output: LogOutputs) {
        self.counted.push(Arc::clone(&output.sink));
        self.log_outputs.push(output);
    }
}

/// A variable that is `true` or `false`, `1` or `0`. Unset: `false`.
pub(crate) fn switch(env: &dyn Lookup, name: &str) -> Result<bool, ConfigError> {
    match env.text(name)?.map(|value| value.to_ascii_lowercase()).as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(other) => Err(ConfigError::variable_value(name, other, "`true` or `false`")),
    }
}

fn start<I: Integration>(
    name: &'static str,
    setting: Setting<I>,
    disabled: &[String],
    reach: &Reach,
    setup: &mut Setup<'_>,
    summary: &mut Integrations,
) -> Result<Option<I::Handle>, ConfigError> {
    if disabled.iter().any(|disabled| disabled == name) {
        summary.disabled(name);
        return Ok(None);
    }
    setup.http = reach.of(name);
    let Some(started) = setting.options.start(setup)? else {
        summary.off(name);
        return Ok(None);
    };
    summary.on(name, started.to, setting.variable);
    setup.started.insert(started.handle.clone());
    Ok(Some(started.handle))
}

/// Addresses that turn nothing on, since they may be the application's own, with the variables that do.
const ADDRESSES: &[(&str, &[&str])] = &[
    ("ELASTICSEARCH_URL", &["ELASTICSEARCH_EVENTS_STREAM", "ELASTICSEARCH_LOGS_STREAM"]),
    ("GA4_ENDPOINT", &["GA4_MEASUREMENT_ID"]),
    ("MIXPANEL_ENDPOINT", &["MIXPANEL_TOKEN"]),
    ("NEW_RELIC_EVENTS_ENDPOINT", &["NEW_RELIC_ACCOUNT_ID"]),
    ("NEW_RELIC_METRICS_ENDPOINT", &["NEW_RELIC_ACCOUNT_ID"]),
    ("PROMETHEUS_URL", &["DASHBOARD_SOURCE"]),
];

macro_rules! integrations {
    ($($name:ident: $feature:literal, $krate:path $(, $options:ident)?, [$($variable:literal),* $(,)?];)+) => {
        $(
            #[cfg(feature = $feature)]
            pub(crate) mod $name;
            #[cfg(not(feature = $feature))]
            pub(crate) mod $name {
                pub(crate) use super::off::*;
            }
        )+

        /// The crates that Steeple is made of, by short names.
        #[expect(unreachable_pub, reason = "exported by the root of the crate, with all that is in it")]
        pub mod crates {
            pub use {
                steeple_core as core, steeple_export as export, steeple_log as log, steeple_metrics as metrics, steeple_scrub as scrub,
                steeple_transaction as transaction, steeple_user as user,
            };
            $(#[cfg(feature = $feature)] pub use {$krate as $name $(, super::$name::$options)?};)+
        }

        /// The names, for `STEEPLE_DISABLE`.
        const NAMES: &[&str] = &[$(stringify!($name)),+];

        /// The options of all integrations.
        #[derive(Debug, Default)]
        pub(crate) struct Settings {
            disabled: Vec<String>,
            /// Variables that are set for an integration whose feature is off, and addresses without what turns them on.
            without_effect: Vec<String>,
            pub(crate) reach: Reach,
            $(pub(crate) $name: Setting<$name::Options>,)+
        }

        impl Settings {
            pub(crate) fn from_env(env: &dyn Lookup) -> Result<Self, ConfigError> {
                let mut without_effect = Vec::new();
                $(if !<$name::Options as Integration>::IS_COMPILED && let Some((variable, _)) = env.first(&[$($variable),*])? {
                    without_effect.push(format!(
                        "{variable} is set, but Steeple is built without the feature `{}`", $feature
                    ));
                })+
                for (address, switches) in ADDRESSES {
                    let of = |name: &str| matches!(env.text(name), Ok(Some(_)));
                    let is_set = |name: &str| of(name) || of(&format!("{name}_FILE"));
                    if is_set(address) && !switches.iter().any(|switch| is_set(switch)) {
                        without_effect.push(format!("{address} has no effect: {} is not set", switches.join(" or ")));
                    }
                }
                Ok(Self {
                    disabled: env::disabled(env, NAMES)?,
                    without_effect,
                    reach: Reach::from_env(env, NAMES)?,
                    $($name: Integration::from_env(env)?,)+
                })
            }

            /// Starts the integrations that are on, in the order of the list.
            pub(crate) fn start(self, setup: &mut Setup<'_>) -> Result<(Running, Integrations), ConfigError> {
                let mut summary = Integrations::default();
                summary.tls = self.reach.install();
                summary.unreachable = self.reach.unreachable.clone();
                setup.warnings.extend(self.without_effect);
                let running = Running {
                    $($name: start(stringify!($name), self.$name, &self.disabled, &self.reach, setup, &mut summary)?,)+
                };
                setup.http = self.reach.of("pushed metrics");
                Ok((running, summary))
            }
        }

        /// What runs.
        #[derive(Clone, Debug)]
        pub(crate) struct Running {
            $(pub(crate) $name: Option<<$name::Options as Integration>::Handle>,)+
        }

        impl Running {
            /// Reads the integrations' files again.
            pub(crate) fn reload(&self) {
                $(if let Some(handle) = &self.$name {
                    <$name::Options as Integration>::reload(handle);
                })+
            }

            /// Adds the integrations' layers to a subscriber.
            pub(crate) fn subscribe<S: InProcess>(&self, subscriber: S, filter: &str) -> impl InProcess + use<S> {
                $(let subscriber = <$name::Options>::subscribe(subscriber, self.$name.clone(), filter.to_owned());)+
                subscriber
            }

            /// All observers: ids and names first, because the others read them.
            #[expect(clippy::too_many_arguments, reason = "one for each observer outside of the integrations")]
            pub(crate) fn observe(
                &self,
                skips: Skips,
                ids: RequestIds,
                naming: Naming,
                users: Users,
                log: Log,
                metrics: Metrics,
                recorder: Option<Capture>,
                request_spans: Option<RequestSpans>,
            ) -> Observers {
                Observers {
                    skips,
                    recorder,
                    ids,
                    naming,
                    users,
                    $($name: <$name::Options as Integration>::observer(self.$name.as_ref()),)+
                    request_spans,
                    log,
                    metrics,
                }
            }
        }

        steeple_core::observers! {
            /// What [`SteepleLayer`](crate::SteepleLayer) observes exchanges with. Opaque: its contents depend on Cargo features.
            #[derive(Debug)]
            pub struct Observers {
                skips: Skips,
                recorder: Option<Capture>,
                ids: RequestIds,
                naming: Naming,
                users: Users,
                $($name: $name::Observer,)+
                request_spans: Option<RequestSpans>,
                pub(crate) log: Log,
                pub(crate) metrics: Metrics,
            }
        }
    };
}

pub(crate) use trace::CallObserver as Calls;

/// What observes jobs, of the integrations that do.
pub(crate) type JobParts = (trace::JobObserver, sentry::JobObserver, events::JobObserver);

impl Running {
    #[expect(clippy::allow_attributes, reason = "which parts are units depends on the features")]
    #[allow(clippy::unit_arg, reason = "an integration that is off observes nothing")]
    pub(crate) fn job_parts(&self) -> JobParts {
        (
            trace::job_observer(self.trace.as_ref()),
            sentry::job_observer(self.sentry.as_ref()),
            events::job_observer(self.events.as_ref()),
        )
    }
}

impl Running {
    pub(crate) fn call_observer(&self) -> Calls {
        <trace::Options as Integration>::call_observer(self.trace.as_ref())
    }
}

// The name (of the file, of the field, in `STEEPLE_DISABLE`), the feature, the crate, the type of its options if it is the facade's,
// and the variables that turn it on. In this order they start, and observe.
integrations! {
    trace: "trace", steeple_trace, [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        "NEW_RELIC_LICENSE_KEY",
    ];
    sentry: "sentry", steeple_sentry, ["SENTRY_DSN"];
    events: "events", steeple_events, [
        "MIXPANEL_TOKEN",
        "GA4_MEASUREMENT_ID",
        "NEW_RELIC_ACCOUNT_ID",
        "ELASTICSEARCH_EVENTS_STREAM",
        "EVENTS_WEBHOOK_URL",
        "EVENTS_NDJSON",
    ];
    cloudwatch: "cloudwatch", steeple_cloudwatch, CloudWatchOptions, ["CLOUDWATCH_NAMESPACE", "CLOUDWATCH_LOG_GROUP"];
    elasticsearch: "elasticsearch", steeple_log::elasticsearch, ElasticsearchOptions, ["ELASTICSEARCH_LOGS_STREAM"];
    alerts: "alerts", steeple_alerts, [
        "ALERTS_SLACK_WEBHOOK_URL",
        "ALERTS_WEBHOOK_URL",
        "ALERTS_SMTP_URL",
        "ALERTS_ALERTMANAGER_URL",
        "ALERTS_HEARTBEAT_URL",
        "ALERTS_FILE",
        "ALERTS_SENTRY",
    ];
    dashboard: "dashboard", steeple_dashboard, ["DASHBOARD_TOKEN", "DASHBOARD_USER", "DASHBOARD_SOURCE"];
}
