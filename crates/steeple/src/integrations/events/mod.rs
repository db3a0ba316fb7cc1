//! What users do, as typed events.

mod testing;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use prometheus::{
    IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use steeple_events::{
    Class, Counter, Events, EventsBuilder, EventsObserver, Meter, OutletStats, Rejected, Role, Service,
    sink::{Elasticsearch, Ga4, Mixpanel, MixpanelRegion, Ndjson, NewRelic, NewRelicRegion, Webhook},
};
use steeple_metrics::{Buckets, CounterFamily, DurationFamily, Metrics, Operation, WeakMetrics};

pub use self::testing::RecordedEvent;
use super::{Integration, NoCalls, Setting, Setup, Started};
use crate::{ConfigError, Steeple, SteepleBuilder, env::Lookup, own_metrics::OwnMetrics, testing::Recording};

pub(crate) type Options = EventsBuilder;
pub(crate) type Observer = Option<EventsObserver>;

/// What releases events that wait for the success of a job.
pub(crate) type JobObserver = Option<EventsObserver>;

/// The observer of jobs.
pub(crate) fn job_observer(handle: Option<&Events>) -> JobObserver {
    handle.map(Events::observer)
}

impl SteepleBuilder {
    /// Changes the options for events. What the environment has set stays, unless this sets the same.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// use steeple::events::sink::Ndjson;
    ///
    /// let builder = steeple::Steeple::builder_from_env()?.events(|events| events.sink(Ndjson::new("events.ndjson")));
    /// # let _unused = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(mut self, change: impl FnOnce(EventsBuilder) -> EventsBuilder) -> Self {
        self.integrations.events.change(change);
        self
    }
}

impl Steeple {
    /// The events: they are counted in the metrics, and go to the sinks that are configured.
    pub fn events(&self) -> Events {
        self.running().events.clone().unwrap_or_else(Events::disabled)
    }
}

impl Integration for EventsBuilder {
    type Handle = Events;
    type Observer = Observer;
    type CallObserver = NoCalls;

    fn from_env(env: &dyn Lookup) -> Result<Setting<Self>, ConfigError> {
        let mut options = Self::default();
        let mut variable = None;
        if let Some(token) = env.secret("MIXPANEL_TOKEN")? {
            let mut mixpanel = Mixpanel::new(token).region(mixpanel_region(env)?);
            if let Some(endpoint) = env.text("MIXPANEL_ENDPOINT")? {
                mixpanel = mixpanel.endpoint(endpoint);
            }
            options = options.sink(mixpanel);
            variable.get_or_insert("MIXPANEL_TOKEN");
        }
        if let Some((id, secret)) = pair(env, "GA4_MEASUREMENT_ID", "GA4_API_SECRET")? {
            let mut ga4 = Ga4::new(id, secret);
            if let Some(endpoint) = env.text("GA4_ENDPOINT")? {
                ga4 = ga4.endpoint(endpoint);
            }
            options = options.sink(ga4);
            variable.get_or_insert("GA4_MEASUREMENT_ID");
        }
        // The license key alone turns traces on: the account is what events need besides.
        if let Some(account) = env.text("NEW_RELIC_ACCOUNT_ID")? {
            let Some(key) = env.secret("NEW_RELIC_LICENSE_KEY")? else {
                return Err(ConfigError::missing("NEW_RELIC_LICENSE_KEY", "a key, since NEW_RELIC_ACCOUNT_ID is set"));
            };
            let region = newrelic_region(env, &key)?;
            let mut newrelic = NewRelic::new(key, account).region(region);
            if let Some(endpoint) = env.text("NEW_RELIC_EVENTS_ENDPOINT")? {
                newrelic = newrelic.endpoint(endpoint);
            }
            options = options.sink(newrelic);
            variable.get_or_insert("NEW_RELIC_ACCOUNT_ID");
        }
        if let Some(stream) = env.text("ELASTICSEARCH_EVENTS_STREAM")? {
            let Some(url) = env.secret("ELASTICSEARCH_URL")? else {
                return Err(ConfigError::missing(
                    "ELASTICSEARCH_URL",
                    "a URL, since ELASTICSEARCH_EVENTS_STREAM is set",
                ));
            };
            let mut elasticsearch = Elasticsearch::new(url, stream);
            if let Some(key) = env.secret("ELASTICSEARCH_API_KEY")? {
                elasticsearch = elasticsearch.api_key(key);
            }
            options = options.sink(elasticsearch);
            variable.get_or_insert("ELASTICSEARCH_EVENTS_STREAM");
        }
        if let Some((url, secret)) = pair(env, "EVENTS_WEBHOOK_URL", "EVENTS_WEBHOOK_SECRET")? {
            options = options.sink(Webhook::new(url, secret));
            variable.get_or_insert("EVENTS_WEBHOOK_URL");
        }
        if let Some(path) = env.text("EVENTS_NDJSON")? {
            options = options.sink(Ndjson::new(path));
            variable.get_or_insert("EVENTS_NDJSON");
        }
        // It turns nothing on: without a sink there is nothing to keep.
        if let Some(directory) = env.text("EVENTS_DIR")? {
            // Where it is set, events have to survive the process.
            options = options.try_directory(&directory).ok_or_else(|| {
                let expected = "unset, since Steeple is built without the feature `spool`";
                ConfigError::variable_value("EVENTS_DIR", &directory, expected)
            })?;
        }
        Ok(Setting { options, variable })
    }

