//! Tail sampling: spans of an exchange are held until its end, and exported if it failed or was slow.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{Value, trace::SpanContext};
use opentelemetry_sdk::trace::SpanData;
#[cfg(doc)]
use steeple_core::RouteOptions;
use steeple_core::{End, Exchange, RoutePolicy, RouteSettings, Signal, SpanId, Text, clock};
use steeple_export::Pipeline;

use crate::{TraceStats, size::size_of_span};

/// Holds the spans of each exchange until its end and exports those of exchanges that failed, panicked, were cancelled or
/// slow.
///
/// Costs a span for every exchange, also for those that are sampled out.
///
/// An exchange that is held passes `sampled=00` on, because the decision comes at its end: if it is kept, its own spans are
/// exported in full, but those of the services it calls only if they keep theirs. Its log lines show it as not sampled, too.
/// Exchanges of the base rate (see [`Sampling`](crate::Sampling)) pass `01` on and are whole everywhere.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_core::RouteOptions;
/// use steeple_trace::{Sampling, TailSampling, Trace};
///
/// // One in a hundred, and beside them every failed one and every slow one.
/// let trace = Trace::builder()
///     .sampling(Sampling::ratio(0.01))
///     .tail_sampling(TailSampling::new().slow(Duration::from_millis(500)))
///     .route("/reports/{id}", RouteOptions::new().slow_after(Duration::from_secs(20)));
/// # let _unused = trace;
/// ```
#[must_use = "options do nothing until a builder gets them"]
#[derive(Clone, Debug)]
#[doc(alias = "keep")]
#[doc(alias = "tail keep")]
#[doc(alias = "tail sampling")]
pub struct TailSampling {
    slow: Duration,
    unusual: Option<(f64, Duration)>,
    max_bytes: usize,
    max_spans: usize,
    search_interval: Duration,
}

impl TailSampling {
    /// Keeps failures, panics, cancellations and what takes longer than a second; holds at most 32 MiB.
    pub fn new() -> Self {
        Self {
            slow: Duration::from_secs(1),
            unusual: None,
            max_bytes: 32 << 20,
            max_spans: 512,
            search_interval: Duration::from_millis(100),
        }
    }

    /// What counts as slow, where [`RouteOptions::slow_after`] sets nothing else for the route. Default: 1 second.
    pub fn slow(mut self, threshold: Duration) -> Self {
        self.slow = threshold;
        self
    }

    /// Counts as slow, beside what exceeds a fixed limit, what takes this many times as long as its route or
    /// gRPC method usually does, and at least this long. Default: nothing is compared.
    ///
    /// The usual duration is a moving average over held exchanges that did not fail, of the last 32 or so, known once there
    /// were 32. At most 512 routes are distinct, in 12 KiB; for more, and where none matched, nothing is unusual.
    pub fn slow_for_its_route(mut self, times: f64, at_least: Duration) -> Self {
        self.unusual = Some((times, at_least));
        self
    }

    /// The most memory that held spans may take together, in bytes. Default: 32 MiB.
    ///
    /// While less than half of it is taken, an exchange may hold all that is left of that half; beyond that, its share: that
    /// half, divided by the number of open exchanges. So a few that hold much leave room for all others. An exchange that has
    /// been open for as long as is slow for it will be kept: its spans are exported at once and take no memory here.
    ///
    /// What exceeds this is dropped and counted, inner spans first; the exchange's own span never is.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The most spans that one exchange may have held. Default: 512. Beyond it, inner spans are dropped first, so that those
    /// that are kept have their parents.
    pub fn max_spans(mut self, spans: usize) -> Self {
        self.max_spans = spans;
        self
    }

    /// How often, at most, all open exchanges are searched for those that are slow already, where room is needed. Default:
    /// 100 ms.
    pub fn search_interval(mut self, interval: Duration) -> Self {
        self.search_interval = interval;
        self
    }

    /// Whether this exchange is worth keeping.
    fn wants(&self, usual: &Usual, routes: &RouteSettings<RoutePolicy>, exchange: &Exchange, end: &End) -> bool {
        if end.is_server_error() || end.outcome.is_cancelled() || exchange.error().is_some() {
            return true;
        }
        let unusual = self.unusual.is_some_and(|(times, at_least)| {
            let name = exchange.rpc_method().or_else(|| exchange.route().map(Text::as_str));
            let usual = name.and_then(|name| usual.of(exchange.method(), name, end.duration));
            usual.is_some_and(|usual| end.duration >= at_least && end.duration.as_secs_f64() >= times * usual)
        });
        unusual || end.duration >= self.slow_for(routes, exchange)
    }

