//! What CloudWatch gets of a reading of the metrics.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use steeple_metrics::indicator::{
    Aborted, Counts, FamilyKind, FamilyReading, Latency, Reading, Resources, SeriesReading, SeriesValue,
};

use crate::{
    datum::{Datum, Dimensions, Refused, Unit, check_number, dimension_value, is_name, rounded},
    drops::{Drops, Why},
    limits::MAX_VALUES,
};

/// A dimension that metrics can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dimension {
    /// `Service`: the service's name.
    Service,
    /// `Environment`: `production`.
    Environment,
    /// `Route`, on requests, errors and latency: the method and the template, `GET /users/{id}`.
    Route,
    /// `StatusClass`, on requests: `2xx`.
    StatusClass,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Service, Self::Environment, Self::Route, Self::StatusClass];

    /// Its name in CloudWatch.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Environment => "Environment",
            Self::Route => "Route",
            Self::StatusClass => "StatusClass",
        }
    }
}

/// The dimensions of metrics.
#[derive(Clone, Debug)]
pub(crate) struct Scheme {
    pub(crate) service: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) dimensions: Vec<Dimension>,
    /// Labels of families that become dimensions. Series that differ in others are added up.
    pub(crate) labels: Vec<String>,
    /// Most metrics of one minute.
    pub(crate) max_metrics: usize,
}

impl Default for Scheme {
    fn default() -> Self {
        Self {
            service: None,
            environment: None,
            dimensions: Dimension::ALL.to_vec(),
            labels: vec!["result".to_owned()],
            max_metrics: 500,
        }
    }
}

impl Scheme {
    pub(crate) fn has(&self, dimension: Dimension) -> bool {
        self.dimensions.contains(&dimension)
    }

    /// The dimensions of all metrics.
    pub(crate) fn base(&self) -> Vec<(Cow<'static, str>, String)> {
        let all = [(Dimension::Service, &self.service), (Dimension::Environment, &self.environment)];
        let set = all.into_iter().filter(|(dimension, _)| self.has(*dimension));
        set.filter_map(|(dimension, value)| Some((dimension.as_str().into(), dimension_value(value.as_ref()?))))
            .collect()
    }

    pub(crate) fn with(&self, more: impl IntoIterator<Item = (Cow<'static, str>, String)>) -> Dimensions {
        let mut all = self.base();
        all.extend(more);
        Arc::new(all)
    }

    pub(crate) fn route(&self, method: &str, route: &str) -> Dimensions {
        let route = if method.is_empty() { route.to_owned() } else { format!("{method} {route}") };
        self.with([(Dimension::Route.as_str().into(), dimension_value(&route))])
    }
}

/// The names of metrics about requests and the process.
pub(crate) mod names {
    pub(crate) const REQUESTS: &str = "Requests";
    pub(crate) const ERRORS: &str = "Errors";
    pub(crate) const ERROR_RATE: &str = "ErrorRate";
    pub(crate) const LATENCY: &str = "Latency";
    pub(crate) const IN_FLIGHT: &str = "RequestsInFlight";
    pub(crate) const CPU: &str = "CPUUtilization";
    pub(crate) const CPU_THROTTLED: &str = "CPUThrottled";
    pub(crate) const MEMORY: &str = "MemoryUtilization";
    pub(crate) const DISK: &str = "DiskUtilization";
    pub(crate) const ACTIVE_USERS: &str = "ActiveUsers";
    pub(crate) const CONNECTIONS: &str = "DatabaseConnections";
    pub(crate) const CONNECTION_USE: &str = "DatabaseConnectionUtilization";
    pub(crate) const CACHE_HITS: &str = "CacheHits";
    pub(crate) const CACHE_MISSES: &str = "CacheMisses";
    pub(crate) const CACHE_HIT_RATE: &str = "CacheHitRate";
    pub(crate) const DROPPED: &str = "ItemsDropped";
}

/// The metric of requests that ended like this.
pub(crate) fn aborted_name(outcome: steeple_core::Outcome) -> &'static str {
    use steeple_core::Outcome;
    match outcome {
        Outcome::Cancelled => "RequestsCancelled",
        Outcome::CancelledInBody => "RequestsCancelledInBody",
        Outcome::ServiceError => "ServiceErrors",
        Outcome::BodyError => "BodyErrors",
        Outcome::Panicked => "Panics",
        Outcome::Completed | Outcome::Upgraded => names::REQUESTS,
    }
}

