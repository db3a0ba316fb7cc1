//! The JSON that the page is drawn from: everything, or what came after a cursor.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use steeple_metrics::indicator::{Frame, Tier};

use crate::{
    Business, Dashboard, LogLevel, RealTime, RequestLists, SystemHealth, about::About, data::Columns, deploys::Mark,
};

/// Where an earlier frame of this process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// How often older frames were put in front: after that, all is read again.
    past: u64,
    seconds: u64,
    tens: u64,
    minutes: u64,
    requests: u64,
}

impl Cursor {
    /// `None`: of another process, or not a cursor.
    pub(crate) fn parse(text: &str, about: &About) -> Option<Self> {
        let mut parts = text.split('.');
        if parts.next()? != boot(about) {
            return None;
        }
        let mut number = || parts.next()?.parse::<u64>().ok();
        Some(Self { past: number()?, seconds: number()?, tens: number()?, minutes: number()?, requests: number()? })
    }

    pub(crate) fn write(self, about: &About) -> String {
        let Self { past, seconds, tens, minutes, requests } = self;
        format!("{}.{past}.{seconds}.{tens}.{minutes}.{requests}", boot(about))
    }
}

/// The process: its instance and when it began.
fn boot(about: &About) -> String {
    let instance: String = about.instance.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("{instance}-{}", about.started.as_millis())
}

/// The last whole frame, so that many who open the page at once get one encoding.
#[derive(Default)]
pub(crate) struct Frames {
    whole: Option<(Cursor, Duration, Bytes)>,
}

/// A whole frame is used again for so long.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Written<'a> {
    cursor: String,
    /// Whether it is the whole, and not what came after a cursor.
    whole: bool,
    /// Milliseconds since the Unix epoch.
    now: u128,
    service: &'a str,
    version: Option<&'a str>,
    environment: Option<&'a str>,
    instance: &'a str,
    boot: String,
    started: u128,
    #[serde(skip_serializing_if = "Columns::is_empty")]
    seconds: Columns,
    #[serde(skip_serializing_if = "Columns::is_empty")]
    tens: Columns,
    #[serde(skip_serializing_if = "Columns::is_empty")]
    minutes: Columns,
    #[serde(flatten)]
    now_and_tables: Tables<'a>,
}

#[derive(Serialize)]
struct Tables<'a> {
    real_time: RealTime,
    system: SystemHealth,
    alerts: Alerts,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<RequestLists>,
    /// Whether the lists of requests are fed at all.
    has_requests: bool,
    /// Whether the numbers of all instances can be asked for.
    has_fleet: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow: Option<Slow<'a>>,
    /// When this service was deployed: with `slow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    deploys: Option<Vec<Mark>>,
}

/// What changes every 10 seconds at most.
#[derive(Serialize)]
struct Slow<'a> {
    hour: Business,
    day: Business,
    groups: Vec<Group>,
    sinks: Vec<SinkRow>,
    dropped: Vec<DroppedRow>,
    settings: &'a [(String, String)],
    log: Option<LogLevel>,
    has_outbox: bool,
    has_spans: bool,
    trace_url: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct Alerts {
    /// Whether there are rules at all.
    has_rules: bool,
    rules: Vec<RuleRow>,
    silences: Vec<SilenceRow>,
}

#[derive(Serialize)]
struct RuleRow {
    name: String,
    severity: &'static str,
    phase: &'static str,
    is_firing: bool,
    has_data: bool,
    value: Option<f64>,
    threshold: f64,
    unit: &'static str,
    since: Option<u128>,
    is_acknowledged: bool,
    /// What explains the number: the lists of `failed` and `slow` requests, or the id of a part of the page.
    about: &'static str,
    /// The route that it is about, as the lists name it.
    route: Option<String>,
}

#[derive(Serialize)]
struct SilenceRow {
    rule: String,
    until: u128,
    author: String,
}

#[derive(Serialize)]
struct Group {
    kind: String,
    route: String,
    message: String,
    count: u64,
    first_seen: u128,
    last_seen: u128,
    first_version: String,
    /// Whether it was first seen since this process began.
    is_new: bool,
}

#[derive(Serialize)]
struct SinkRow {
    name: String,
    accepted: u64,
    exported: u64,
    queued_items: u64,
    queued_bytes: u64,
    dropped: u64,
    health: &'static str,
    /// Why it is not `ok`.
    reason: Option<String>,
}

