use std::time::Duration;

use serde::Serialize;
use steeple_metrics::{
    BuildError, Metrics,
    indicator::{Frame, History, Indicator, RouteFrame, RouteTrend, Tier, Value, Watched, Window},
};

use super::num::{Num, count, known};
use crate::requests::RequestRecord;

/// What the service does now: over the last minute.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RealTime {
    /// Distinct users of the last minutes.
    pub active_users: Trend,
    /// Requests that ended.
    pub requests_per_minute: Trend,
    /// The part of them that failed for a reason on the server's side, 0 to 1.
    pub error_ratio: Trend,
    /// The mean response time in seconds.
    pub mean: Trend,
    /// The median response time in seconds.
    pub p50: Trend,
    /// The response time that 95 % did not exceed, in seconds.
    pub p95: Trend,
    /// The response time that 99 % did not exceed, in seconds.
    pub p99: Trend,
    /// Requests that have begun and not ended.
    pub in_flight: Trend,
    /// The busiest routes first, at most 200.
    pub routes: Vec<RouteRow>,
    /// What users did, the latest first: at most 10 a second, while somebody looks at the page. Users are what the privacy
    /// policy lets sinks see.
    pub activity: Vec<RequestRecord>,
}

/// A number now and an hour ago. `None`: not known, or there was nothing to make it of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Trend {
    /// The value now.
    #[serde(serialize_with = "known")]
    pub now: Option<f64>,
    /// The value of one minute an hour ago.
    #[serde(serialize_with = "known")]
    pub hour_ago: Option<f64>,
}

/// What one route did in the last 5 minutes.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RouteRow {
    /// The HTTP method; empty for gRPC.
    pub method: &'static str,
    /// The route's template, or the gRPC method.
    pub route: String,
    /// Requests that ended.
    pub requests: u32,
    /// Requests a second.
    #[serde(serialize_with = "num")]
    pub rate: f64,
    /// The part that failed for a reason on the server's side, 0 to 1.
    #[serde(serialize_with = "known")]
    pub error_ratio: Option<f64>,
    /// The part that was answered with 4xx, 0 to 1.
    #[serde(serialize_with = "known")]
    pub client_error_ratio: Option<f64>,
    /// The highest median of its 10-second frames, in seconds.
    #[serde(serialize_with = "known")]
    pub p50: Option<f64>,
    /// The highest 95 % quantile of its 10-second frames, in seconds.
    #[serde(serialize_with = "known")]
    pub p95: Option<f64>,
    /// Requests a second an hour ago.
    #[serde(serialize_with = "known")]
    pub rate_hour_ago: Option<f64>,
    /// The 95 % quantile an hour ago, in seconds.
    #[serde(serialize_with = "known")]
    pub p95_hour_ago: Option<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn num<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Num(*value).serialize(serializer)
}

const HOUR: Duration = Duration::from_secs(3600);
const LATELY: Duration = Duration::from_secs(300);

/// Indicators that the history evaluates for the tiles.
pub(crate) struct Watches {
    rate: Watched,
    errors: Watched,
    mean: Watched,
    quantiles: [Watched; 3],
    cpu: Watched,
    throttled: Watched,
    cache: Watched,
}

impl Watches {
    pub(crate) fn new(history: &History) -> Result<Self, BuildError> {
        let minute = |indicator| history.watch(indicator, Window::MINUTE);
        let lately = |indicator| history.watch(indicator, Window::FIVE_MINUTES);
        Ok(Self {
            rate: minute(Indicator::rate())?,
            errors: minute(Indicator::error_ratio())?,
            mean: minute(Indicator::mean())?,
            quantiles: [
                minute(Indicator::quantile(0.5))?,
                minute(Indicator::quantile(0.95))?,
                minute(Indicator::quantile(0.99))?,
            ],
            cpu: minute(Indicator::cpu())?,
            throttled: minute(Indicator::cpu_throttled())?,
            cache: lately(Indicator::cache_hit_ratio())?,
        })
    }

