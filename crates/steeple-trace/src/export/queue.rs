use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry_sdk::trace::SpanData;
use steeple_core::clock;

use super::{Counters, ExportStats, FlushReport};

/// How much waits, how long, and how much is sent at once. Names and defaults are those of `OTEL_BSP_*`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_queue: usize,
    pub(crate) max_batch: usize,
    pub(crate) delay: Duration,
    pub(crate) export_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_queue: 2048, max_batch: 512, delay: Duration::from_secs(5), export_timeout: Duration::from_secs(30) }
    }
}

/// Spans on their way to the exporter's thread. A full queue drops the newest span and counts it; it never blocks.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    /// There is something to do for the exporter's thread.
    work: Condvar,
    /// Spans were sent or lost.
    settled: Condvar,
    limits: Limits,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Inner {
    spans: VecDeque<SpanData>,
    in_export: usize,
    /// How many spans ever came in, and how many of them were sent or lost.
    accepted: u64,
    done: u64,
    /// Everything up to this many accepted spans is to be sent at once.
    flush_to: u64,
    /// When a flush stops waiting: a longer export is of no use to it.
    flush_by: Option<Instant>,
    closed: bool,
}

/// What the exporter's thread does next.
pub(crate) struct Batch {
    pub(crate) spans: Vec<SpanData>,
    pub(crate) timeout: Duration,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            inner: Mutex::default(),
            work: Condvar::new(),
            settled: Condvar::new(),
            limits,
            counters: Counters::default(),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, span: SpanData) {
        let mut inner = self.lock();
        if inner.closed || inner.spans.len() >= self.limits.max_queue {
            drop(inner);
            self.counters.lose_at_queue();
            return;
        }
        inner.spans.push_back(span);
        inner.accepted = inner.accepted.saturating_add(1);
        let wake = inner.spans.len() == 1 || inner.spans.len() >= self.limits.max_batch;
        drop(inner);
        if wake {
            self.work.notify_one();
        }
    }

    pub(crate) fn stats(&self) -> ExportStats {
        let inner = self.lock();
        let queued = inner.spans.len().saturating_add(inner.in_export);
        // Under the lock: a batch is queued or settled, never neither.
        self.counters.read(queued)
    }

    /// Waits for a batch. `None`: the queue is closed and empty.
    pub(crate) fn next(&self) -> Option<Batch> {
        let mut inner = self.lock();
        let mut waited_since: Option<Instant> = None;
        loop {
            let hurry = inner.closed || inner.flush_to > inner.done;
            if inner.spans.len() >= self.limits.max_batch || (hurry && !inner.spans.is_empty()) {
                break;
            }
            if inner.closed {
                return None;
            }
            if inner.spans.is_empty() {
                waited_since = None;
                inner = self.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let now = clock::now();
            let since = *waited_since.get_or_insert(now);
            let left = self.limits.delay.saturating_sub(now.saturating_duration_since(since));
            if left.is_zero() {
                break;
            }
            inner = self.work.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = inner.spans.len().min(self.limits.max_batch);
        let spans: Vec<_> = inner.spans.drain(..count).collect();
        inner.in_export = count;
        let mut timeout = self.limits.export_timeout;
        if let Some(by) = inner.flush_by {
            timeout = timeout.min(by.saturating_duration_since(clock::now()));
        }
        Some(Batch { spans, timeout })
    }

    /// A batch was sent, or lost.
    pub(crate) fn settle(&self, spans: usize, accepted: bool) {
        let mut inner = self.lock();
        inner.in_export = 0;
        inner.done = inner.done.saturating_add(spans as u64);
        if inner.done >= inner.flush_to && !inner.closed {
            inner.flush_by = None;
        }
        self.counters.settle(spans, accepted);
        drop(inner);
        self.settled.notify_all();
    }

    /// Sends what is queued now, and waits for that until the deadline. Blocks this thread.
    pub(crate) fn flush(&self, timeout: Duration, close: bool) -> FlushReport {
        let deadline = clock::now().checked_add(timeout);
        let mut inner = self.lock();
        let before = self.counters.read(0);
        // Who shut down before has waited already: the provider does it again when it is dropped.
        let deadline = if close && inner.closed { Some(clock::now()) } else { deadline };
        inner.closed |= close;
        let target = inner.accepted;
        inner.flush_to = inner.flush_to.max(target);
        if close && inner.flush_by.is_none() {
            // Nobody waits any longer than this for the last batch.
            inner.flush_by = deadline;
        }
        drop(inner);
        self.work.notify_all();
        let mut inner = self.lock();
        while inner.done < target {
            let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(clock::now()));
            if left.is_zero() {
                break;
            }
            inner = self.settled.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let after = self.counters.read(0);
        FlushReport {
            exported: after.exported.saturating_sub(before.exported),
            lost: after.lost_in_export.saturating_sub(before.lost_in_export),
            pending: target.saturating_sub(inner.done),
        }
    }
}