    fn slow_for(&self, routes: &RouteSettings<RoutePolicy>, exchange: &Exchange) -> Duration {
        let applied = RoutePolicy::of(exchange).and_then(|applied| applied.slow_after());
        applied.or_else(|| routes.of(exchange)?.slow_after()).unwrap_or(self.slow)
    }
}

impl Default for TailSampling {
    fn default() -> Self {
        Self::new()
    }
}

/// How many routes have a place in [`Usual`].
const ROUTES: usize = 512;
/// Over how many exchanges, about, an average goes.
const AVERAGED: u64 = 32;

/// How long exchanges of each route take, on average.
#[derive(Debug)]
struct Usual {
    hasher: RandomState,
    routes: Box<[UsualOfRoute]>,
}

#[derive(Debug, Default)]
struct UsualOfRoute {
    /// The hash of its name; 0: free.
    name: AtomicU64,
    nanos: AtomicU64,
    seen: AtomicU64,
}

impl Usual {
    fn new(max_routes: usize) -> Self {
        Self { hasher: RandomState::new(), routes: (0..max_routes).map(|_| UsualOfRoute::default()).collect() }
    }

    /// How many seconds are usual, as far as is known before this one.
    fn of(&self, method: &str, name: &str, took: Duration) -> Option<f64> {
        let hash = self.hasher.hash_one((method, name)).max(1);
        let route = self.place(hash)?;
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Two ends at once may lose one of them from the average, which does it no harm.
        let (seen, nanos) = (route.seen.load(Ordering::Relaxed), route.nanos.load(Ordering::Relaxed));
        let weight = seen.saturating_add(1).min(AVERAGED);
        let part = |nanos: u64| nanos.checked_div(weight).unwrap_or_default();
        let next = nanos.saturating_sub(part(nanos)).saturating_add(part(took));
        route.nanos.store(next, Ordering::Relaxed);
        route.seen.store(seen.saturating_add(1), Ordering::Relaxed);
        (seen >= AVERAGED).then(|| Duration::from_nanos(nanos).as_secs_f64())
    }

    /// The place of a name, which it keeps for good.
    fn place(&self, hash: u64) -> Option<&UsualOfRoute> {
        let first = usize::try_from(hash.checked_rem(self.routes.len() as u64)?).ok()?;
        self.routes.iter().cycle().skip(first).take(self.routes.len().min(16)).find(|route| {
            let taken = route.name.load(Ordering::Relaxed);
            taken == hash
                || (taken == 0
                    && match route.name.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                        Ok(_) => true,
                        Err(now) => now == hash,
                    })
        })
    }
}

/// In an OpenTelemetry context: which exchange the spans below belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot(u64);

impl Slot {
    /// As an attribute holds it.
    pub(crate) fn value(self) -> i64 {
        i64::from_ne_bytes(self.0.to_ne_bytes())
    }

    pub(crate) fn read(value: &Value) -> Option<Self> {
        let Value::I64(slot) = value else { return None };
        Some(Self(u64::from_ne_bytes(slot.to_ne_bytes())))
    }
}

/// Spans that end after their exchange still follow its decision, for this many kept exchanges.
const REMEMBERED: usize = 256;
const SHARDS: usize = 8;

/// The spans of one exchange.
#[derive(Debug)]
struct Held {
    exchange: Exchange,
    own: SpanId,
    spans: Vec<SpanData>,
    bytes: usize,
    /// It is slow already: it will be kept, so nothing is held.
    is_kept: bool,
}

impl Held {
    /// Makes room for one more span: inner ones go, if the new one is their parent. Returns how many went, and their size.
    /// `None`: no room.
    fn make_room(
        &mut self,
        span: &SpanData,
        size: usize,
        max_spans: usize,
        max_bytes: usize,
    ) -> Option<(usize, usize)> {
        let (spans, bytes) = (max_spans.checked_sub(1)?, max_bytes.checked_sub(size)?);
        if self.spans.len() <= spans && self.bytes <= bytes {
            return Some((0, 0));
        }
        let id = span.span_context.span_id();
        let is_outer = self.spans.iter().any(|held| held.parent_span_id == id);
        is_outer.then(|| self.shrink(spans, bytes))
    }

    /// Drops spans that no other one is below of, the last ones first, until no more than this is left. Returns how many went,
    /// and their size.
    fn shrink(&mut self, max_spans: usize, max_bytes: usize) -> (usize, usize) {
        let (count, bytes) = (self.spans.len(), self.bytes);
        while self.spans.len() > max_spans || self.bytes > max_bytes {
            let parents: HashSet<_> = self.spans.iter().map(|held| held.parent_span_id).collect();
            let mut place = self.spans.len();
            while place > 0 && (self.spans.len() > max_spans || self.bytes > max_bytes) {
                place = place.saturating_sub(1);
                let is_leaf = self.spans.get(place).is_some_and(|held| !parents.contains(&held.span_context.span_id()));
                if is_leaf {
                    let leaf = self.spans.remove(place);
                    self.bytes = self.bytes.saturating_sub(size_of_span(&leaf));
                }
            }
            if self.spans.is_empty() || count == self.spans.len() {
                // Spans that are parents of each other: no SDK makes them.
                break;
            }
        }
        (count.saturating_sub(self.spans.len()), bytes.saturating_sub(self.bytes))
    }
}