    /// Processor, throttling, cache.
    pub(crate) fn levels(&self) -> [Value; 3] {
        [self.cpu.value(), self.throttled.value(), self.cache.value()]
    }

    pub(crate) fn real_time(&self, metrics: &Metrics, history: &History) -> RealTime {
        let now = history.clock().unix();
        let minutes = history.frames(Tier::Minute, 0);
        let then = hour_ago(&minutes, now);
        let trend = |now: Option<f64>, read: fn(&Frame) -> f64| Trend {
            now,
            hour_ago: then.map(read).filter(|value| value.is_finite()),
        };
        let [p50, p95, p99] = self.quantiles.each_ref().map(|watched| watched.value().value);
        let users = history.frames(Tier::TenSeconds, 0).last().map(|frame| f64::from(frame.active_users));
        RealTime {
            active_users: trend(users.filter(|users| users.is_finite()), |frame| f64::from(frame.active_users)),
            requests_per_minute: trend(self.rate.value().value.map(|rate| rate * 60.0), |frame| {
                f64::from(frame.requests) / f64::from(frame.seconds) * 60.0
            }),
            error_ratio: trend(self.errors.value().value, |frame| {
                if frame.requests == 0 { f64::NAN } else { f64::from(frame.errors) / f64::from(frame.requests) }
            }),
            mean: trend(self.mean.value().value, |frame| f64::from(frame.mean)),
            p50: trend(p50, |frame| f64::from(frame.p50)),
            p95: trend(p95, |frame| f64::from(frame.p95)),
            p99: trend(p99, |frame| f64::from(frame.p99)),
            in_flight: trend(Some(count(metrics.totals().in_flight)), |frame| f64::from(frame.in_flight)),
            routes: route_rows(history),
            activity: Vec::new(),
        }
    }
}

/// The frame of a minute that ended an hour ago, give or take a minute and a half.
fn hour_ago(minutes: &[Frame], now: Duration) -> Option<&Frame> {
    let then = now.saturating_sub(HOUR);
    let nearest = minutes.iter().min_by_key(|frame| frame.unix.abs_diff(then))?;
    (nearest.unix.abs_diff(then) <= Duration::from_secs(90)).then_some(nearest)
}

/// What the routes did in the last 5 minutes, the busiest first.
pub(crate) fn route_rows(history: &History) -> Vec<RouteRow> {
    let mut rows: Vec<RouteRow> = history.routes().iter().map(row).filter(|row| row.requests > 0).collect();
    rows.sort_by(|one, other| other.requests.cmp(&one.requests).then_with(|| one.route.cmp(&other.route)));
    rows
}

fn row(trend: &RouteTrend) -> RouteRow {
    let lately = trend.over(LATELY);
    let ratio = |part: u32| (lately.requests > 0).then(|| f64::from(part) / f64::from(lately.requests));
    let finite = |value: f32| value.is_finite().then(|| f64::from(value)).filter(|value| *value > 0.0);
    // The oldest minutes of an hour that is full.
    let then: &[RouteFrame] = if trend.minutes.len() >= 58 { trend.minutes.get(..5).unwrap_or_default() } else { &[] };
    let seconds: f32 = then.iter().map(|frame| frame.seconds).sum();
    let requests: u32 = then.iter().map(|frame| frame.requests).fold(0, u32::saturating_add);
    let p95 = then.iter().map(|frame| frame.p95).fold(f32::NAN, f32::max);
    RouteRow {
        method: trend.method,
        route: trend.route.clone().into_owned(),
        requests: lately.requests,
        rate: if lately.seconds > 0.0 { f64::from(lately.requests) / f64::from(lately.seconds) } else { 0.0 },
        error_ratio: ratio(lately.errors),
        client_error_ratio: ratio(lately.client_errors),
        p50: finite(lately.p50),
        p95: finite(lately.p95),
        rate_hour_ago: (seconds > 0.0).then(|| f64::from(requests) / f64::from(seconds)),
        p95_hour_ago: finite(p95),
    }
}