#[derive(Serialize)]
struct DroppedRow {
    sink: String,
    reason: String,
    count: u64,
}

impl Frames {
    pub(crate) fn json(&mut self, dashboard: &Dashboard, since: Option<Cursor>) -> Bytes {
        let now = dashboard.0.history.clock().monotonic();
        if let (None, Some((cursor, at, bytes))) = (since, &self.whole)
            && now.saturating_sub(*at) < FRESH
            && cursor.requests == requests_version(dashboard)
            && cursor.past == dashboard.0.history.past()
        {
            return bytes.clone();
        }
        let (cursor, bytes) = encode(dashboard, since);
        if since.is_none() {
            self.whole = Some((cursor, now, bytes.clone()));
        }
        bytes
    }
}

fn requests_version(dashboard: &Dashboard) -> u64 {
    dashboard.0.requests.as_ref().map_or(0, crate::Requests::version)
}

/// A frame, and where it ends.
pub(crate) fn encode(dashboard: &Dashboard, since: Option<Cursor>) -> (Cursor, Bytes) {
    let inner = &*dashboard.0;
    let (about, history) = (&inner.about, &inner.history);
    let past = history.past();
    let since = since.filter(|since| since.past == past);
    let from = since.unwrap_or_default();
    let requests_version = requests_version(dashboard);
    let [seconds, tens, minutes] =
        [(Tier::Second, from.seconds), (Tier::TenSeconds, from.tens), (Tier::Minute, from.minutes)]
            .map(|(tier, above)| history.frames(tier, above));
    let end = |frames: &[Frame], before: u64| frames.last().map_or(before, |frame| frame.seq);
    let cursor = Cursor {
        past,
        seconds: end(&seconds, from.seconds),
        tens: end(&tens, from.tens),
        minutes: end(&minutes, from.minutes),
        requests: requests_version,
    };
    let is_slow_due = since.is_none() || !tens.is_empty();
    let mut real_time = inner.watches.real_time(&inner.metrics, history);
    if !is_slow_due {
        real_time.routes.clear();
    }
    let requests = (since.is_none() || from.requests != requests_version).then(|| dashboard.requests());
    let written = Written {
        cursor: cursor.write(about),
        whole: since.is_none(),
        now: history.clock().unix().as_millis(),
        service: &about.service,
        version: about.version.as_deref(),
        environment: about.environment.as_deref(),
        instance: &about.instance,
        boot: boot(about),
        started: about.started.as_millis(),
        seconds: Columns::of(&seconds),
        tens: Columns::of(&tens),
        minutes: Columns::of(&minutes),
        now_and_tables: Tables {
            real_time,
            system: dashboard.system_health(),
            alerts: alerts(dashboard),
            requests,
            has_requests: inner.requests.is_some(),
            #[cfg(feature = "prometheus")]
            has_fleet: inner.fleet.is_some(),
            #[cfg(not(feature = "prometheus"))]
            has_fleet: false,
            slow: is_slow_due.then(|| slow(dashboard)),
            deploys: is_slow_due.then(|| inner.deploys.marks()),
        },
    };
    // Numbers, texts and lists of them: what cannot be written is not in there.
    (cursor, serde_json::to_vec(&written).unwrap_or_default().into())
}

fn slow(dashboard: &Dashboard) -> Slow<'_> {
    let inner = &*dashboard.0;
    let sinks = inner.sinks.iter().map(|sink| {
        let stats = sink.stats();
        SinkRow {
            name: sink.name().to_owned(),
            accepted: stats.accepted,
            exported: stats.exported,
            queued_items: stats.queued_items,
            queued_bytes: stats.queued_bytes,
            dropped: stats.dropped_total(),
            health: stats.health.as_str(),
            reason: stats.health.reason().map(ToString::to_string),
        }
    });
    let dropped = inner.metrics.dropped().into_iter().filter(|dropped| dropped.count > 0);
    Slow {
        hour: dashboard.business(Duration::from_secs(3600)),
        day: dashboard.business(Duration::from_secs(86_400)),
        groups: groups(dashboard),
        sinks: sinks.collect(),
        dropped: dropped
            .map(|row| DroppedRow { sink: row.sink.into_owned(), reason: row.reason.into_owned(), count: row.count })
            .collect(),
        settings: &inner.settings,
        log: inner.seams.log.as_ref().map(|log| log.current()),
        has_outbox: inner.seams.outbox.is_some(),
        has_spans: inner.seams.traces.is_some(),
        trace_url: inner.trace_url.as_deref(),
    }
}

