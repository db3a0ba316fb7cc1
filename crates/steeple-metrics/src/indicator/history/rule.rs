//! The past of a watched indicator: 31 slots, each a thirtieth of its window.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{clock::Moment, mean::Mean, now::Now};
use crate::{
    indicator::{
        Indicator, Window,
        definition::{Kind, Level, OfRequests, Selector},
        families::{FamilyReading, SeriesValue},
        latency,
        reading::Counts,
    },
    layout::{Layout, to_f64},
};

/// Slots of a window, and one to begin at.
const SLOTS: usize = 31;

/// The value of an [`Indicator`] over its window.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Value {
    /// The value, in the [unit](Indicator::unit) of the indicator. `None` without data: no request, no such series.
    pub value: Option<f64>,
    /// How many requests, or counts of the whole, it is made of; 0 where it is not made of single events.
    pub samples: u64,
    /// How many of them are the part that is counted: errors, slow ones, failed payments.
    pub bad: u64,
    /// How much of the window there is data of.
    pub covers: Duration,
    /// When it was taken, on the wall clock, since the Unix epoch.
    pub unix: Duration,
}

impl Value {
    pub(super) const NONE: Self =
        Self { value: None, samples: 0, bad: 0, covers: Duration::ZERO, unix: Duration::ZERO };
}

/// A watched indicator.
pub(super) struct Rule {
    pub(super) indicator: Indicator,
    window: Duration,
    /// The time between two slots.
    step: Duration,
    state: State,
    /// The cumulative totals of counters that are read from families, and what they were at the last sample.
    counters: [Counter; 2],
    pub(super) last: Value,
}

enum State {
    Pair(VecDeque<(Duration, Pair)>),
    Cells {
        grid: CellGrid,
        q: f64,
        slots: VecDeque<(Duration, Box<[u32]>)>,
        /// When there was last no such series.
        absent: Option<Duration>,
    },
}

/// Two numbers that only grow: the value is their quotient over the window.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    part: f64,
    whole: f64,
    /// Whether the value is the part alone.
    is_increase: bool,
    /// Whether they count events, so that the whole is samples.
    is_count: bool,
    /// Whether the part is a sum and not a count.
    is_mean: bool,
}

/// What the cells are the counts of.
#[derive(Clone)]
enum CellGrid {
    Unknown,
    Ours(Arc<Layout>),
    /// Upper bounds of someone else's buckets.
    Theirs(Arc<[f64]>),
}

/// A counter as others keep it, which may begin anew.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    last: Option<f64>,
    total: f64,
}

impl Counter {
    fn read(&mut self, now: f64) -> f64 {
        let last = self.last.replace(now);
        // At the first sight of it, what it counted before is not counted. A counter that is lower began anew.
        self.total += match last {
            None => 0.0,
            Some(last) if now >= last => now - last,
            Some(_) => now,
        };
        self.total
    }
}

