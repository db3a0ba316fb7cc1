//! A pipeline that a store feeds: items are stored first, and leave the store once the receiver has them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use steeple_core::clock;

use super::{OpenError, SinkId, SinkOptions, Spool, SpoolBuilder, Ticket, options::QueueLimits};
use crate::{
    DropReason, Flush, FlushReport, Health, InDoubt, Pipeline, Reason, Sink, Stats, Task, runtime,
    store::{NewRow, Row, Settled, StoreError, StoreFuture},
};

/// What a pipeline sends of a row.
pub trait FromRow: Send + 'static {
    /// The item that a row holds. It keeps `hold`, and [settles](Hold::stored) it in the pipeline's hooks `stored` and `dropped`.
    fn from_row(row: &NewRow, hold: Hold) -> Self;
}

/// A row that was panicked over so often is dropped.
const MAX_PANICS: u32 = 3;
/// Rows that are read at once, and the bytes of these.
const READ: (usize, usize) = (2_000, 2 << 20);
/// How many bytes of rows may be out at once.
const MAX_OUT: u64 = 8 << 20;
/// How often a wait looks again.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What holds of one pipeline share.
struct Shared {
    spool: Spool,
    sink: SinkId,
    exported: AtomicU64,
    /// By [`DropReason`], after the store.
    dropped: [AtomicU64; DropReason::ALL.len()],
    /// How much later a row is read again after a failure that is not the row's.
    again: Duration,
    /// Whether rows that were under way when a process ended are dropped.
    drops_in_doubt: bool,
    /// The pipeline takes nothing any more.
    ended: AtomicBool,
}

