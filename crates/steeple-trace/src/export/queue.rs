use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use steeple_core::clock;

use super::{Counters, ExportStats, FlushReport};

/// How much waits, how long, and how much is sent at once. Names and defaults are those of `OTEL_BSP_*`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_queue: usize,
    /// In bytes, with what is being sent.
    pub(crate) max_bytes: usize,
    pub(crate) max_batch: usize,
    pub(crate) delay: Duration,
    pub(crate) export_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_queue: 2048,
            max_bytes: 16 << 20,
            max_batch: 512,
            delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
        }
    }
}

/// Most bytes of one batch, unless a single item takes more. Receivers over gRPC take 4 MiB by default.
const MAX_BATCH_BYTES: usize = 2 << 20;

/// What waits in a queue.
pub(crate) trait Item: Send + 'static {
    /// About how much memory it takes.
    fn bytes(&self) -> usize;
}

/// Spans, or log records, on their way to the exporter's thread. A full queue drops the newest and counts it; it never
/// blocks.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    /// There is something to do for the exporter's thread.
    work: Condvar,
    /// Items were sent or lost.
    settled: Condvar,
    limits: Limits,
    counters: Counters,
}

#[derive(Debug)]
struct Inner<T> {
    /// With their sizes.
    items: VecDeque<(usize, T)>,
    /// Of all items, queued and in export.
    bytes: usize,
    in_export: usize,
    bytes_in_export: usize,
    /// How many items ever came in, and how many of them were sent or lost.
    accepted: u64,
    done: u64,
    /// Everything up to this many accepted items is to be sent at once.
    flush_to: u64,
    /// When a flush stops waiting: a longer export is of no use to it.
    flush_by: Option<Instant>,
    closed: bool,
}

/// What the exporter's thread does next.
pub(crate) struct Batch<T> {
    pub(crate) items: Vec<T>,
    pub(crate) timeout: Duration,
}

/// A flush that has begun.
pub(crate) struct Flushing {
    target: u64,
    before: ExportStats,
    timeout: Duration,
    deadline: Option<Instant>,
}

impl<T: Item> Queue<T> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            inner: Mutex::new(Inner {
                items: VecDeque::new(),
                bytes: 0,
                in_export: 0,
                bytes_in_export: 0,
                accepted: 0,
                done: 0,
                flush_to: 0,
                flush_by: None,
                closed: false,
            }),
            work: Condvar::new(),
            settled: Condvar::new(),
            limits,
            counters: Counters::default(),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, item: T) {
        let size = item.bytes();
        let mut inner = self.lock();
        let bytes = inner.bytes.saturating_add(size);
        if inner.closed || inner.items.len() >= self.limits.max_queue || bytes > self.limits.max_bytes {
            drop(inner);
            self.counters.lose_at_queue();
            return;
        }
        inner.bytes = bytes;
        inner.items.push_back((size, item));
        inner.accepted = inner.accepted.saturating_add(1);
        let wake = inner.items.len() == 1 || inner.items.len() >= self.limits.max_batch || bytes >= MAX_BATCH_BYTES;
        drop(inner);
        if wake {
            self.work.notify_one();
        }
    }

    pub(crate) fn stats(&self) -> ExportStats {
        let inner = self.lock();
        let queued = inner.items.len().saturating_add(inner.in_export);
        // Under the lock: a batch is queued or settled, never neither.
        ExportStats { queued_bytes: inner.bytes as u64, ..self.counters.read(queued) }
    }

    /// Waits for a batch. `None`: the queue is closed and empty.
    pub(crate) fn next(&self) -> Option<Batch<T>> {
        let mut inner = self.lock();
        let mut waited_since: Option<Instant> = None;
        loop {
            let hurry = inner.closed || inner.flush_to > inner.done;
            let is_full = inner.items.len() >= self.limits.max_batch || inner.bytes >= MAX_BATCH_BYTES;
            if (is_full || hurry) && !inner.items.is_empty() {
                break;
            }
            if inner.closed {
                return None;
            }
            if inner.items.is_empty() {
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
        let mut bytes = 0_usize;
        let fits = |(size, _): &&(usize, T)| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(*size);
            is_first || bytes <= MAX_BATCH_BYTES
        };
        let count = inner.items.iter().take(self.limits.max_batch).take_while(fits).count();
        let batch: Vec<_> = inner.items.drain(..count).collect();
        inner.in_export = count;
        inner.bytes_in_export = batch.iter().map(|(size, _)| *size).fold(0, usize::saturating_add);
        let items = batch.into_iter().map(|(_, item)| item).collect();
        let mut timeout = self.limits.export_timeout;
        if let Some(by) = inner.flush_by {
            timeout = timeout.min(by.saturating_duration_since(clock::now()));
        }
        Some(Batch { items, timeout })
    }

    /// A batch was sent, or lost.
    pub(crate) fn settle(&self, items: usize, accepted: bool) {
        let mut inner = self.lock();
        inner.in_export = 0;
        inner.bytes = inner.bytes.saturating_sub(std::mem::take(&mut inner.bytes_in_export));
        inner.done = inner.done.saturating_add(items as u64);
        if inner.done >= inner.flush_to && !inner.closed {
            inner.flush_by = None;
        }
        self.counters.settle(items, accepted);
        drop(inner);
        self.settled.notify_all();
    }

    /// Sends what is queued now, and waits for that until the deadline. Blocks this thread.
    pub(crate) fn flush(&self, timeout: Duration, close: bool) -> FlushReport {
        self.wait(&self.begin_flush(timeout, close))
    }

    /// Has what is queued now sent, without waiting for it.
    pub(crate) fn begin_flush(&self, timeout: Duration, close: bool) -> Flushing {
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
        Flushing { target, before, timeout, deadline }
    }

    /// Waits for what a flush has begun. Blocks this thread.
    pub(crate) fn wait(&self, flushing: &Flushing) -> FlushReport {
        let Flushing { target, before, timeout, deadline } = flushing;
        let mut inner = self.lock();
        while inner.done < *target {
            let left = deadline.map_or(*timeout, |deadline| deadline.saturating_duration_since(clock::now()));
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