/// The spans that wait for the end of their exchange.
#[derive(Debug)]
pub(crate) struct Hold {
    usual: Usual,
    tail: TailSampling,
    routes: Arc<RouteSettings<RoutePolicy>>,
    next: AtomicU64,
    open: AtomicUsize,
    bytes: AtomicUsize,
    shards: [Mutex<HashMap<Slot, Held>>; SHARDS],
    kept: Mutex<VecDeque<Slot>>,
    searched: Mutex<Option<Instant>>,
    queue: Pipeline<SpanData>,
    dropped: AtomicU64,
    sampled_out: AtomicU64,
    bytes_peak: AtomicU64,
}

impl Hold {
    pub(crate) fn new(tail: TailSampling, routes: Arc<RouteSettings<RoutePolicy>>, queue: Pipeline<SpanData>) -> Self {
        Self {
            usual: Usual::new(if tail.unusual.is_some() { ROUTES } else { 0 }),
            tail,
            routes,
            next: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            shards: Default::default(),
            kept: Mutex::default(),
            searched: Mutex::default(),
            queue,
            dropped: AtomicU64::new(0),
            sampled_out: AtomicU64::new(0),
            bytes_peak: AtomicU64::new(0),
        }
    }

    /// Adds what this counts.
    pub(crate) fn read_into(&self, stats: &mut TraceStats) {
        stats.held_dropped = self.dropped.load(Ordering::Relaxed);
        stats.sampled_out = self.sampled_out.load(Ordering::Relaxed);
        stats.held_bytes_peak = self.bytes_peak.load(Ordering::Relaxed);
    }

    fn shard(&self, slot: Slot) -> MutexGuard<'_, HashMap<Slot, Held>> {
        let [first, ..] = &self.shards;
        let place = usize::try_from(slot.0.rem_euclid(SHARDS as u64)).unwrap_or_default();
        self.shards.get(place).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to hold the spans of an exchange whose own has this id.
    pub(crate) fn begin(&self, exchange: &Exchange, own: SpanId) -> Slot {
        let slot = Slot(self.next.fetch_add(1, Ordering::Relaxed));
        let held = Held { exchange: exchange.clone(), own, spans: Vec::new(), bytes: 0, is_kept: false };
        self.open.fetch_add(1, Ordering::Relaxed);
        self.shard(slot).insert(slot, held);
        slot
    }