    fn start(self, setup: &mut Setup<'_>) -> Result<Option<Started<Events>>, ConfigError> {
        let recorded = setup.recording.as_ref().map(Recording::memory::<testing::RecordedEvents>);
        let options = match recorded.clone() {
            Some(recorded) => self.sink(testing::Kept(recorded)),
            None => self,
        };
        let events = options
            .service(service(setup.service))
            .scrubber(setup.scrubber.clone())
            .http(|http| http.or(&setup.http))
            .meter(Arc::new(Counters::new(setup.metrics)))
            .build()
            .map_err(|error| ConfigError::part("events", &error))?;
        match recorded {
            Some(recorded) => {
                let _set_once = recorded.tracker.set(events.clone());
            }
            None => {
                setup.started.insert(Installed::new(&events));
            }
        }
        if events.observes_operations() {
            watch(setup.metrics, &events);
        }
        count(&mut setup.own, &events);
        // There already where two of us share a registry: the first stays.
        let _there_already = Waiting::new(&events).map(|waiting| setup.metrics.register(Box::new(waiting)));
        let mut names = Vec::new();
        for sink in events.sinks() {
            names.push(sink.name().to_owned());
            setup.add_sink(sink);
        }
        let to = if names.is_empty() { "the metrics alone".to_owned() } else { names.join(", ") };
        Ok(Some(Started { handle: events, to }))
    }

    fn observer(handle: Option<&Events>) -> Observer {
        handle.map(Events::observer)
    }
}

/// Two variables that are of use together only.
fn pair(env: &dyn Lookup, first: &'static str, second: &'static str) -> Result<Option<(String, String)>, ConfigError> {
    match (env.secret(first)?, env.secret(second)?) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::missing(second, &format!("a value, since {first} is set"))),
        (None, Some(_)) => Err(ConfigError::missing(first, &format!("a value, since {second} is set"))),
    }
}

fn mixpanel_region(env: &dyn Lookup) -> Result<MixpanelRegion, ConfigError> {
    const NAME: &str = "MIXPANEL_REGION";
    match env.text(NAME)?.map(|region| region.to_ascii_lowercase()).as_deref() {
        None | Some("us") => Ok(MixpanelRegion::Us),
        Some("eu") => Ok(MixpanelRegion::Eu),
        Some("in") => Ok(MixpanelRegion::In),
        Some(other) => Err(ConfigError::variable_value(NAME, other, "`us`, `eu` or `in`")),
    }
}

/// As it is set, else by the key: European ones begin with `eu`.
fn newrelic_region(env: &dyn Lookup, key: &str) -> Result<NewRelicRegion, ConfigError> {
    const NAME: &str = "NEW_RELIC_REGION";
    match env.text(NAME)?.map(|region| region.to_ascii_lowercase()).as_deref() {
        None if key.starts_with("eu") => Ok(NewRelicRegion::Eu),
        None | Some("us") => Ok(NewRelicRegion::Us),
        Some("eu") => Ok(NewRelicRegion::Eu),
        Some(other) => Err(ConfigError::variable_value(NAME, other, "`us` or `eu`")),
    }
}

/// The process's events until the last handle of their `Steeple` is gone.
#[derive(Clone)]
struct Installed {
    _taken_back: Arc<Uninstall>,
}

struct Uninstall(Events);

