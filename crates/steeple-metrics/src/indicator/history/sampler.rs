//! Takes samples apart: into frames, routes and watched indicators.

use std::time::Duration;

use super::{
    MAX_RULES,
    clock::Moment,
    frame::{Frame, Ring, Tier},
    now::{Means, Now},
    requests::Requests,
    routes::{RouteTrend, Routes},
    rule::{Rule, Value},
    simulated::Simulated,
};
use crate::{
    Metrics,
    indicator::{
        definition::{Kind, Level, Scope},
        families::{FamilyReading, dropped},
        latency::{self, Sum},
        reading::CacheReading,
        resources::Resources,
    },
    layout::to_f64,
};

/// The version of saved frames: another one is not read.
const VERSION: u8 = 1;

pub(super) struct State {
    rings: [Ring; 3],
    /// How often frames were put in front.
    past: u64,
    bases: [Option<Base>; 3],
    rules: Vec<Option<Rule>>,
    routes: Routes,
    means: Means,
    first: Option<Moment>,
    last: Option<Moment>,
    resources: Resources,
    resources_at: Option<Duration>,
    connections: (u32, u32),
    active_users: Option<f64>,
    dropped: f64,
}

/// The numbers at the beginning of the current frame.
#[derive(Clone)]
struct Base {
    at: Moment,
    requests: Requests,
    means: Means,
    cache: CacheReading,
    dropped: f64,
}

/// What a sample has to read.
pub(super) struct Plan {
    tiers: [bool; 3],
    resources: bool,
    dropped: bool,
    families: Vec<Box<str>>,
}

/// What a sample has read.
pub(super) struct Read {
    requests: Requests,
    in_flight: u64,
    cache: CacheReading,
    active_users: Option<f64>,
    resources: Option<Resources>,
    connections: Option<crate::Connections>,
    dropped: Option<f64>,
    families: Vec<FamilyReading>,
}

/// Reads what the plan asks for.
pub(super) fn read(metrics: &Metrics, plan: &Plan) -> Read {
    let core = &metrics.0.core;
    let mut sum = Sum::new(&core.grid);
    let totals = metrics.read_totals(&mut sum);
    let families = if plan.dropped || !plan.families.is_empty() {
        metrics.read_families_of(&plan.families, plan.dropped)
    } else {
        Vec::new()
    };
    Read {
        requests: Requests::of(sum, totals.counts),
        in_flight: totals.in_flight,
        cache: metrics.read_cache(),
        active_users: core.users.as_ref().map(|users| users.estimate(steeple_core::clock::now())),
        resources: plan.resources.then(|| Resources::read(&core.resources)),
        connections: plan.resources.then(|| metrics.read_connections()).flatten(),
        dropped: plan.dropped.then(|| dropped(&families).iter().map(|items| to_f64(items.count)).sum()),
        families,
    }
}