#[cfg(not(feature = "alerts"))]
fn alerts(_dashboard: &Dashboard) -> Alerts {
    Alerts::default()
}

#[cfg(not(feature = "alerts"))]
fn groups(_dashboard: &Dashboard) -> Vec<Group> {
    Vec::new()
}

/// Most error groups on the page.
#[cfg(feature = "alerts")]
const MAX_GROUPS: usize = 50;

#[cfg(feature = "alerts")]
fn groups(dashboard: &Dashboard) -> Vec<Group> {
    let inner = &*dashboard.0;
    let Some(alerts) = &inner.alerts else { return Vec::new() };
    let mut groups: Vec<_> = alerts.error_groups();
    groups.sort_by_key(|group| std::cmp::Reverse(group.last_seen));
    let written = groups.into_iter().take(MAX_GROUPS).map(|group| Group {
        is_new: group.first_seen >= inner.about.started,
        kind: group.kind,
        route: group.route,
        message: group.message,
        count: group.count,
        first_seen: group.first_seen.as_millis(),
        last_seen: group.last_seen.as_millis(),
        first_version: group.first_version,
    });
    written.collect()
}

#[cfg(feature = "alerts")]
fn alerts(dashboard: &Dashboard) -> Alerts {
    use steeple_alerts::Rule;
    use steeple_metrics::indicator::{Indicator, Unit};

    let Some(alerts) = &dashboard.0.alerts else { return Alerts::default() };
    let firing: Vec<String> = alerts.firing().into_iter().map(|rule| rule.name).collect();
    let definitions = alerts.definitions();
    let indicator = |name: &str| definitions.iter().find(|rule| rule.name() == name).map(Rule::indicator);
    let rules = alerts.rules().into_iter().map(|rule| RuleRow {
        about: indicator(&rule.name).map_or("tiles", |indicator| explains(indicator.measure())),
        route: indicator(&rule.name)
            .and_then(Indicator::route)
            .map(|(method, route)| if method.is_empty() { route.to_owned() } else { format!("{method} {route}") }),
        is_firing: firing.contains(&rule.name),
        severity: rule.severity.as_str(),
        phase: rule.phase.as_str(),
        has_data: rule.has_data,
        value: rule.value.filter(|value| value.is_finite()),
        threshold: rule.threshold,
        unit: match rule.unit {
            Unit::Ratio => "ratio",
            Unit::Seconds => "seconds",
            Unit::PerSecond => "per_second",
            Unit::Count | _ => "count",
        },
        since: rule.firing_since.map(|since| since.as_millis()),
        is_acknowledged: rule.is_acknowledged,
        name: rule.name,
    });
    let rules: Vec<RuleRow> = rules.collect();
    let silences = alerts.silences().into_iter().map(|silence| SilenceRow {
        rule: silence.rule,
        until: silence.until.as_millis(),
        author: silence.author,
    });
    Alerts { has_rules: !rules.is_empty(), rules, silences: silences.collect() }
}

/// What on the page explains the value of a rule.
#[cfg(feature = "alerts")]
const fn explains(measure: steeple_metrics::indicator::Measure<'_>) -> &'static str {
    use steeple_metrics::indicator::Measure;

    match measure {
        Measure::ErrorRatio | Measure::AbortedRatio(_) => "failed",
        Measure::Quantile(_) | Measure::Mean | Measure::SlowRatio(_) => "slow",
        Measure::Rate => "chart-requests",
        Measure::InFlight | Measure::ActiveUsers => "chart-users",
        Measure::Cpu | Measure::CpuThrottled | Measure::Memory | Measure::Disk => "chart-system",
        Measure::Connections | Measure::CacheHitRatio => "system",
        Measure::Dropped => "sinks",
        // Families of the application's own: those of the presets of events are there.
        Measure::CounterRate(_)
        | Measure::CounterIncrease(_)
        | Measure::CounterRatio(..)
        | Measure::Gauge(_)
        | Measure::HistogramQuantile(..)
        | _ => "business",
    }
}
