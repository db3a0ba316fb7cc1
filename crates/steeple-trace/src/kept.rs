//! Spans of the traces that somebody may want to look at in this process.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use opentelemetry::trace::{SpanKind, Status, TraceId};
use opentelemetry_sdk::trace::SpanData;
use steeple_core::text::cut;
use steeple_scrub::Scrubbed;

/// The latest traces.
const MAX_RECENT: usize = 100;
/// The latest failed ones and the slowest ones, of each.
const MAX_LISTED: usize = 100;
/// Spans of one trace.
const MAX_SPANS: usize = 64;
/// Everything together.
const MAX_BYTES: usize = 2 << 20;
/// The slowest of this long.
const SLOWEST_OF: Duration = Duration::from_secs(3600);
/// Attributes of a span, and bytes of each value.
const MAX_ATTRIBUTES: usize = 12;
const MAX_VALUE: usize = 160;
const MAX_NAME: usize = 120;

/// Keeps spans of some of the exported traces, to be looked at in this process: the latest 100 traces, the latest 100 whose
/// server span failed, and the 100 whose server span took longest in an hour; up to 64 spans each, and 2 MiB together. A cheap
/// clone, for [`TraceBuilder::keep_traces`](crate::TraceBuilder::keep_traces).
///
/// Spans are kept as they are exported: scrubbed, on the export thread. Requests pay nothing. Nothing is kept before
/// [`begin`](Self::begin).
#[derive(Clone, Default)]
pub struct KeptTraces(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_on: AtomicBool,
    ring: Mutex<Ring>,
}

/// A span as it was exported, in short. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptSpan {
    /// Its id, in hex.
    pub id: String,
    /// The id of its parent; zeros for a root.
    pub parent: String,
    /// Its name, up to 120 bytes.
    pub name: String,
    /// `server`, `client`, `internal`, `producer` or `consumer`.
    pub kind: &'static str,
    /// When it began, since the Unix epoch.
    pub start: Duration,
    /// How long it took.
    pub duration: Duration,
    /// Whether its status is an error.
    pub failed: bool,
    /// The first 12 attributes, values up to 160 bytes.
    pub attributes: Vec<(String, String)>,
}

impl KeptSpan {
    fn new(span: &SpanData) -> Self {
        let start = span.start_time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let short = |text: &str| cut(text, MAX_VALUE).to_owned();
        let attributes = span.attributes.iter().take(MAX_ATTRIBUTES);
        Self {
            id: span.span_context.span_id().to_string(),
            parent: span.parent_span_id.to_string(),
            name: cut(&span.name, MAX_NAME).to_owned(),
            kind: match span.span_kind {
                SpanKind::Server => "server",
                SpanKind::Client => "client",
                SpanKind::Producer => "producer",
                SpanKind::Consumer => "consumer",
                SpanKind::Internal => "internal",
            },
            start,
            duration: span.end_time.duration_since(span.start_time).unwrap_or_default(),
            failed: matches!(span.status, Status::Error { .. }),
            attributes: attributes.map(|pair| (short(pair.key.as_str()), short(&pair.value.as_str()))).collect(),
        }
    }

    fn bytes(&self) -> usize {
        let texts = self.attributes.iter().map(|(key, value)| key.len().saturating_add(value.len()).saturating_add(48));
        texts.fold(self.name.len().saturating_add(200), usize::saturating_add)
    }
}

#[derive(Default)]
struct Kept {
    spans: Vec<KeptSpan>,
    bytes: usize,
    /// Of the server span, once it is there.
    failed: bool,
    duration: Duration,
    start: Duration,
}

/// Each trace is in one of the three lists.
#[derive(Default)]
struct Ring {
    traces: HashMap<TraceId, Kept>,
    recent: VecDeque<TraceId>,
    failed: VecDeque<TraceId>,
    slow: Vec<TraceId>,
    bytes: usize,
}

impl Ring {
    fn push(&mut self, trace: TraceId, span: KeptSpan) {
        let kept = self.traces.entry(trace).or_insert_with(|| {
            self.recent.push_back(trace);
            Kept::default()
        });
        let is_server = span.kind == "server";
        // A caller may send one trace id with all its requests. The first server span has its place, behind however many.
        let is_first = is_server && kept.spans.iter().all(|other| other.kind != "server");
        if is_server {
            (kept.failed, kept.duration, kept.start) = (kept.failed || span.failed, span.duration, span.start);
        }
        if !is_first && kept.spans.len() >= MAX_SPANS {
            return;
        }
        let bytes = span.bytes();
        kept.spans.push(span);
        kept.bytes = kept.bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        while self.recent.len() > MAX_RECENT || (self.bytes > MAX_BYTES && self.recent.len() > 1) {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.list(oldest);
        }
        while self.bytes > MAX_BYTES {
            let Some(next) = self.failed.pop_front().or_else(|| self.fastest()).or_else(|| self.recent.pop_front())
            else {
                break;
            };
            self.remove(next);
        }
    }