/// The same of a service that is made up.
pub(super) fn made_up(metrics: &Metrics, simulated: &Simulated) -> Read {
    Read {
        requests: simulated.requests(&Scope::All, &metrics.0.core.grid.layout),
        in_flight: 0,
        cache: CacheReading::default(),
        active_users: simulated.active_users(),
        resources: Some(simulated.resources()),
        connections: None,
        dropped: None,
        families: simulated.families(),
    }
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            rings: Tier::ALL.map(|tier| Ring::new(tier.capacity())),
            past: 0,
            bases: [const { None }; 3],
            rules: Vec::new(),
            routes: Routes::default(),
            means: Means::default(),
            first: None,
            last: None,
            resources: Resources::default(),
            resources_at: None,
            connections: (0, 0),
            active_users: None,
            dropped: 0.0,
        }
    }

    /// The time between two samples.
    pub(super) fn period(&self, has_viewer: bool) -> Duration {
        let (second, most) = (Duration::from_secs(1), Duration::from_secs(10));
        if has_viewer {
            return second;
        }
        let shortest = self.rules.iter().flatten().map(Rule::window).min();
        shortest.map_or(most, |window| window.checked_div(6).unwrap_or(second).clamp(second, most))
    }

    pub(super) fn plan(&self, at: Moment, has_viewer: bool) -> Plan {
        let tiers = Tier::ALL.map(|tier| {
            let base = match tier {
                Tier::Second => self.bases.first(),
                Tier::TenSeconds => self.bases.get(1),
                Tier::Minute => self.bases.get(2),
            };
            let is_due = base.and_then(Option::as_ref).is_none_or(|base| {
                // Sleeps are never exact: nearly due counts as due.
                at.mono.saturating_sub(base.at.mono) >= tier.length().mul_f64(0.95)
            });
            is_due && (tier != Tier::Second || has_viewer)
        });
        let [_, ten_seconds, minute] = tiers;
        let rules = || self.rules.iter().flatten();
        let needs_dropped = rules().any(|rule| rule.indicator.0 == Kind::Level(Level::Dropped));
        let needs_resources = rules().any(|rule| matches!(rule.indicator.0, Kind::Level(_)));
        let mut families: Vec<Box<str>> =
            rules().flat_map(|rule| rule.selectors().map(|selector| selector.family.clone())).collect();
        families.sort_unstable();
        families.dedup();
        Plan {
            tiers,
            resources: ten_seconds || has_viewer || needs_resources,
            dropped: minute || needs_dropped,
            families,
        }
    }

    /// Takes a sample in.
    pub(super) fn take(
        &mut self,
        at: Moment,
        plan: &Plan,
        read: Read,
        metrics: &Metrics,
        simulated: Option<&Simulated>,
    ) {
        let first = *self.first.get_or_insert(at);
        let step = self.last.map_or(Duration::ZERO, |last| at.mono.saturating_sub(last.mono));
        self.last = Some(at);
        self.levels(at, &read, step);
        if let Some(dropped) = read.dropped {
            self.dropped = dropped;
        }
        let now = Now {
            metrics,
            simulated,
            elapsed: at.mono.saturating_sub(first.mono),
            step,
            all: read.requests,
            in_flight: read.in_flight,
            means: self.means,
            cache: read.cache,
            dropped: read.dropped,
            families: read.families,
        };
        for rule in self.rules.iter_mut().flatten() {
            rule.sample(at, &now);
        }
        let [_, ten_seconds, minute] = plan.tiers;
        for (place, is_due) in plan.tiers.into_iter().enumerate() {
            if is_due {
                self.frame(place, at, &now);
            }
        }
        if ten_seconds {
            self.routes.sample(metrics, at.mono, minute);
        }
    }

    fn levels(&mut self, at: Moment, read: &Read, step: Duration) {
        let seconds = step.as_secs_f64();
        let means = &mut self.means;
        means.in_flight.add(Some(to_f64(read.in_flight)), seconds);
        means.active_users.add(read.active_users, seconds);
        self.active_users = read.active_users;
        let Some(resources) = read.resources else { return };
        let since = self.resources_at.replace(at.mono).map_or(Duration::ZERO, |last| at.mono.saturating_sub(last));
        let seconds = since.as_secs_f64();
        if let Some(now) = resources.cpu {
            // At the first sight of it, nothing has been used since.
            let then = self.resources.cpu.unwrap_or(now);
            means.cpu.grow((now.used_seconds - then.used_seconds).max(0.0), now.limit_cores * seconds);
            let [periods, throttled] = [(now.periods, then.periods), (now.throttled_periods, then.throttled_periods)];
            let grown = |(now, then): (u64, u64)| to_f64(now.saturating_sub(then));
            means.throttled.grow(grown(throttled), grown(periods));
        }
        means.memory.add(resources.memory.map(|memory| memory.used_ratio()), seconds);
        means.disk.add(resources.disk.map(|disk| disk.used_ratio()), seconds);
        means.connections.add(read.connections.map(|connections| connections.used_ratio()), seconds);
        self.connections = read.connections.map_or((0, 0), |connections| (connections.used, connections.max));
        self.resources = resources;
    }

    fn frame(&mut self, place: usize, at: Moment, now: &Now<'_>) {
        let base = Base { at, requests: now.all.clone(), means: now.means, cache: now.cache, dropped: self.dropped };
        let then = self.bases.get_mut(place).and_then(|slot| slot.replace(base));
        // The first of all only marks where the next one begins.
        let Some(then) = then else { return };
        let since = at.mono.saturating_sub(then.at.mono);
        // No viewer looked for a while: those seconds are not a frame.
        if place == 0 && since > Tier::Second.length().saturating_mul(5) {
            return;
        }
        let frame = self.make_frame(at, since, now, &then);
        if let Some(ring) = self.rings.get_mut(place) {
            ring.push(frame);
        }
    }

    fn make_frame(&self, at: Moment, since: Duration, now: &Now<'_>, then: &Base) -> Frame {
        let (new, old) = (&now.all.counts, &then.requests.counts);
        let count = |now: u64, then: u64| u32::try_from(now.saturating_sub(then)).unwrap_or(u32::MAX);
        let level = |level: Option<f64>| level.map_or(f32::NAN, short);
        let cells = now.all.cells.iter().zip(&then.requests.cells);
        let cells: Vec<u64> = cells.map(|(now, then)| now.saturating_sub(*then)).collect();
        let timed: u64 = cells.iter().sum();
        let quantile = |q| level(latency::quantile(now.layout(), cells.iter().copied().enumerate(), timed, q));
        let nanos = to_f64(now.all.nanos.saturating_sub(then.requests.nanos));
        let (a, b) = (&new.aborted, &old.aborted);
        let hits = now.cache.hits.saturating_sub(then.cache.hits);
        let lookups = hits.saturating_add(now.cache.misses.saturating_sub(then.cache.misses));
        let (classes, before) = (&new.classes, &old.classes);
        Frame {
            unix: at.unix,
            seconds: since.as_secs_f32(),
            requests: count(new.requests, old.requests),
            successes: count(
                classes.successes.saturating_add(classes.informational),
                before.successes.saturating_add(before.informational),
            ),
            redirects: count(classes.redirects, before.redirects),
            client_errors: count(classes.client_errors, before.client_errors),
            server_errors: count(classes.server_errors, before.server_errors),
            errors: count(new.errors, old.errors),
            cancelled: count(
                a.cancelled.saturating_add(a.cancelled_in_body),
                b.cancelled.saturating_add(b.cancelled_in_body),
            ),
            panicked: count(a.panicked, b.panicked),
            broken: count(a.service_error.saturating_add(a.body_error), b.service_error.saturating_add(b.body_error)),
            in_flight: count(now.in_flight, 0),
            active_users: level(self.active_users),
            mean: level((timed > 0).then(|| nanos / 1e9 / to_f64(timed))),
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            cpu: level(now.means.cpu.since(then.means.cpu)),
            throttled: level(now.means.throttled.since(then.means.throttled)),
            memory: level(self.resources.memory.map(|memory| memory.used_ratio())),
            memory_bytes: self.resources.memory.map_or(0, |memory| memory.used_bytes),
            disk: level(self.resources.disk.map(|disk| disk.used_ratio())),
            connections: self.connections.0,
            connections_max: self.connections.1,
            cache_hit_ratio: level((lookups > 0).then(|| to_f64(hits) / to_f64(lookups))),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, cut at its end")]
            dropped: (self.dropped - then.dropped).max(0.0) as u32,
            response_bytes: new.response_bytes.saturating_sub(old.response_bytes),
            ..Frame::empty()
        }
    }

    pub(super) fn add(&mut self, rule: Rule) -> Option<usize> {
        if let Some(free) = self.rules.iter().position(Option::is_none) {
            *self.rules.get_mut(free)? = Some(rule);
            return Some(free);
        }
        (self.rules.len() < MAX_RULES).then(|| {
            self.rules.push(Some(rule));
            self.rules.len().saturating_sub(1)
        })
    }

    pub(super) fn remove(&mut self, place: usize) {
        if let Some(rule) = self.rules.get_mut(place) {
            *rule = None;
        }
    }

    pub(super) fn value(&self, place: usize) -> Value {
        self.rules.get(place).and_then(Option::as_ref).map_or(Value::NONE, |rule| rule.last)
    }

    pub(super) fn frames(&self, tier: Tier, above: u64) -> Vec<Frame> {
        self.ring(tier).map_or_else(Vec::new, |ring| ring.since(above))
    }

    fn ring(&self, tier: Tier) -> Option<&Ring> {
        Tier::ALL.iter().position(|other| *other == tier).and_then(|place| self.rings.get(place))
    }

    pub(super) fn routes(&self) -> Vec<RouteTrend> {
        self.routes.trends()
    }

    pub(super) fn save(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for ring in self.rings.iter().skip(1) {
            ring.save(&mut out);
        }
        out
    }

    pub(super) fn restore(&mut self, saved: &[u8]) -> Option<()> {
        let (version, mut rest) = saved.split_first()?;
        let [_, ten_seconds, minutes] = &mut self.rings;
        if *version != VERSION {
            return None;
        }
        let mut loaded = Vec::new();
        for ring in [&*ten_seconds, minutes] {
            let (frames, behind) = ring.load(rest)?;
            loaded.push(frames);
            rest = behind;
        }
        let mut is_changed = false;
        for (ring, frames) in [ten_seconds, minutes].into_iter().zip(loaded) {
            is_changed |= ring.prepend(frames);
        }
        if is_changed {
            self.past = self.past.wrapping_add(1);
        }
        rest.is_empty().then_some(())
    }

    pub(super) fn prepend(&mut self, tier: Tier, frames: Vec<Frame>) {
        let place = Tier::ALL.iter().position(|other| *other == tier);
        if let Some(ring) = place.and_then(|place| self.rings.get_mut(place))
            && ring.prepend(frames)
        {
            self.past = self.past.wrapping_add(1);
        }
    }

    pub(super) const fn past(&self) -> u64 {
        self.past
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are enough to draw")]
fn short(number: f64) -> f32 {
    number as f32
}