impl Installed {
    fn new(events: &Events) -> Self {
        events.install();
        Self { _taken_back: Arc::new(Uninstall(events.clone())) }
    }
}

impl Drop for Uninstall {
    fn drop(&mut self) {
        self.0.uninstall();
    }
}

/// What the metrics measure of the database and the cache becomes events.
fn watch(metrics: &Metrics, events: &Events) {
    let events = events.clone();
    let _only_the_first = metrics.watch_operations(move |operation| match *operation {
        Operation::Query { operation, table, duration } => events.observe_query(operation, table, duration),
        Operation::Cache { operation, result } => events.observe_cache(operation, result),
        _ => {}
    });
}

fn service(of: &crate::env::Service) -> Service {
    let mut service = Service::default();
    if let Some(name) = &of.name {
        service = Service::new(name.clone());
    }
    if let Some(version) = &of.version {
        service = service.version(version.clone());
    }
    if let Some(environment) = &of.environment {
        service = service.environment(environment.clone());
    }
    if let Some(region) = &of.region {
        service = service.region(region.clone());
    }
    service
}

/// A number of what one sink counts.
type Read = fn(OutletStats) -> u64;

fn count(own: &mut OwnMetrics, events: &Events) {
    let counts = events.clone();
    own.add_by("steeple_events_tracked_total", "Events that were accepted.", "class", move || {
        let stats = counts.stats();
        Class::ALL.iter().map(|class| (class.as_str().to_owned(), stats.tracked(*class))).collect()
    });
    let counts = events.clone();
    own.add_by("steeple_events_rejected_total", "Events that were not accepted.", "reason", move || {
        let stats = counts.stats();
        Rejected::ALL.iter().map(|reason| (reason.as_str().to_owned(), stats.rejected(*reason))).collect()
    });
    let counts = events.clone();
    own.add_by(
        "steeple_events_skipped_total",
        "Events that a sink did not get: the visitor refused, or nothing identifies the visitor.",
        "sink",
        move || counts.skipped(),
    );
    let by_sink = |read: Read| {
        let events = events.clone();
        move || events.sink_stats().into_iter().map(|stats| (stats.sink.clone(), read(stats))).collect()
    };
    let counters: [(_, _, Read); 3] = [
        ("steeple_events_delivered_total", "Events that a receiver took.", |stats| stats.delivered),
        ("steeple_events_dead_total", "Events that a receiver will never take: dead letters.", |stats| stats.dead),
        ("steeple_events_in_doubt_total", "Events that were sent without an answer.", |stats| stats.in_doubt),
    ];
    for (name, help, read) in counters {
        own.add_by(name, help, "sink", by_sink(read));
    }
}

/// What waits for each sink.
struct Waiting {
    events: Events,
    gauges: Vec<(IntGaugeVec, Read)>,
}

impl Waiting {
    fn new(events: &Events) -> prometheus::Result<Self> {
        let gauges: [(_, _, Read); 4] = [
            ("steeple_events_backlog_items", "Events that wait for a sink.", |stats| stats.backlog.0),
            ("steeple_events_backlog_bytes", "Bytes of events that wait for a sink.", |stats| stats.backlog.1),
            ("steeple_events_backlog_age_seconds", "The age of the oldest event that waits for a sink.", |stats| {
                let now = steeple_core::clock::unix_now();
                stats.oldest.map_or(0, |oldest| now.saturating_sub(oldest).as_secs())
            }),
            ("steeple_events_dead_letters", "Dead letters that are kept.", |stats| stats.dead_letters),
        ];
        let make = |(name, help, read)| Ok((IntGaugeVec::new(Opts::new(name, help), &["sink"])?, read));
        let gauges = gauges.into_iter().map(make).collect::<prometheus::Result<_>>()?;
        Ok(Self { events: events.clone(), gauges })
    }
}

impl Collector for Waiting {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.iter().flat_map(|(gauge, _)| gauge.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for stats in self.events.sink_stats() {
            for (gauge, read) in &self.gauges {
                let value = i64::try_from(read(stats.clone())).unwrap_or(i64::MAX);
                gauge.with_label_values(&[&stats.sink]).set(value);
            }
        }
        self.gauges.iter().flat_map(|(gauge, _)| gauge.collect()).collect()
    }
}

/// Counts events in the metrics. Families appear with their first event; payments at once, so that the first failure is an
/// increase.
struct Counters {
    /// The metrics keep what reads the events' counts: they would keep each other.
    metrics: WeakMetrics,
    roles: OnceLock<Option<Roles>>,
    own: Mutex<HashMap<&'static str, Option<Own>>>,
}