impl Shared {
    fn drop_row(&self, reason: DropReason) {
        if let Some(count) = self.dropped.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A row that is out: settled once, by whatever becomes of it. Dropped without that, the row is read again.
pub struct Hold {
    shared: Arc<Shared>,
    seq: u64,
    tries: u32,
    settled: AtomicBool,
}

impl Hold {
    /// The receiver has it.
    pub fn stored(&self) {
        if self.settle(Settled::Stored) {
            self.shared.exported.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The pipeline gave it up. What the receiver refuses for good is dropped and counted, all else is read again.
    pub fn lost(&self, reason: DropReason) {
        match reason {
            DropReason::Rejected
            | DropReason::TooLarge
            | DropReason::Internal
            | DropReason::Expired
            | DropReason::InDoubt
            | DropReason::NoConsent
            | DropReason::Disabled => {
                if self.settle(Settled::Dropped) {
                    self.shared.drop_row(reason);
                }
            }
            DropReason::QueueFull
            | DropReason::RateLimited
            | DropReason::Network
            | DropReason::Unavailable
            | DropReason::Unauthorized
            | DropReason::Panicked
            | DropReason::Shutdown => {
                self.settle(Settled::Retry { after: self.shared.again });
            }
        }
    }

    /// Notes that rows are about to be sent: for sinks with [`InDoubt::Drop`](crate::InDoubt::Drop). If the process ends before they
    /// are settled, they are not sent again.
    ///
    /// # Errors
    /// When that cannot be written: then they must not be sent.
    pub fn attempt<'a>(holds: impl IntoIterator<Item = &'a Self>) -> StoreFuture<'static, ()> {
        let mut holds = holds.into_iter().peekable();
        let Some(first) = holds.peek() else { return Box::pin(std::future::ready(Ok(()))) };
        let shared = Arc::clone(&first.shared);
        let seqs = holds.map(|hold| hold.seq).collect();
        shared.spool.attempt(shared.sink, seqs)
    }

    fn settle(&self, outcome: Settled) -> bool {
        let is_first = !self.settled.swap(true, Ordering::AcqRel);
        if is_first {
            self.shared.spool.settle(self.shared.sink, self.seq, outcome);
        }
        is_first
    }
}

impl Drop for Hold {
    /// A panic took it, or the pipeline has ended.
    fn drop(&mut self) {
        if self.tries < MAX_PANICS || self.shared.ended.load(Ordering::Acquire) {
            self.settle(Settled::Retry { after: self.shared.again });
        } else if self.settle(Settled::Dropped) {
            self.shared.drop_row(DropReason::Panicked);
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("seq", &self.seq).field("tries", &self.tries).finish_non_exhaustive()
    }
}

/// A [`Pipeline`] that a [`Spool`] feeds: an outage, the end of the process and of the next one lose nothing that was stored.
///
/// - The store is below the directory, in one of the sink's name: `<directory>/<sink>/<process>/outbox.db`. Processes of one
///   service may share the directory; what a process leaves is sent by the next one, or by one that runs.
/// - Rows are sent in the order in which they were stored. A row that was under way when the process ended is sent again, unless
///   the sink is one with [`InDoubt::Drop`](crate::InDoubt::Drop).
/// - Full, the store drops the newest row of the lowest class, counted as [`DropReason::QueueFull`].
/// - Tries as often as it takes: use [`HttpOptions::patient`](crate::HttpOptions::patient) for the pipeline.
pub struct SpooledPipeline<T: FromRow> {
    ends: Arc<Ends<T>>,
    queue: QueueLimits,
}

/// Both ends, for those who push and those who flush. Without either, nothing is sent any more; it stays in the store.
struct Ends<T: FromRow> {
    shared: Arc<Shared>,
    pipeline: Pipeline<T>,
    _feed: Task,
}

impl<T: FromRow> Ends<T> {
    /// Ends the pipeline. What is under way has no time left.
    fn close(&self) -> Flush {
        self.shared.ended.store(true, Ordering::Release);
        self.pipeline.begin_shutdown(clock::now())
    }
}

impl<T: FromRow> Drop for Ends<T> {
    fn drop(&mut self) {
        let _nothing_waits = self.close();
    }
}

impl<T: FromRow> SpooledPipeline<T> {
    /// Opens the store, and feeds the pipeline from it.
    ///
    /// # Errors
    /// As [`SpoolBuilder::open`], and when no thread starts.
    pub fn start(mut spool: SpoolBuilder, pipeline: Pipeline<T>, options: SinkOptions) -> Result<Self, OpenError> {
        let directory = spool.directory.join(pipeline.name());
        let (queue, again) = (spool.queue, spool.timing.retry);
        let failed = |error: StoreError| OpenError::new(&directory, Box::new(error));
        spool.directory.clone_from(&directory);
        let spool = spool.open()?;
        let sink = spool.register(pipeline.name(), options).map_err(failed)?;
        spool.registered_all().map_err(failed)?;
        let dropped = [const { AtomicU64::new(0) }; DropReason::ALL.len()];
        let shared = Arc::new(Shared {
            spool,
            sink,
            exported: AtomicU64::new(0),
            dropped,
            again,
            drops_in_doubt: options.in_doubt == InDoubt::Drop,
            ended: AtomicBool::new(false),
        });
        let feed = crate::spawn(feed(Arc::clone(&shared), pipeline.clone()))
            .map_err(|error| OpenError::new(&directory, Box::new(error)))?;
        Ok(Self { ends: Arc::new(Ends { shared, pipeline, _feed: feed }), queue })
    }

    /// Stores a row. Blocks the thread while the rows before it have not reached the disk and take all the room in memory, for
    /// `timeout` at most.
    ///
    /// # Errors
    /// Why the store cannot be written: the row was not taken.
    pub fn push(&self, row: NewRow, timeout: Duration) -> Result<Ticket, Reason> {
        let size = row.size();
        let until = clock::now().checked_add(timeout);
        loop {
            let (items, bytes) = self.ends.shared.spool.0.shared.waiting();
            // A single row that is larger than the queue is the store's to refuse.
            if items == 0 || (items < self.queue.max_items && bytes.saturating_add(size) <= self.queue.max_bytes) {
                let class = row.class;
                return Ok(self.ends.shared.spool.append(Arc::new(row), class, size));
            }
            if until.is_some_and(|until| until <= clock::now()) {
                return Err(match self.ends.shared.spool.spool_stats().health {
                    Health::Failing(why) | Health::Paused(why) | Health::Disabled(why) => why,
                    Health::Ok => "the store is too slow".into(),
                });
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until a row is in the store, or dropped by it, for `timeout` at most. Blocks the thread.
    pub fn wait_stored(&self, ticket: Ticket, timeout: Duration) {
        let _dropped_or_late = self.ends.shared.spool.wait_blocking(ticket, false, timeout);
    }

    /// The store.
    pub fn spool(&self) -> &Spool {
        &self.ends.shared.spool
    }

    /// The sink: its queue is the store, and rows that are left at the end stay there.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(SpooledSink(Arc::clone(&self.ends)))
    }
}

impl<T: FromRow> fmt::Debug for SpooledPipeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpooledPipeline").field("spool", &self.ends.shared.spool).finish_non_exhaustive()
    }
}

/// Hands the rows to the pipeline.
async fn feed<T: FromRow>(shared: Arc<Shared>, pipeline: Pipeline<T>) {
    let Shared { spool, sink, .. } = &*shared;
    while spool.readable(*sink).await.is_ok() {
        // The pipeline is bounded, and nothing is to be dropped there.
        while pipeline.stats().queued_bytes > MAX_OUT {
            runtime::sleep(LOOK_EVERY).await;
        }
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        match spool.read(*sink, READ.0, READ.1).await {
            Ok(rows) => {
                for Row { seq, tries, row } in rows {
                    let settled = AtomicBool::new(false);
                    let hold = Hold { shared: Arc::clone(&shared), seq, tries, settled };
                    // Dropped, it settles itself.
                    pipeline.push(T::from_row(&row, hold));
                }
            }
            Err(_unreadable) => runtime::sleep(shared.again).await,
        }
    }
}

struct SpooledSink<T: FromRow>(Arc<Ends<T>>);

impl<T: FromRow> SpooledSink<T> {
    fn backlog(&self) -> u64 {
        self.0.shared.spool.backlog_now(self.0.pipeline.name()).map_or(0, |backlog| backlog.items)
    }

    fn dropped(&self) -> u64 {
        self.stats().dropped_total()
    }
}

impl<T: FromRow> Sink for SpooledSink<T> {
    fn name(&self) -> &str {
        self.0.pipeline.name()
    }

    fn stats(&self) -> Stats {
        let backlog = self.0.shared.spool.backlog(self.0.pipeline.name());
        let stored = self.0.shared.spool.spool_stats();
        let mut stats = Stats::new();
        for reason in DropReason::ALL {
            let after = self.0.shared.dropped.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed));
            let gone = stored.gone(self.0.pipeline.name(), reason);
            stats.add_dropped(reason, stored.refused(reason).saturating_add(gone).saturating_add(after));
        }
        if self.0.shared.drops_in_doubt {
            let in_doubt = stored.in_doubt.values().copied().fold(0, u64::saturating_add);
            stats.add_dropped(DropReason::InDoubt, in_doubt);
        }
        stats.exported = self.0.shared.exported.load(Ordering::Relaxed);
        (stats.queued_items, stats.queued_bytes) = (backlog.items, backlog.bytes);
        // What an earlier process has stored counts from the moment at which it is found.
        stats.accepted = stats.exported.saturating_add(stats.dropped_total()).saturating_add(stats.queued_items);
        stats.health = if stored.health == Health::Ok { self.0.pipeline.stats().health } else { stored.health };
        stats
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        let _sends_at_once = self.0.pipeline.begin_flush(deadline);
        Flush::new(deadline, [self.0.shared.exported.load(Ordering::Relaxed), self.dropped(), 0, 0])
    }

    fn begin_shutdown(&self, deadline: Instant) -> Flush {
        let [exported, dropped, ..] = self.begin_flush(deadline).marks();
        Flush::new(deadline, [exported, dropped, 1, 0])
    }

    fn wait(&self, flush: &Flush) -> FlushReport {
        let [exported, dropped, is_end, _] = flush.marks();
        let deadline = flush.deadline();
        let mut left = self.backlog();
        while left > 0 && clock::now() < deadline {
            // What the store has handed over since is sent at once as well.
            let _sends_at_once = self.0.pipeline.begin_flush(deadline);
            thread::sleep(LOOK_EVERY);
            left = self.backlog();
        }
        if is_end == 1 {
            let end = self.0.close();
            let _report = self.0.pipeline.wait(&end);
            self.0.shared.spool.settled();
            left = self.backlog();
        }
        let exported = self.0.shared.exported.load(Ordering::Relaxed).saturating_sub(exported);
        let dropped = self.dropped().saturating_sub(dropped);
        FlushReport::new(self.0.pipeline.name().to_owned().into(), exported, dropped, left)
    }
}