/// The data for the time between two readings of the same metrics.
pub(crate) fn collect(scheme: &Scheme, now: &Reading, older: &Reading, drops: &Drops) -> Vec<Datum> {
    let mut out = Out { scheme, at: now.unix, data: Vec::new(), drops };
    let base = scheme.with([]);
    let lately = now.since(older);
    out.requests(&base, &now.totals.counts, &lately.totals.counts);
    out.whole(names::IN_FLIGHT, &base, Unit::Count, to_f64(now.totals.in_flight));
    out.resources(&base, &now.resources, &older.resources, lately.covers);
    if let Some(users) = now.active_users {
        out.whole(names::ACTIVE_USERS, &base, Unit::Count, users);
    }
    if let Some(connections) = &now.connections {
        out.whole(names::CONNECTIONS, &base, Unit::Count, f64::from(connections.used));
        if connections.max > 0 {
            let used = f64::from(connections.used) / f64::from(connections.max) * 100.0;
            out.whole(names::CONNECTION_USE, &base, Unit::Percent, used);
        }
    }
    if now.cache.hits > 0 || now.cache.misses > 0 {
        out.whole(names::CACHE_HITS, &base, Unit::Count, to_f64(lately.cache.hits));
        out.whole(names::CACHE_MISSES, &base, Unit::Count, to_f64(lately.cache.misses));
        if let Some(ratio) = lately.cache.hit_ratio() {
            out.whole(names::CACHE_HIT_RATE, &base, Unit::Percent, ratio * 100.0);
        }
    }
    if now.dropped.iter().any(|item| item.count > 0) {
        out.whole(names::DROPPED, &base, Unit::Count, to_f64(lately.dropped.iter().map(|item| item.count).sum()));
    }
    for (family, lately) in now.families.iter().zip(&lately.families) {
        out.family(family, lately);
    }
    if scheme.has(Dimension::Route) {
        // The busiest first: the others are left out where there are too many.
        let mut routes: Vec<_> = lately.routes.iter().filter(|route| route.counts.requests > 0).collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.counts.requests));
        for route in routes {
            let dimensions = scheme.route(route.method, &route.route);
            out.whole(names::REQUESTS, &dimensions, Unit::Count, to_f64(route.counts.requests));
            out.whole(names::ERRORS, &dimensions, Unit::Count, to_f64(route.counts.errors));
            out.latency(names::LATENCY, &dimensions, &route.counts.latency);
        }
    }
    let left_out = out.data.len().saturating_sub(scheme.max_metrics);
    drops.add(Why::TooMany, left_out as u64);
    out.data.truncate(scheme.max_metrics);
    out.data
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53, and approximately above")]
pub(crate) fn to_f64(count: u64) -> f64 {
    count as f64
}

struct Out<'a> {
    scheme: &'a Scheme,
    at: Duration,
    data: Vec<Datum>,
    drops: &'a Drops,
}