impl Rule {
    pub(super) fn new(indicator: Indicator, window: Window) -> Self {
        let window = window.length();
        let quantile = match &indicator.0 {
            Kind::Requests(OfRequests::Quantile(q), _) | Kind::HistogramQuantile(q, _) => Some(*q),
            Kind::Requests(..)
            | Kind::Level(_)
            | Kind::CounterRate(_)
            | Kind::CounterIncrease(_)
            | Kind::CounterRatio(..)
            | Kind::Gauge(_) => None,
        };
        let state = match quantile {
            Some(q) => State::Cells { grid: CellGrid::Unknown, q, slots: VecDeque::with_capacity(SLOTS), absent: None },
            None => State::Pair(VecDeque::with_capacity(SLOTS)),
        };
        // Samples are never taken at exactly the planned time: nearly due counts as due. No more than that: thirty steps have to be the
        // window.
        let step = window.div_f64(30.0).max(Duration::from_secs(1));
        let step = step.saturating_sub(step.div_f64(10.0).min(Duration::from_secs(1)));
        Self { indicator, window, step, state, counters: [Counter::default(); 2], last: Value::NONE }
    }

    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// The families that it needs.
    pub(super) fn selectors(&self) -> impl Iterator<Item = &Selector> {
        let (first, second) = match &self.indicator.0 {
            Kind::CounterRate(one)
            | Kind::CounterIncrease(one)
            | Kind::Gauge(one)
            | Kind::HistogramQuantile(_, one) => (Some(one), None),
            Kind::CounterRatio(part, whole) => (Some(part), Some(whole)),
            Kind::Requests(..) | Kind::Level(_) => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Takes a sample.
    pub(super) fn sample(&mut self, at: Moment, now: &Now<'_>) {
        let pair = self.pair(now);
        match &mut self.state {
            State::Pair(slots) => {
                let Some(pair) = pair else {
                    self.last = Value { unix: at.unix, ..Value::NONE };
                    return;
                };
                if slots.back().is_none_or(|(last, _)| at.mono.saturating_sub(*last) >= self.step) {
                    push(slots, (at.mono, pair));
                }
                let Some((since, base)) = base(slots, at.mono, self.window) else { return };
                self.last = pair.since(base, at, at.mono.saturating_sub(since));
            }
            State::Cells { grid, q, slots, absent } => {
                let Some((found, cells)) = cells_of(&self.indicator.0, now) else {
                    *absent = Some(at.mono);
                    self.last = Value { unix: at.unix, ..Value::NONE };
                    return;
                };
                if !found.is_same(grid) {
                    *grid = found;
                    slots.clear();
                    // In a new series, the whole count is new.
                    if let Some(absent) = absent.take() {
                        push(slots, (absent, vec![0; cells.len()].into()));
                    }
                }
                if slots.back().is_none_or(|(last, _)| at.mono.saturating_sub(*last) >= self.step) {
                    push(slots, (at.mono, cells.clone()));
                }
                let Some((since, base)) = base_cells(slots, at.mono, self.window) else { return };
                let counts = cells.iter().zip(base).map(|(now, then)| u64::from(now.wrapping_sub(*then)));
                let counts: Vec<u64> = counts.collect();
                let samples: u64 = counts.iter().sum();
                self.last = Value {
                    value: grid.quantile(&counts, samples, *q),
                    samples,
                    bad: 0,
                    covers: at.mono.saturating_sub(since),
                    unix: at.unix,
                };
            }
        }
    }

    /// The numbers that its value is the quotient of. `None`: no requests, or it is a quantile.
    fn pair(&mut self, now: &Now<'_>) -> Option<Pair> {
        let counts = |part: u64, whole: u64| Pair { is_count: true, ..Pair::new(to_f64(part), to_f64(whole)) };
        let seconds = now.elapsed.as_secs_f64();
        Some(match &self.indicator.0 {
            Kind::Requests(of, scope) => {
                let found = now.requests(scope);
                let requests: &Counts = &found.counts;
                match of {
                    OfRequests::Quantile(_) => return None,
                    OfRequests::ErrorRatio => counts(requests.errors, requests.requests),
                    OfRequests::AbortedRatio(outcome) => counts(requests.aborted.of(*outcome), requests.requests),
                    OfRequests::SlowRatio(target) => {
                        let within = now.layout().cell(steeple_core::clock::nanos(*target));
                        let slow = found.cells.iter().skip(within.saturating_add(1)).sum();
                        counts(slow, found.cells.iter().sum())
                    }
                    OfRequests::Mean => {
                        let timed: u64 = found.cells.iter().sum();
                        Pair { is_count: true, is_mean: true, ..Pair::new(to_f64(found.nanos) / 1e9, to_f64(timed)) }
                    }
                    OfRequests::Rate => Pair::new(to_f64(requests.requests), seconds),
                }
            }
            Kind::Level(level) => match level {
                Level::InFlight => of_level(now.means.in_flight)?,
                Level::ActiveUsers => of_level(now.means.active_users)?,
                Level::Memory => of_level(now.means.memory)?,
                Level::Disk => of_level(now.means.disk)?,
                Level::Connections => of_level(now.means.connections)?,
                Level::Cpu => of_level(now.means.cpu)?,
                Level::CpuThrottled => of_level(now.means.throttled)?,
                Level::CacheHitRatio => {
                    let cache = now.cache;
                    counts(cache.hits, cache.hits.saturating_add(cache.misses))
                }
                Level::Dropped => Pair::new(self.counters.first_mut()?.read(now.dropped?), seconds),
            },
            Kind::CounterRate(selector) => Pair::new(read(self.counters.first_mut()?, selector, now), seconds),
            Kind::CounterIncrease(selector) => {
                let part = read(self.counters.first_mut()?, selector, now);
                Pair { is_increase: true, is_count: true, ..Pair::new(part, part) }
            }
            Kind::CounterRatio(part, whole) => {
                let [part_counter, whole_counter] = &mut self.counters;
                let pair = Pair::new(read(part_counter, part, now), read(whole_counter, whole, now));
                Pair { is_count: true, ..pair }
            }
            Kind::Gauge(selector) => {
                let family = now.family(&selector.family)?;
                let mut series = selector.select(family).map(crate::indicator::SeriesReading::number).peekable();
                series.peek()?;
                let value: f64 = series.sum();
                let [part, whole] = &mut self.counters;
                // The mean over time: each value counts for as long as it has stood.
                let step = now.step.as_secs_f64();
                part.total += value * step;
                whole.total += step;
                Pair::new(part.total, whole.total)
            }
            Kind::HistogramQuantile(..) => return None,
        })
    }
}

/// A counter that was never raised has no series: it is 0, so that the first count is seen.
fn read(counter: &mut Counter, selector: &Selector, now: &Now<'_>) -> f64 {
    let family = now.family(&selector.family);
    let sum = family.map_or(0.0, |family| selector.select(family).map(crate::indicator::SeriesReading::number).sum());
    counter.read(sum)
}

fn of_level(mean: Mean) -> Option<Pair> {
    mean.parts().map(|(part, whole)| Pair::new(part, whole))
}

impl Pair {
    pub(super) fn new(part: f64, whole: f64) -> Self {
        Self { part, whole, ..Self::default() }
    }

    fn since(self, base: Self, at: Moment, covers: Duration) -> Value {
        let (part, whole) = (self.part - base.part, self.whole - base.whole);
        let value = if self.is_increase { Some(part) } else { (whole > 0.0).then(|| part / whole) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, and not below zero")]
        let count = |number: f64| if self.is_count { number.max(0.0) as u64 } else { 0 };
        let bad = if self.is_mean { 0 } else { count(part) };
        Value { value, samples: count(whole), bad, covers, unix: at.unix }
    }
}

fn push<T>(slots: &mut VecDeque<T>, slot: T) {
    if slots.len() >= SLOTS {
        slots.pop_front();
    }
    slots.push_back(slot);
}

/// The newest slot at or before the beginning of the window; else the oldest.
fn base(slots: &VecDeque<(Duration, Pair)>, now: Duration, window: Duration) -> Option<(Duration, Pair)> {
    let before = slots.iter().rev().find(|(at, _)| now.saturating_sub(*at) >= window);
    before.or_else(|| slots.front()).copied()
}

fn base_cells(slots: &VecDeque<(Duration, Box<[u32]>)>, now: Duration, window: Duration) -> Option<(Duration, &[u32])> {
    let before = slots.iter().rev().find(|(at, _)| now.saturating_sub(*at) >= window);
    before.or_else(|| slots.front()).map(|(at, cells)| (*at, &**cells))
}

/// The low half of a count: what came between two readings is the difference, also past its end.
#[expect(clippy::cast_possible_truncation, reason = "differences are taken of the low half")]
fn low(count: u64) -> u32 {
    count as u32
}

fn cells_of(kind: &Kind, now: &Now<'_>) -> Option<(CellGrid, Box<[u32]>)> {
    match kind {
        Kind::Requests(_, scope) => {
            let found = now.requests(scope);
            Some((CellGrid::Ours(Arc::clone(now.layout())), found.cells.iter().map(|count| low(*count)).collect()))
        }
        Kind::HistogramQuantile(_, selector) => histogram_cells(now.family(&selector.family)?, selector),
        Kind::Level(_) | Kind::CounterRate(_) | Kind::CounterIncrease(_) | Kind::CounterRatio(..) | Kind::Gauge(_) => {
            None
        }
    }
}

/// The cells of all selected series that are of one kind, added up.
fn histogram_cells(family: &FamilyReading, selector: &Selector) -> Option<(CellGrid, Box<[u32]>)> {
    let mut grid = CellGrid::Unknown;
    let mut sums: Vec<u64> = Vec::new();
    for series in selector.select(family) {
        let SeriesValue::Histogram(histogram) = &series.value else { continue };
        let (found, cells) = if let Some((layout, cells)) = histogram.fine() {
            let mut all = vec![0; layout.len()];
            for (cell, count) in cells {
                if let Some(place) = all.get_mut(*cell) {
                    *place = *count;
                }
            }
            (CellGrid::Ours(Arc::clone(layout)), all)
        } else {
            let below = [0].into_iter().chain(histogram.buckets.iter().map(|(_, count)| *count));
            let cells = histogram.buckets.iter().zip(below).map(|((_, up_to), below)| up_to.saturating_sub(below));
            (CellGrid::Theirs(histogram.buckets.iter().map(|(bound, _)| *bound).collect()), cells.collect())
        };
        if matches!(grid, CellGrid::Unknown) {
            (grid, sums) = (found, cells);
        } else if found.is_same(&grid) {
            for (sum, count) in sums.iter_mut().zip(cells) {
                *sum = sum.wrapping_add(count);
            }
        }
    }
    (!sums.is_empty()).then(|| (grid, sums.into_iter().map(low).collect()))
}

impl CellGrid {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ours(a), Self::Ours(b)) => Arc::ptr_eq(a, b),
            (Self::Theirs(a), Self::Theirs(b)) => a == b,
            _ => false,
        }
    }

    fn quantile(&self, counts: &[u64], samples: u64, q: f64) -> Option<f64> {
        match self {
            Self::Unknown => None,
            Self::Ours(layout) => latency::quantile(layout, counts.iter().copied().enumerate(), samples, q),
            Self::Theirs(bounds) => {
                let mut up_to = 0_u64;
                let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
                    up_to = up_to.saturating_add(*count);
                    (*bound, up_to)
                });
                crate::indicator::families::interpolated(&buckets.collect::<Vec<_>>(), samples, q)
            }
        }
    }
}
