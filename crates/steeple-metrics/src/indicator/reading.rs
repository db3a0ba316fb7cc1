use std::{
    borrow::Cow,
    collections::HashMap,
    time::{Duration, Instant},
};

use steeple_core::{Outcome, clock};

use super::{
    families::{Dropped, FamilyReading, dropped},
    latency::{Latency, Sum},
    resources::Resources,
};
use crate::{Connections, Metrics, Objective, layout::to_f64};

/// All that a service's metrics know at one moment, since its start; or [between two moments](Self::since).
///
/// For alert rules, dashboards and exporters inside of the process. Requests pay nothing for it.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), steeple_metrics::BuildError> {
/// let metrics = steeple_metrics::Metrics::new()?;
/// let before = metrics.reading();
/// // Some time later:
/// let lately = metrics.reading().since(&before);
/// for route in &lately.routes {
///     println!("{} {}: p95 {:?}", route.method, route.route, route.counts.latency.quantile(0.95));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reading {
    /// When it was taken.
    pub at: Instant,
    /// When it was taken, on the wall clock, since the Unix epoch.
    pub unix: Duration,
    /// The time that it covers: since the start, or since the older reading.
    pub covers: Duration,
    /// All requests and gRPC calls together.
    pub totals: Totals,
    /// Every route and every gRPC method.
    pub routes: Vec<RouteReading>,
    /// Every other family: the application's own, those of its registries, and ours about anything but served requests.
    pub families: Vec<FamilyReading>,
    /// What the sinks lost.
    pub dropped: Vec<Dropped>,
    /// Processor, memory and disk.
    pub resources: Resources,
    /// Distinct users of the last minutes. `None` where they are not counted.
    pub active_users: Option<f64>,
    /// Database connections. `None` unless [`Metrics::watch_connections`] was called.
    pub connections: Option<Connections>,
    /// Lookups in caches.
    pub cache: CacheReading,
}

/// What the requests of a route, or of all routes, have come to. HTTP requests and gRPC calls count alike.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Requests that have ended.
    pub requests: u64,
    /// Requests by the class of their status.
    pub classes: Classes,
    /// Requests that failed for a reason on the server's side: a 5xx, a service or body error, a panic, a gRPC status that
    /// counts as a server's error.
    pub errors: u64,
    /// Requests that did not complete.
    pub aborted: Aborted,
    /// Bytes of request bodies, as far as they are known. Of gRPC calls, none.
    pub request_bytes: u64,
    /// Bytes of response bodies. Of gRPC calls, none.
    pub response_bytes: u64,
    /// How long they took: all but upgraded connections and event streams.
    pub latency: Latency,
}

/// All requests and gRPC calls together.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Totals {
    /// What they have come to.
    pub counts: Counts,
    /// Requests that have begun and not ended.
    pub in_flight: u64,
}

/// One route or one gRPC method.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteReading {
    /// The HTTP method; empty for gRPC.
    pub method: &'static str,
    /// The route's template, `unmatched`, `_OTHER`, or the gRPC method.
    pub route: Cow<'static, str>,
    /// What its requests have come to.
    pub counts: Counts,
    /// Single requests that stand for a range of durations, newest first. Those that failed stay for a minute.
    pub exemplars: Vec<Exemplar>,
    /// How fast and how reliable it is to be.
    pub objective: Option<Objective>,
}

/// Requests by the class of their status. A 499, which stands for a client that went away before the response head, is in
/// none. A gRPC call is a success with `OK`, a server error with a status that counts as one, else a client error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Classes {
    /// 1xx, such as the 101 of an upgraded connection.
    pub informational: u64,
    /// 2xx.
    pub successes: u64,
    /// 3xx.
    pub redirects: u64,
    /// 4xx.
    pub client_errors: u64,
    /// 5xx, and requests that failed before there was a status.
    pub server_errors: u64,
}

/// Requests that did not complete, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Aborted {
    /// Dropped before there was a response head, as when the client goes away.
    pub cancelled: u64,
    /// Dropped in the response body.
    pub cancelled_in_body: u64,
    /// The service returned an error instead of a response.
    pub service_error: u64,
    /// The response body failed.
    pub body_error: u64,
    /// The service or its body panicked.
    pub panicked: u64,
}

/// One request that stands for a range of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// Its span.
    pub span_id: [u8; 8],
    /// How long it took.
    pub duration: Duration,
    /// When it ended, on the wall clock, since the Unix epoch.
    pub unix: Duration,
    /// Its HTTP status, or the number of its gRPC status.
    pub status: u16,
    /// Whether it failed for a reason on the server's side.
    pub failed: bool,
}