impl Out<'_> {
    fn push(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        dimensions: &Dimensions,
        unit: Unit,
        values: Vec<(f64, f64)>,
    ) {
        let name = name.into();
        if !is_name(&name) {
            self.drops.add(Why::InvalidName, 1);
            return;
        }
        let checked = values.into_iter().filter(|(value, _)| match check_number(*value) {
            Ok(_) => true,
            Err(refused) => {
                self.drops.add(refused.into(), 1);
                false
            }
        });
        let checked: Vec<_> = checked.collect();
        for values in checked.chunks(MAX_VALUES) {
            let (name, dimensions) = (name.clone(), Arc::clone(dimensions));
            self.data.push(Datum { name, dimensions, unit, at: self.at, values: values.to_vec() });
        }
    }

    fn whole(&mut self, name: impl Into<Cow<'static, str>>, dimensions: &Dimensions, unit: Unit, value: f64) {
        self.push(name, dimensions, unit, vec![(value, 1.0)]);
    }

    fn requests(&mut self, base: &Dimensions, ever: &Counts, lately: &Counts) {
        self.whole(names::REQUESTS, base, Unit::Count, to_f64(lately.requests));
        self.whole(names::ERRORS, base, Unit::Count, to_f64(lately.errors));
        if let Some(ratio) = lately.error_ratio() {
            self.whole(names::ERROR_RATE, base, Unit::Percent, ratio * 100.0);
        }
        self.latency(names::LATENCY, base, &lately.latency);
        self.whole("RequestBytes", base, Unit::Bytes, to_f64(lately.request_bytes));
        self.whole("ResponseBytes", base, Unit::Bytes, to_f64(lately.response_bytes));
        if self.scheme.has(Dimension::StatusClass) {
            let (ever, lately) = (ever.classes, lately.classes);
            for (class, ever, lately) in [
                ("1xx", ever.informational, lately.informational),
                ("2xx", ever.successes, lately.successes),
                ("3xx", ever.redirects, lately.redirects),
                ("4xx", ever.client_errors, lately.client_errors),
                ("5xx", ever.server_errors, lately.server_errors),
            ] {
                if ever > 0 {
                    let class = (Dimension::StatusClass.as_str().into(), class.to_owned());
                    self.whole(names::REQUESTS, &self.scheme.with([class]), Unit::Count, to_f64(lately));
                }
            }
        }
        self.aborted(base, &ever.aborted, &lately.aborted);
    }

    fn aborted(&mut self, base: &Dimensions, ever: &Aborted, lately: &Aborted) {
        use steeple_core::Outcome;
        let outcomes = [
            Outcome::Cancelled,
            Outcome::CancelledInBody,
            Outcome::ServiceError,
            Outcome::BodyError,
            Outcome::Panicked,
        ];
        for outcome in outcomes {
            if ever.of(outcome) > 0 {
                self.whole(aborted_name(outcome), base, Unit::Count, to_f64(lately.of(outcome)));
            }
        }
    }

    fn resources(&mut self, base: &Dimensions, now: &Resources, older: &Resources, covers: Duration) {
        if let (Some(now), Some(older)) = (&now.cpu, &older.cpu) {
            let available = now.limit_cores * covers.as_secs_f64();
            if available > 0.0 {
                let used = (now.used_seconds - older.used_seconds).max(0.0) / available * 100.0;
                self.whole(names::CPU, base, Unit::Percent, rounded(used, 4));
            }
            let periods = now.periods.saturating_sub(older.periods);
            if periods > 0 {
                let throttled = now.throttled_periods.saturating_sub(older.throttled_periods);
                self.whole(names::CPU_THROTTLED, base, Unit::Percent, to_f64(throttled) / to_f64(periods) * 100.0);
            }
        }
        let memory = now.memory.as_ref().map(steeple_metrics::indicator::Memory::used_ratio);
        let disk = now.disk.as_ref().map(steeple_metrics::indicator::Disk::used_ratio);
        for (name, ratio) in [(names::MEMORY, memory), (names::DISK, disk)] {
            if let Some(ratio) = ratio {
                self.whole(name, base, Unit::Percent, rounded(ratio * 100.0, 4));
            }
        }
    }

    fn latency(&mut self, name: &'static str, dimensions: &Dimensions, latency: &Latency) {
        let cells: Vec<_> = latency.cells().map(|(value, count)| (value, to_f64(count))).collect();
        self.push(name, dimensions, Unit::Seconds, scaled(cells, latency.sum().as_secs_f64()));
    }

    /// A family's series, added up where they differ in labels that are not dimensions.
    fn family(&mut self, ever: &FamilyReading, lately: &FamilyReading) {
        let unit = match (ever.unit, ever.kind) {
            (Some("seconds"), _) => Unit::Seconds,
            (Some("bytes"), _) => Unit::Bytes,
            (None, FamilyKind::Counter) => Unit::Count,
            _ => Unit::None,
        };
        let kind = ever.kind;
        let mut sums: BTreeMap<Vec<(String, String)>, Summed> = BTreeMap::new();
        for (ever, lately) in ever.series.iter().zip(&lately.series) {
            // A counter is sent from its first increase on, which is an increase by that.
            let is_idle = match (&ever.value, kind) {
                (SeriesValue::Number(number), FamilyKind::Counter) => *number <= 0.0,
                (SeriesValue::Number(_), _) => false,
                _ => lately.number() <= 0.0,
            };
            if is_idle || self.is_refused(&lately.value) {
                continue;
            }
            let labels = self.scheme.labels.iter().map(|name| (name.clone(), ever.label(name)));
            let labels = labels.filter(|(_, value)| !value.is_empty());
            let key = labels.map(|(name, value)| (name, dimension_value(value))).collect();
            sums.entry(key).or_default().add(lately);
        }
        for (labels, sum) in sums {
            let more = labels.into_iter().map(|(name, value)| (Cow::Owned(name), value));
            let dimensions = self.scheme.with(more);
            let name = ever.name.clone();
            match sum {
                Summed::Number(number) => self.whole(name, &dimensions, unit, number),
                Summed::Histogram { cells, sum } => self.push(name, &dimensions, unit, scaled(cells, sum)),
            }
        }
    }

    /// A gauge that has no number is not sent, and counted.
    fn is_refused(&self, value: &SeriesValue) -> bool {
        let SeriesValue::Number(number) = value else { return false };
        match check_number(*number) {
            Ok(_) => false,
            Err(refused) => {
                self.drops.add(refused.into(), 1);
                true
            }
        }
    }
}

