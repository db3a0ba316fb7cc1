//! Tail keep: spans of an exchange are held until its end, and kept when it turned out to matter.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::{Value, trace::SpanContext};
use opentelemetry_sdk::trace::SpanData;
use steeple_core::{End, Exchange, SpanId, Text};

use crate::{
    export::{Counters, Queue},
    size::size_of_span,
};

/// Holds the spans of each exchange until its end and keeps those that failed, panicked, were cancelled or slow.
///
/// Costs a span for every exchange, also for those that are not kept.
///
/// An exchange that is held passes `sampled=00` on, because nobody knows yet: if it is kept, its own spans are there in
/// full, but those of services further down only if they keep their own. Its log lines say that it is not sampled,
/// too. Exchanges of the base rate (see [`Sampling`](crate::Sampling)) pass `01` on and are whole everywhere.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_trace::{Keep, Sampling, Trace};
///
/// // One in a hundred, and beside them every failed one and every slow one.
/// let trace = Trace::builder()
///     .sampling(Sampling::ratio(0.01))
///     .keep(Keep::new().slow(Duration::from_millis(500)).slow_route("/reports/{id}", Duration::from_secs(20)));
/// # let _unused = trace;
/// ```
#[must_use = "options do nothing until a builder gets them"]
#[derive(Clone, Debug)]
pub struct Keep {
    slow: Duration,
    slow_routes: Vec<(String, Duration)>,
    unusual: Option<(f64, Duration)>,
    max_bytes: usize,
    max_spans: usize,
}

impl Keep {
    /// Keeps failures, panics, cancellations and what takes longer than a second; holds at most 32 MiB.
    pub fn new() -> Self {
        Self {
            slow: Duration::from_secs(1),
            slow_routes: Vec::new(),
            unusual: None,
            max_bytes: 32 << 20,
            max_spans: 512,
        }
    }

    /// What counts as slow. Default: 1 second.
    pub fn slow(mut self, threshold: Duration) -> Self {
        self.slow = threshold;
        self
    }

    /// What counts as slow for one route's template or one gRPC method.
    pub fn slow_route(mut self, template: impl Into<String>, threshold: Duration) -> Self {
        self.slow_routes.push((template.into(), threshold));
        self
    }

    /// Counts as slow, beside what takes as long as is said elsewhere, what takes this many times as long as its route or
    /// gRPC method usually does, and at least this long. Default: nothing is compared.
    ///
    /// What is usual is a moving average over held exchanges that did not fail, of the last 32 or so, known once there
    /// were 32. At most 512 routes are told apart, in 12 KiB; for more, and where none matched, nothing is unusual.
    pub fn slow_for_its_route(mut self, times: f64, at_least: Duration) -> Self {
        self.unusual = Some((times, at_least));
        self
    }

    /// The most memory that held spans may take together, in bytes. Default: 32 MiB.
    ///
    /// Beyond it, spans below the exchange's own are lost, and counted; the exchange's own span is not.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The most spans that one exchange may have held. Default: 512.
    pub fn max_spans(mut self, spans: usize) -> Self {
        self.max_spans = spans;
        self
    }

    /// Whether this exchange is worth keeping.
    fn wants(&self, usual: &Usual, exchange: &Exchange, end: &End) -> bool {
        if end.is_server_error() || end.outcome.is_cancelled() || exchange.error().is_some() {
            return true;
        }
        let unusual = self.unusual.is_some_and(|(times, at_least)| {
            let name = exchange.rpc_method().or_else(|| exchange.route().map(Text::as_str));
            let usual = name.and_then(|name| usual.of(exchange.method(), name, end.duration));
            usual.is_some_and(|usual| end.duration >= at_least && end.duration.as_secs_f64() >= times * usual)
        });
        unusual || end.duration >= self.slow_for(exchange)
    }