/// Lookups in caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheReading {
    /// Lookups that found something.
    pub hits: u64,
    /// Lookups that found nothing.
    pub misses: u64,
}

impl CacheReading {
    fn since(self, older: Self) -> Self {
        Self { hits: self.hits.saturating_sub(older.hits), misses: self.misses.saturating_sub(older.misses) }
    }

    /// The part of the lookups that found something. `None` without lookups.
    pub fn hit_ratio(&self) -> Option<f64> {
        ratio(self.hits, self.hits.saturating_add(self.misses))
    }
}

/// A part of a whole. `None` of nothing.
pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| to_f64(part) / to_f64(whole))
}

/// Most exemplars of one route.
const MAX_EXEMPLARS: usize = 16;

impl Classes {
    pub(crate) fn add(&mut self, status: u16, count: u64) {
        let class = match status {
            100..=199 => &mut self.informational,
            200..=299 => &mut self.successes,
            300..=399 => &mut self.redirects,
            400..=498 => &mut self.client_errors,
            500..=599 => &mut self.server_errors,
            _ => return,
        };
        *class = class.wrapping_add(count);
    }
}

/// Takes an older count from each field of the same.
macro_rules! since {
    ($name:ident { $($field:ident),+ }) => {
        impl $name {
            fn since(&self, older: &Self) -> Self {
                Self { $($field: self.$field.saturating_sub(older.$field)),+ }
            }

            fn add_all(&mut self, other: &Self) {
                $(self.$field = self.$field.wrapping_add(other.$field);)+
            }
        }
    };
}

since!(Classes { informational, successes, redirects, client_errors, server_errors });
since!(Aborted { cancelled, cancelled_in_body, service_error, body_error, panicked });

impl Aborted {
    /// Those that ended like this; 0 for those that completed or were upgraded.
    pub fn of(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Cancelled => self.cancelled,
            Outcome::CancelledInBody => self.cancelled_in_body,
            Outcome::ServiceError => self.service_error,
            Outcome::BodyError => self.body_error,
            Outcome::Panicked => self.panicked,
            Outcome::Completed | Outcome::Upgraded => 0,
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        let all = [self.cancelled, self.cancelled_in_body, self.service_error, self.body_error, self.panicked];
        all.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub(crate) fn add(&mut self, outcome: Outcome, count: u64) {
        let field = match outcome {
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::CancelledInBody => &mut self.cancelled_in_body,
            Outcome::ServiceError => &mut self.service_error,
            Outcome::BodyError => &mut self.body_error,
            Outcome::Panicked => &mut self.panicked,
            Outcome::Completed | Outcome::Upgraded => return,
        };
        *field = field.wrapping_add(count);
    }
}

impl Counts {
    /// The part of the requests that failed for a reason on the server's side. `None` without requests.
    pub fn error_ratio(&self) -> Option<f64> {
        ratio(self.errors, self.requests)
    }

    fn since(&self, older: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(older.requests),
            classes: self.classes.since(&older.classes),
            errors: self.errors.saturating_sub(older.errors),
            aborted: self.aborted.since(&older.aborted),
            request_bytes: self.request_bytes.saturating_sub(older.request_bytes),
            response_bytes: self.response_bytes.saturating_sub(older.response_bytes),
            latency: self.latency.since(&older.latency),
        }
    }

    /// Adds all but the latency.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests = self.requests.wrapping_add(other.requests);
        self.classes.add_all(&other.classes);
        self.errors = self.errors.wrapping_add(other.errors);
        self.aborted.add_all(&other.aborted);
        self.request_bytes = self.request_bytes.wrapping_add(other.request_bytes);
        self.response_bytes = self.response_bytes.wrapping_add(other.response_bytes);
    }
}

impl RouteReading {
    pub(crate) fn new(
        method: &'static str,
        route: Cow<'static, str>,
        counts: Counts,
        mut exemplars: Vec<Exemplar>,
        objective: Option<&Objective>,
    ) -> Self {
        exemplars.sort_unstable_by_key(|exemplar| std::cmp::Reverse(exemplar.unix));
        exemplars.truncate(MAX_EXEMPLARS);
        Self { method, route, counts, exemplars, objective: objective.cloned() }
    }
}