impl From<Refused> for Why {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFinite => Self::NotFinite,
            Refused::OutOfRange => Self::OutOfRange,
        }
    }
}

enum Summed {
    Number(f64),
    Histogram { cells: Vec<(f64, f64)>, sum: f64 },
}

impl Default for Summed {
    fn default() -> Self {
        Self::Number(0.0)
    }
}

impl Summed {
    fn add(&mut self, series: &SeriesReading) {
        let (more, more_sum) = match &series.value {
            SeriesValue::Number(number) => {
                if let Self::Number(sum) = self {
                    *sum += number;
                }
                return;
            }
            SeriesValue::Histogram(histogram) => {
                let cells = histogram.cells().into_iter().map(|(value, count)| (value, to_f64(count))).collect();
                (cells, histogram.sum)
            }
            // Quantiles cannot be added up; count and sum can.
            SeriesValue::Summary { count, sum, .. } if *count > 0 => {
                (vec![(sum / to_f64(*count), to_f64(*count))], *sum)
            }
            SeriesValue::Summary { .. } | _ => return,
        };
        match self {
            Self::Histogram { cells, sum } => {
                cells.extend(more);
                *sum += more_sum;
            }
            Self::Number(_) => *self = Self::Histogram { cells: more, sum: more_sum },
        }
    }
}

/// The middles of buckets, moved together so that their sum is the exact one: averages are exact, percentiles as good as the
/// buckets are.
fn scaled(mut cells: Vec<(f64, f64)>, sum: f64) -> Vec<(f64, f64)> {
    cells.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let about: f64 = cells.iter().map(|(value, count)| value * count).sum();
    let by = sum / about;
    // Further off than buckets are wide, something is cut: then the values are better as they are.
    let by = if by.is_finite() && (0.5..=2.0).contains(&by) { by } else { 1.0 };
    let mut merged: Vec<(f64, f64)> = Vec::with_capacity(cells.len());
    for (value, count) in cells {
        let value = rounded(value * by, 7);
        match merged.last_mut() {
            Some((last, sum)) if last.total_cmp(&value).is_eq() => *sum += count,
            _ => merged.push((value, count)),
        }
    }
    merged
}