    fn slow_for(&self, exchange: &Exchange) -> Duration {
        if self.slow_routes.is_empty() {
            return self.slow;
        }
        let is = |name: &str| self.slow_routes.iter().find(|(template, _)| template == name).map(|(_, slow)| *slow);
        exchange
            .rpc_method()
            .and_then(is)
            .or_else(|| exchange.route().and_then(|route| is(route.as_str())))
            .unwrap_or(self.slow)
    }
}

impl Default for Keep {
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
    /// The hash of its name; 0: nobody's yet.
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
    own: SpanId,
    spans: Vec<SpanData>,
}

/// The spans that wait for the end of their exchange.
#[derive(Debug)]
pub(crate) struct Hold {
    usual: Usual,
    keep: Keep,
    next: AtomicU64,
    bytes: AtomicUsize,
    shards: [Mutex<HashMap<Slot, Held>>; SHARDS],
    kept: Mutex<VecDeque<Slot>>,
    queue: Arc<Queue<SpanData>>,
}

impl Hold {
    pub(crate) fn new(keep: Keep, queue: Arc<Queue<SpanData>>) -> Self {
        Self {
            usual: Usual::new(if keep.unusual.is_some() { ROUTES } else { 0 }),
            keep,
            next: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            shards: Default::default(),
            kept: Mutex::default(),
            queue,
        }
    }

    fn shard(&self, slot: Slot) -> MutexGuard<'_, HashMap<Slot, Held>> {
        let [first, ..] = &self.shards;
        let place = usize::try_from(slot.0.rem_euclid(SHARDS as u64)).unwrap_or_default();
        self.shards.get(place).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counters(&self) -> &Counters {
        self.queue.counters()
    }

    /// Begins to hold the spans of an exchange whose own has this id.
    pub(crate) fn begin(&self, own: SpanId) -> Slot {
        let slot = Slot(self.next.fetch_add(1, Ordering::Relaxed));
        self.shard(slot).insert(slot, Held { own, spans: Vec::new() });
        slot
    }

    /// A span has ended.
    pub(crate) fn push(&self, slot: Slot, span: SpanData) {
        let size = size_of_span(&span);
        let mut shard = self.shard(slot);
        let Some(held) = shard.get_mut(&slot) else {
            drop(shard);
            self.late(slot, span);
            return;
        };
        // The exchange's own span comes last and is what the others hang from: it is never the one to go.
        let bytes = self.bytes.fetch_add(size, Ordering::Relaxed).saturating_add(size);
        let is_own = span.span_context.span_id().to_bytes() == held.own.to_bytes();
        if !is_own && (held.spans.len() >= self.keep.max_spans || bytes > self.keep.max_bytes) {
            drop(shard);
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            self.counters().lose_held(1);
            return;
        }
        held.spans.push(span);
        drop(shard);
        self.counters().held_bytes(self.bytes.load(Ordering::Relaxed));
    }

    fn late(&self, slot: Slot, span: SpanData) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).contains(&slot);
        if kept {
            self.queue.push(sampled(span));
        } else {
            self.counters().leave_out(1);
        }
    }

    /// The exchange is over and its own span has ended: all are exported, or none.
    pub(crate) fn end(&self, slot: Slot, exchange: &Exchange, end: &End) {
        let keep = !exchange.is_skipped(steeple_core::Signal::Traces) && self.keep.wants(&self.usual, exchange, end);
        let spans = self.shard(slot).remove(&slot).map_or_else(Vec::new, |held| held.spans);
        self.bytes.fetch_sub(spans.iter().map(size_of_span).sum(), Ordering::Relaxed);
        if keep {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= REMEMBERED {
                kept.pop_front();
            }
            kept.push_back(slot);
            drop(kept);
            for span in spans {
                self.queue.push(sampled(span));
            }
        } else {
            self.counters().leave_out(spans.len());
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
    fn more_routes_than_there_is_room_for_are_not_told_apart_and_nothing_grows() {
        let usual = Usual::new(8);
        let known = (0..1_000).filter(|n| usual.place(usual.hasher.hash_one(n).max(1)).is_some()).count();
        assert_eq!(known, 8);
        assert!(Usual::new(0).of("GET", "/a", MS).is_none());
    }
}