impl Reading {
    /// What came since an older reading of the same metrics. Counts and histograms are those of the time between; all else
    /// is as it was at the newer one.
    #[must_use]
    pub fn since(&self, older: &Self) -> Self {
        let before: HashMap<_, _> = older.routes.iter().map(|route| ((route.method, &*route.route), route)).collect();
        let routes = self.routes.iter().map(|route| {
            let counts = before.get(&(route.method, &*route.route)).map(|older| route.counts.since(&older.counts));
            RouteReading { counts: counts.unwrap_or_else(|| route.counts.clone()), ..route.clone() }
        });
        let families: HashMap<_, _> = older.families.iter().map(|family| (&*family.name, family)).collect();
        let families = self
            .families
            .iter()
            .map(|family| families.get(&*family.name).map_or_else(|| family.clone(), |older| family.since(older)));
        let families: Vec<_> = families.collect();
        Self {
            at: self.at,
            unix: self.unix,
            covers: self.at.saturating_duration_since(older.at),
            totals: Totals { counts: self.totals.counts.since(&older.totals.counts), in_flight: self.totals.in_flight },
            routes: routes.collect(),
            dropped: dropped(&families),
            families,
            resources: self.resources,
            active_users: self.active_users,
            connections: self.connections,
            cache: self.cache.since(older.cache),
        }
    }

    /// A route's part. The method is empty for gRPC.
    pub fn route(&self, method: &str, route: &str) -> Option<&RouteReading> {
        self.routes.iter().find(|found| found.method == method && found.route == route)
    }

    /// A family other than those about requests.
    pub fn family(&self, name: &str) -> Option<&FamilyReading> {
        self.families.iter().find(|family| family.name == name)
    }

    /// How often a second something happened that was counted so many times.
    pub fn per_second(&self, count: u64) -> f64 {
        let seconds = self.covers.as_secs_f64();
        if seconds > 0.0 { to_f64(count) / seconds } else { 0.0 }
    }
}

impl Metrics {
    /// All that is known now, since the start. Takes some milliseconds with a thousand routes, and runs the collectors of
    /// the application's registries: meant for every 10 seconds or less often.
    pub fn reading(&self) -> Reading {
        let core = &self.0.core;
        let mut routes = Vec::new();
        let mut sum = Sum::new(&core.grid);
        core.http.read_routes(&mut sum, &mut routes);
        core.grpc.read_routes(&mut sum, &mut routes);
        let families = self.read_families();
        let (at, unix) = (clock::now(), clock::unix_now());
        Reading {
            at,
            unix,
            covers: at.saturating_duration_since(core.started),
            totals: self.totals(),
            routes,
            dropped: dropped(&families),
            families,
            resources: Resources::read(&core.resources),
            active_users: core.users.as_ref().map(|users| users.estimate(at)),
            connections: self.read_connections(),
            cache: self.read_cache(),
        }
    }

    /// The families of these names alone, since the start, without those about requests. Cheaper than a
    /// [`reading`](Self::reading); the application's registries are read only where one of the names is not ours.
    pub fn families_of(&self, names: &[&str]) -> Vec<FamilyReading> {
        let names: Vec<Box<str>> = names.iter().map(|name| (*name).into()).collect();
        self.read_families_of(&names, false)
    }

    /// What the sinks have dropped since the start. Reads the application's registries.
    pub fn dropped(&self) -> Vec<Dropped> {
        dropped(&self.read_families_of(&[], true))
    }

    /// Processor, memory and disk, now.
    pub fn resources(&self) -> Resources {
        Resources::read(&self.0.core.resources)
    }

    /// Database connections, now. `None` unless [`watch_connections`](Self::watch_connections) was called.
    pub fn connections(&self) -> Option<Connections> {
        self.read_connections()
    }

    /// Lookups in caches, since the start.
    pub fn cache_lookups(&self) -> CacheReading {
        self.read_cache()
    }

    /// All requests together, since the start. Cheaper than a [`reading`](Self::reading): it makes no list of routes.
    pub fn totals(&self) -> Totals {
        let mut sum = Sum::new(&self.0.core.grid);
        let mut totals = self.read_totals(&mut sum);
        totals.counts.latency = sum.latency();
        totals
    }

    /// The same, with the latencies in `sum`.
    pub(crate) fn read_totals(&self, sum: &mut Sum<'_>) -> Totals {
        let core = &self.0.core;
        let mut totals = Totals { in_flight: core.http.in_flight(), ..Totals::default() };
        core.http.read_totals(sum, &mut totals.counts);
        core.grpc.read_totals(sum, &mut totals.counts);
        totals
    }

    pub(crate) fn read_cache(&self) -> CacheReading {
        let mut cache = CacheReading::default();
        if let Some(own) = self.0.cache.get() {
            own.read(|result, count| match result {
                "hit" => cache.hits = cache.hits.wrapping_add(count),
                "miss" => cache.misses = cache.misses.wrapping_add(count),
                _ => (),
            });
        }
        cache
    }
}