    /// Finds a place for a trace that is no longer among the latest.
    fn list(&mut self, trace: TraceId) {
        let Some((failed, duration, start)) =
            self.traces.get(&trace).map(|kept| (kept.failed, kept.duration, kept.start))
        else {
            return;
        };
        if failed {
            self.failed.push_back(trace);
            if self.failed.len() > MAX_LISTED
                && let Some(oldest) = self.failed.pop_front()
            {
                self.remove(oldest);
            }
            return;
        }
        let traces = &self.traces;
        let is_old =
            |trace: &TraceId| traces.get(trace).is_none_or(|kept| kept.start.saturating_add(SLOWEST_OF) < start);
        let old: Vec<TraceId> = self.slow.iter().copied().filter(is_old).collect();
        self.slow.retain(|trace| !old.contains(trace));
        for trace in old {
            self.remove(trace);
        }
        // The slowest first.
        let traces = &self.traces;
        let place = self.slow.partition_point(|other| traces.get(other).is_some_and(|kept| kept.duration >= duration));
        self.slow.insert(place, trace);
        if self.slow.len() > MAX_LISTED
            && let Some(fastest) = self.fastest()
        {
            self.remove(fastest);
        }
    }

    fn fastest(&mut self) -> Option<TraceId> {
        self.slow.pop()
    }

    fn remove(&mut self, trace: TraceId) {
        if let Some(kept) = self.traces.remove(&trace) {
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }
}

impl KeptTraces {
    /// Keeps nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps spans that are exported from now on.
    pub fn begin(&self) {
        self.0.is_on.store(true, Relaxed);
    }

    /// Whether there are spans of a trace, by its id in hex.
    pub fn has(&self, trace: &str) -> bool {
        TraceId::from_hex(trace).is_ok_and(|trace| self.lock().traces.contains_key(&trace))
    }

    /// The spans of a trace, by its id in hex, in the order in which they ended. Empty: it is not kept.
    pub fn spans(&self, trace: &str) -> Vec<KeptSpan> {
        let Ok(trace) = TraceId::from_hex(trace) else { return Vec::new() };
        self.lock().traces.get(&trace).map(|kept| kept.spans.clone()).unwrap_or_default()
    }

    pub(crate) fn record(&self, span: &Scrubbed<SpanData>) {
        if self.0.is_on.load(Relaxed) {
            let kept = KeptSpan::new(span);
            self.lock().push(span.span_context.trace_id(), kept);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeptTraces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptTraces").field("is_on", &self.0.is_on.load(Relaxed)).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(kind: &'static str, failed: bool, millis: u64, at: u64) -> KeptSpan {
        KeptSpan {
            id: String::new(),
            parent: String::new(),
            name: "x".repeat(100),
            kind,
            start: Duration::from_secs(at),
            duration: Duration::from_millis(millis),
            failed,
            attributes: vec![("a".to_owned(), "b".repeat(160)); MAX_ATTRIBUTES],
        }
    }

    fn id(number: u128) -> TraceId {
        TraceId::from(number)
    }

    #[test]
    fn failed_and_slow_traces_outlive_the_latest() {
        let mut ring = Ring::default();
        for number in 1..=10_000_u128 {
            let (failed, slow) = (number % 500 == 7, number % 500 == 9);
            ring.push(id(number), span("internal", false, 1, 100));
            ring.push(id(number), span("server", failed, if slow { 900 } else { 2 }, 100));
        }
        let kept = |number: u128| ring.traces.contains_key(&id(number));
        assert!((9_901..=10_000).all(kept), "the latest");
        assert!((0..20).all(|round| kept(round * 500 + 7) && kept(round * 500 + 9)), "the failed and the slow");
        assert!(ring.traces.len() <= MAX_RECENT + 2 * MAX_LISTED && ring.bytes <= MAX_BYTES, "{}", ring.bytes);
        let bytes: usize = ring.traces.values().map(|kept| kept.bytes).sum();
        assert_eq!(bytes, ring.bytes);
    }

    #[test]
    fn spans_of_a_trace_and_all_bytes_are_bounded_and_the_server_span_always_fits() {
        let mut ring = Ring::default();
        for number in 1..=400_u128 {
            for _ in 0..200 {
                ring.push(id(number), span("client", false, 1, 100));
            }
            ring.push(id(number), span("server", true, 5, 100));
        }
        assert!(ring.bytes <= MAX_BYTES, "{}", ring.bytes);
        let last = ring.traces.get(&id(400)).unwrap();
        assert_eq!((last.spans.len(), last.failed), (MAX_SPANS + 1, true));
        let known = ring.recent.len() + ring.failed.len() + ring.slow.len();
        assert_eq!(known, ring.traces.len());
    }

    #[test]
    fn a_caller_that_sends_one_trace_id_with_all_its_requests_takes_the_room_of_one_trace() {
        let mut ring = Ring::default();
        for number in 1..=20_u128 {
            ring.push(id(number), span("server", false, 5, 100));
        }
        for request in 0..10_000 {
            ring.push(id(7), span("server", request == 5_000, 5, 100));
            ring.push(id(7), span("client", false, 1, 100));
        }
        assert_eq!((ring.traces[&id(7)].spans.len(), ring.traces[&id(7)].failed), (MAX_SPANS, true));
        assert_eq!(ring.traces.len(), 20, "the others stay");
    }

    #[test]
    fn what_was_slow_an_hour_ago_gives_its_place_away() {
        let mut ring = Ring::default();
        for number in 1..=250_u128 {
            ring.push(id(number), span("server", false, 5_000, 100));
        }
        for number in 1_001..=1_250_u128 {
            ring.push(id(number), span("server", false, 1, 100 + 7_200));
        }
        let kept = |number: u128| ring.traces.contains_key(&id(number));
        assert!(!(1..=250).any(kept) && (1_151..=1_250).all(kept), "{} are left", ring.traces.len());
    }
}