    /// A span has ended.
    pub(crate) fn push(&self, slot: Slot, span: SpanData) {
        let size = size_of_span(&span);
        self.reclaim(size);
        let mut shard = self.shard(slot);
        let Some(held) = shard.get_mut(&slot) else {
            drop(shard);
            self.late(slot, span);
            return;
        };
        // The exchange's own span comes last, right before the decision, and is the parent of the others: it is never dropped.
        let is_own = span.span_context.span_id().to_bytes() == held.own.to_bytes();
        if held.is_kept || (!is_own && self.is_slow(held, clock::now())) {
            held.is_kept = true;
            let spans = self.take(held);
            drop(shard);
            self.export(spans);
            self.queue.push(sampled(span));
            return;
        }
        let (max_spans, max_bytes) =
            if is_own { (usize::MAX, usize::MAX) } else { (self.tail.max_spans, self.room(held)) };
        let Some(freed) = held.make_room(&span, size, max_spans, max_bytes) else {
            drop(shard);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        held.bytes = held.bytes.saturating_add(size);
        held.spans.push(span);
        drop(shard);
        self.count_freed(freed);
        let bytes = self.bytes.fetch_add(size, Ordering::Relaxed).saturating_add(size);
        self.bytes_peak.fetch_max(bytes as u64, Ordering::Relaxed);
    }

    fn count_freed(&self, (spans, bytes): (usize, usize)) {
        if spans > 0 {
            self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// How many bytes an exchange may hold now.
    fn room(&self, held: &Held) -> usize {
        let half = self.tail.max_bytes / 2;
        let free = half.saturating_sub(self.bytes.load(Ordering::Relaxed));
        held.bytes.saturating_add(free).max(self.share())
    }

    /// How many bytes each exchange may hold when they are scarce.
    fn share(&self) -> usize {
        let half = self.tail.max_bytes / 2;
        half.checked_div(self.open.load(Ordering::Relaxed)).unwrap_or(half)
    }

    /// Looks for memory before it is needed: first with exchanges that are slow already, then with those that hold more than
    /// their share. That frees half of all, so it is seldom.
    fn reclaim(&self, size: usize) {
        let needed = || self.bytes.load(Ordering::Relaxed).saturating_add(size);
        if needed() > self.tail.max_bytes / 2 {
            self.release_slow();
        }
        if needed() > self.tail.max_bytes {
            let max_bytes = self.share();
            for shard in &self.shards {
                let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                for held in shard.values_mut().filter(|held| held.bytes > max_bytes) {
                    self.count_freed(held.shrink(usize::MAX, max_bytes));
                }
            }
        }
    }

    fn is_slow(&self, held: &Held, now: Instant) -> bool {
        let exchange = &held.exchange;
        let slow = if exchange.route().is_none() && exchange.rpc_method().is_none() {
            // Which threshold counts is not known yet.
            self.routes.iter().filter_map(RoutePolicy::slow_after).fold(self.tail.slow, Duration::max)
        } else {
            self.tail.slow_for(&self.routes, exchange)
        };
        now.saturating_duration_since(exchange.started()) >= slow && !exchange.is_skipped(Signal::Traces)
    }

    /// Exports what exchanges hold that are slow already.
    #[cold]
    fn release_slow(&self) {
        let now = clock::now();
        {
            let mut searched = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
            if searched.is_some_and(|at| now.saturating_duration_since(at) < self.tail.search_interval) {
                return;
            }
            *searched = Some(now);
        }
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let mut spans = Vec::new();
            for held in shard.values_mut().filter(|held| !held.spans.is_empty()) {
                if self.is_slow(held, now) {
                    held.is_kept = true;
                    spans.append(&mut self.take(held));
                }
            }
            drop(shard);
            self.export(spans);
        }
    }

    /// Takes what an exchange holds.
    fn take(&self, held: &mut Held) -> Vec<SpanData> {
        self.bytes.fetch_sub(std::mem::take(&mut held.bytes), Ordering::Relaxed);
        std::mem::take(&mut held.spans)
    }

    fn export(&self, spans: Vec<SpanData>) {
        for span in spans {
            self.queue.push(sampled(span));
        }
    }

    fn late(&self, slot: Slot, span: SpanData) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).contains(&slot);
        if kept {
            self.queue.push(sampled(span));
        } else {
            self.sampled_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The exchange is over and its own span has ended: all are exported, or none.
    pub(crate) fn end(&self, slot: Slot, exchange: &Exchange, end: &End) {
        let wanted = !exchange.is_skipped(Signal::Traces) && self.tail.wants(&self.usual, &self.routes, exchange, end);
        let Some(mut held) = self.shard(slot).remove(&slot) else { return };
        self.open.fetch_sub(1, Ordering::Relaxed);
        let spans = self.take(&mut held);
        if wanted || held.is_kept {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= REMEMBERED {
                kept.pop_front();
            }
            kept.push_back(slot);
            drop(kept);
            self.export(spans);
        } else {
            self.sampled_out.fetch_add(spans.len() as u64, Ordering::Relaxed);
        }
    }
}

/// It is exported, so it was sampled.
fn sampled(mut span: SpanData) -> SpanData {
    let context = &span.span_context;
    span.span_context = SpanContext::new(
        context.trace_id(),
        context.span_id(),
        context.trace_flags().with_sampled(true),
        context.is_remote(),
        context.trace_state().clone(),
    );
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_usual_is_known_after_a_while_and_follows_what_comes() {
        let usual = Usual::new(ROUTES);
        for _ in 0..AVERAGED {
            assert_eq!(usual.of("GET", "/a", 10 * MS), None);
        }
        let near = |found: Option<f64>, want: f64| (found.unwrap() - want).abs() < 0.002;
        assert!(near(usual.of("GET", "/a", 1_000 * MS), 0.010));
        assert!(near(usual.of("GET", "/a", 10 * MS), 0.041), "one does not make the rule");
        for _ in 0..300 {
            usual.of("GET", "/a", 50 * MS);
        }
        assert!(near(usual.of("GET", "/a", 50 * MS), 0.050));
        assert_eq!(usual.of("POST", "/a", 50 * MS), None, "another method is another matter");
    }

    #[test]
    fn routes_over_the_limit_share_a_series_and_nothing_grows() {
        let usual = Usual::new(8);
        let known = (0..1_000).filter(|n| usual.place(usual.hasher.hash_one(n).max(1)).is_some()).count();
        assert_eq!(known, 8);
        assert!(Usual::new(0).of("GET", "/a", MS).is_none());
    }
}
