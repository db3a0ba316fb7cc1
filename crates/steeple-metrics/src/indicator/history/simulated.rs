//! Readings that a test makes up.

use std::time::Duration;

use super::requests::Requests;
use crate::{
    indicator::{
        definition::Scope,
        families::{FamilyKind, FamilyReading, SeriesReading, SeriesValue},
        reading::Counts,
        resources::{Cpu, Memory, Resources},
    },
    layout::Layout,
};

/// What a service did, made up by a test: [`History::sample_of`](super::History::sample_of) takes it in place of what the
/// metrics have counted. All of it is cumulative, as counters are.
#[derive(Clone, Debug, Default)]
#[must_use = "it does nothing until a sample is taken of it"]
pub struct Simulated {
    routes: Vec<Route>,
    cpu: Option<(f64, f64)>,
    memory: Option<f64>,
    active_users: Option<f64>,
    series: Vec<Series>,
}

#[derive(Clone, Debug)]
struct Route {
    method: String,
    template: String,
    requests: u64,
    errors: u64,
    /// How often each duration came.
    durations: Vec<(Duration, u64)>,
}

#[derive(Clone, Debug)]
struct Series {
    family: String,
    labels: Vec<(String, String)>,
    is_counter: bool,
    value: f64,
}

impl Simulated {
    /// A service that has done nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds requests of a route, some of which failed, all of which took so long. The method is empty for gRPC.
    pub fn add_requests(&mut self, method: &str, route: &str, requests: u64, errors: u64, duration: Duration) {
        let place = self.routes.iter().position(|known| known.method == method && known.template == route);
        let place = place.unwrap_or_else(|| {
            self.routes.push(Route {
                method: method.to_owned(),
                template: route.to_owned(),
                requests: 0,
                errors: 0,
                durations: Vec::new(),
            });
            self.routes.len().saturating_sub(1)
        });
        let Some(known) = self.routes.get_mut(place) else { return };
        known.requests = known.requests.saturating_add(requests);
        known.errors = known.errors.saturating_add(errors.min(requests));
        match known.durations.iter_mut().find(|(length, _)| *length == duration) {
            Some((_, count)) => *count = count.saturating_add(requests),
            None => known.durations.push((duration, requests)),
        }
    }

    /// Adds processor time, of so many processors that may be used.
    pub fn add_cpu(&mut self, seconds: f64, limit_cores: f64) {
        let used = self.cpu.map_or(0.0, |(used, _)| used);
        self.cpu = Some((used + seconds, limit_cores));
    }

    /// Sets the part of the memory that is used, from 0 to 1.
    pub fn set_memory(&mut self, ratio: f64) {
        self.memory = Some(ratio);
    }

    /// Sets how many users are active.
    pub fn set_active_users(&mut self, users: f64) {
        self.active_users = Some(users);
    }

    /// Adds to a counter of the application.
    pub fn add_counter(&mut self, family: &str, labels: &[(&str, &str)], by: f64) {
        if let Some(series) = self.series(family, labels, true) {
            series.value += by;
        }
    }

    /// Sets a gauge of the application.
    pub fn set_gauge(&mut self, family: &str, labels: &[(&str, &str)], value: f64) {
        if let Some(series) = self.series(family, labels, false) {
            series.value = value;
        }
    }

    fn series(&mut self, family: &str, labels: &[(&str, &str)], is_counter: bool) -> Option<&mut Series> {
        let labels: Vec<_> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let place = self.series.iter().position(|series| series.family == family && series.labels == labels);
        if place.is_none() {
            self.series.push(Series { family: family.to_owned(), labels, is_counter, value: 0.0 });
        }
        match place {
            Some(place) => self.series.get_mut(place),
            None => self.series.last_mut(),
        }
    }

    pub(super) fn requests(&self, scope: &Scope, layout: &Layout) -> Requests {
        let mut sum = Requests { cells: vec![0; layout.len()], ..Requests::default() };
        for route in &self.routes {
            let is_wanted = match scope {
                Scope::All => true,
                Scope::Route { method, route: path } => *route.method == **method && *route.template == **path,
            };
            if is_wanted {
                sum.add(route, layout);
            }
        }
        sum
    }

    pub(super) fn families(&self) -> Vec<FamilyReading> {
        let mut families: Vec<FamilyReading> = Vec::new();
        for series in &self.series {
            let labels = series.labels.iter().map(|(name, value)| (name.clone().into(), value.clone().into()));
            let reading = SeriesReading { labels: labels.collect(), value: SeriesValue::Number(series.value) };
            match families.iter_mut().find(|family| family.name == series.family) {
                Some(family) => family.series.push(reading),
                None => families.push(FamilyReading {
                    name: series.family.clone().into(),
                    help: "".into(),
                    kind: if series.is_counter { FamilyKind::Counter } else { FamilyKind::Gauge },
                    unit: None,
                    series: vec![reading],
                }),
            }
        }
        families
    }

    pub(super) fn resources(&self) -> Resources {
        /// Of which the memory is a part.
        const LIMIT: u64 = 1 << 40;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the limit")]
        #[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
        let used = |ratio: f64| (ratio.clamp(0.0, 1.0) * LIMIT as f64) as u64;
        Resources {
            cpu: self.cpu.map(|(used_seconds, limit_cores)| Cpu {
                used_seconds,
                limit_cores,
                periods: 0,
                throttled_periods: 0,
            }),
            memory: self.memory.map(|ratio| Memory { used_bytes: used(ratio), limit_bytes: LIMIT }),
            disk: None,
            is_limited: true,
        }
    }

    pub(super) const fn active_users(&self) -> Option<f64> {
        self.active_users
    }
}

impl Requests {
    fn add(&mut self, route: &Route, layout: &Layout) {
        let mut counts = Counts { requests: route.requests, errors: route.errors, ..Counts::default() };
        counts.classes.server_errors = route.errors;
        counts.classes.successes = route.requests.saturating_sub(route.errors);
        self.counts.add(&counts);
        for (duration, count) in &route.durations {
            let nanos = steeple_core::clock::nanos(*duration);
            self.nanos = self.nanos.saturating_add(nanos.saturating_mul(*count));
            if let Some(cell) = self.cells.get_mut(layout.cell(nanos)) {
                *cell = cell.saturating_add(*count);
            }
        }
    }
}