struct Roles {
    registrations: CounterFamily<1>,
    logins: CounterFamily<1>,
    projects: CounterFamily<1>,
    tasks: CounterFamily<0>,
    task_durations: DurationFamily<0>,
    payments: CounterFamily<1>,
    revenue: CounterFamily<1>,
    refunds: CounterFamily<1>,
    conversions: CounterFamily<2>,
}

#[derive(Clone)]
enum Own {
    Plain(CounterFamily<0>),
    One(CounterFamily<1>),
    Two(CounterFamily<2>),
}

/// From a minute to a month.
const TASK_SECONDS: [f64; 9] = [60.0, 600.0, 3600.0, 14_400.0, 28_800.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0];

impl Counters {
    fn new(metrics: &Metrics) -> Self {
        Self { metrics: metrics.downgrade(), roles: OnceLock::new(), own: Mutex::default() }
    }

    /// `None` where the application has families of these names itself.
    fn roles(&self) -> Option<&Roles> {
        let make = || {
            let metrics = self.metrics.upgrade()?;
            let roles = Roles {
                registrations: metrics
                    .counter("user_registrations_total", "Users who registered, by where they came from.", ["source"])
                    .ok()?,
                logins: metrics.counter("user_logins_total", "Logins, by how they were made.", ["method"]).ok()?,
                projects: metrics
                    .counter("projects_created_total", "Projects that were created, by their type.", ["type"])
                    .ok()?,
                tasks: metrics.counter("tasks_completed_total", "Tasks that were completed.", []).ok()?,
                task_durations: metrics
                    .duration_histogram(
                        "task_completion_duration_seconds",
                        "Time from the beginning of a task to its completion.",
                        [],
                        &Buckets::new(TASK_SECONDS),
                    )
                    .ok()?,
                payments: metrics
                    .counter("payments_total", "Payments that were tried, by their result.", ["result"])
                    .ok()?,
                revenue: metrics
                    .counter("revenue_minor_units_total", "Revenue in minor units, by currency.", ["currency"])
                    .ok()?,
                refunds: metrics
                    .counter("refunds_minor_units_total", "Refunds in minor units, by currency.", ["currency"])
                    .ok()?,
                conversions: metrics
                    .counter("conversions_total", "Users who went from one step to the next.", ["from", "to"])
                    .ok()?,
            };
            for result in ["failed", "succeeded"] {
                roles.payments.add([result], 0);
            }
            Some(roles)
        };
        self.roles.get_or_init(make).as_ref()
    }
}

impl Meter for Counters {
    fn role(&self, role: Role<'_>) {
        let Some(roles) = self.roles() else { return };
        match role {
            Role::SignUp { source } => roles.registrations.inc([source]),
            Role::Login { method } => roles.logins.inc([method]),
            Role::ProjectCreated { kind } => roles.projects.inc([kind]),
            Role::TaskCompleted { duration } => {
                roles.tasks.inc([]);
                if let Some(duration) = duration {
                    roles.task_durations.observe([], duration);
                }
            }
            Role::Payment { failed } => roles.payments.inc([if failed { "failed" } else { "succeeded" }]),
            Role::Revenue { minor_units, currency } => {
                let family = if minor_units < 0 { &roles.refunds } else { &roles.revenue };
                family.add([currency], minor_units.unsigned_abs());
            }
            Role::Conversion { from, to } => roles.conversions.inc([from, to]),
            _ => (),
        }
    }

    fn count(&self, counter: &'static Counter, labels: &[&str]) {
        let family = {
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            let make = || {
                let metrics = self.metrics.upgrade()?;
                match *counter.labels {
                    [] => metrics.counter(counter.name, counter.help, []).ok().map(Own::Plain),
                    [one] => metrics.counter(counter.name, counter.help, [one]).ok().map(Own::One),
                    [one, other, ..] => metrics.counter(counter.name, counter.help, [one, other]).ok().map(Own::Two),
                }
            };
            own.entry(counter.name).or_insert_with(make).clone()
        };
        match (family, labels) {
            (Some(Own::Plain(family)), _) => family.inc([]),
            (Some(Own::One(family)), [one, ..]) => family.inc([one]),
            (Some(Own::Two(family)), [one, other, ..]) => family.inc([one, other]),
            _ => (),
        }
    }
}
