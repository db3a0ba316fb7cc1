//! Between a store and a pipeline: rows go out as items, and leave the store by what becomes of these.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use steeple_core::clock;

use super::{SinkId, Spool, db::micros};
use crate::{
    DropReason, Flush, FlushReport, Health, Pipeline, Reason, Sink, Stats, Task, runtime,
    store::{NewRow, Row, Settled, StoreFuture},
};

/// A row that was panicked over so often is given up.
const MAX_PANICS: u32 = 3;
/// Rows that are read at once, and the bytes of these.
const READ: (usize, usize) = (2_000, 2 << 20);
/// How many bytes of rows may be out at once.
const MAX_OUT: u64 = 8 << 20;
/// How often a wait looks again.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How a [`Feed`] does.
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until a feed is started with them"]
pub struct FeedOptions {
    again: Duration,
    keeps_refused: bool,
    is_alone: bool,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self { again: Duration::from_secs(1), keeps_refused: false, is_alone: false }
    }
}

impl FeedOptions {
    /// How much later a row is read again after a failure that is not the row's. Default: 1 second.
    pub fn again(mut self, after: Duration) -> Self {
        self.again = after;
        self
    }

    /// Whether rows that the receiver refuses for good are kept as dead letters. Default: they are dropped. Counted both ways.
    pub fn keep_refused(mut self, keep: bool) -> Self {
        self.keeps_refused = keep;
        self
    }

    /// Whether the sink is the only one of its store: what the store refuses, and how its disk does, is the sink's then. Default:
    /// no, the store is a [`Sink`] beside it.
    pub fn alone(mut self, is_alone: bool) -> Self {
        self.is_alone = is_alone;
        self
    }
}

/// What the rows of one pipeline share.
struct Shared {
    spool: Spool,
    sink: SinkId,
    options: FeedOptions,
    exported: AtomicU64,
    dead: AtomicU64,
    /// By [`DropReason`], after the store; dead letters among them.
    dropped: [AtomicU64; DropReason::ALL.len()],
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
    key: Option<Box<[u8]>>,
    at: Duration,
    settled: AtomicBool,
}

impl Hold {
    /// What the row is found by.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    /// Whether whoever is behind its key has taken consent back: in this process, or in another one that shares the directory.
    pub fn is_revoked(&self) -> bool {
        self.key().is_some_and(|key| self.shared.spool.0.shared.marks().is_revoked(key))
    }

    /// Whether whoever is behind its key was erased since.
    pub fn is_erased(&self) -> bool {
        self.key().is_some_and(|key| self.shared.spool.0.shared.marks().is_erased(key, micros(self.at)))
    }

    /// The receiver has it.
    pub fn stored(&self) {
        self.settle(Settled::Stored, |shared| {
            shared.exported.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// It is not one of those that the sink takes: neither delivered nor dropped.
    pub fn skip(&self) {
        self.settle(Settled::Dropped, |_shared| {});
    }

    /// The pipeline gave it up. What the receiver refuses for good is a dead letter or dropped, and counted; all else is read again.
    pub fn lost(&self, reason: DropReason, why: &Reason) {
        match reason {
            DropReason::Expired => self.refuse(reason, &"older than the receiver takes".into()),
            DropReason::InDoubt | DropReason::NoConsent => {
                self.settle(Settled::Dropped, |shared| shared.drop_row(reason));
            }
            // Events wait until someone turns the sink on again, or until they are too old.
            DropReason::Disabled if self.shared.options.keeps_refused => self.again(),
            DropReason::Rejected | DropReason::TooLarge | DropReason::Internal | DropReason::Disabled => {
                self.refuse(reason, why);
            }
            DropReason::QueueFull
            | DropReason::RateLimited
            | DropReason::Network
            | DropReason::Unavailable
            | DropReason::Unauthorized
            | DropReason::Panicked
            | DropReason::Shutdown => self.again(),
        }
    }

    /// Notes that rows are about to be sent that must not be sent twice. If the process ends before they are settled, what
    /// [`SinkOptions::in_doubt`](super::SinkOptions::in_doubt) says becomes of them, counted.
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

    fn again(&self) {
        self.settle(Settled::Retry { after: self.shared.options.again }, |_shared| {});
    }

    fn refuse(&self, reason: DropReason, why: &Reason) {
        let keeps = self.shared.options.keeps_refused;
        self.settle(if keeps { Settled::Dead(why.clone()) } else { Settled::Dropped }, |shared| {
            shared.dead.fetch_add(u64::from(keeps), Ordering::Relaxed);
            shared.drop_row(reason);
        });
    }

    /// Settles it, unless it is settled. It is counted before it is gone from what waits: who finds nothing left finds all of it counted.
    fn settle(&self, outcome: Settled, count: impl FnOnce(&Shared)) {
        if !self.settled.swap(true, Ordering::AcqRel) {
            count(&self.shared);
            self.shared.spool.settle(self.shared.sink, self.seq, outcome);
        }
    }
}

impl Drop for Hold {
    /// A panic took it, or the pipeline has ended.
    fn drop(&mut self) {
        if self.tries < MAX_PANICS || self.shared.ended.load(Ordering::Acquire) {
            self.again();
        } else {
            self.refuse(DropReason::Panicked, &"the sink panicked over it".into());
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("seq", &self.seq).field("tries", &self.tries).finish_non_exhaustive()
    }
}

/// Hands the rows of one sink of a [`Spool`] to its [`Pipeline`]. Dropped, it ends the pipeline; unsent rows stay in the store.
pub struct Feed<T: Send + 'static>(Arc<Ends<T>>);

struct Ends<T: Send + 'static> {
    shared: Arc<Shared>,
    pipeline: Pipeline<T>,
    _task: Task,
}

impl<T: Send + 'static> Ends<T> {
    fn close(&self) -> Flush {
        // Before rows come back without an answer.
        self.shared.ended.store(true, Ordering::Release);
        self.pipeline.begin_shutdown(clock::now())
    }
}

impl<T: Send + 'static> Drop for Ends<T> {
    fn drop(&mut self) {
        let _nothing_waits = self.close();
    }
}

impl<T: Send + 'static> Feed<T> {
    /// Begins to read. `make` makes the item of a row; it keeps the [`Hold`], and settles it in the pipeline's hooks `stored` and
    /// `dropped`. `None`: there is nothing to send; the hold is to be settled by `make`.
    ///
    /// # Errors
    /// When no thread starts.
    pub fn start(
        spool: &Spool,
        sink: SinkId,
        pipeline: Pipeline<T>,
        options: FeedOptions,
        make: impl FnMut(&NewRow, Hold) -> Option<T> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            spool: spool.clone(),
            sink,
            options,
            exported: AtomicU64::new(0),
            dead: AtomicU64::new(0),
            dropped: [const { AtomicU64::new(0) }; DropReason::ALL.len()],
            ended: AtomicBool::new(false),
        });
        let task = crate::spawn(feed(Arc::clone(&shared), pipeline.clone(), make))?;
        Ok(Self(Arc::new(Ends { shared, pipeline, _task: task })))
    }

    /// The store.
    pub fn spool(&self) -> &Spool {
        &self.0.shared.spool
    }

    /// The sink: its queue is what the store holds for it, and items left at the end stay there.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(FedSink(Arc::clone(&self.0)))
    }

    /// What became of the rows: `accepted` is `exported`, all that was dropped, and what waits. What an earlier process stored counts
    /// from the moment at which it is found. `dropped` counts dead letters too.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Rows that became dead letters.
    pub fn dead(&self) -> u64 {
        self.0.shared.dead.load(Ordering::Relaxed)
    }

    /// Ends the pipeline. Rows under way have no time left; they stay in the store.
    pub fn close(&self) -> Flush {
        self.0.close()
    }
}

impl<T: Send + 'static> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("spool", self.spool()).finish_non_exhaustive()
    }
}

async fn feed<T: Send + 'static>(
    shared: Arc<Shared>,
    pipeline: Pipeline<T>,
    mut make: impl FnMut(&NewRow, Hold) -> Option<T> + Send,
) {
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
                    let (key, at, settled) = (row.key.clone(), row.at, AtomicBool::new(false));
                    let hold = Hold { shared: Arc::clone(&shared), seq, tries, key, at, settled };
                    if let Some(item) = make(&row, hold) {
                        // Dropped, its hold settles itself.
                        pipeline.push(item);
                    }
                }
            }
            Err(_unreadable) => runtime::sleep(shared.options.again).await,
        }
    }
}

impl<T: Send + 'static> Ends<T> {
    fn backlog(&self) -> u64 {
        self.shared.spool.backlog_now(self.pipeline.name()).map_or(0, |backlog| backlog.items)
    }

    fn stats(&self) -> Stats {
        let backlog = self.shared.spool.backlog(self.pipeline.name());
        let stored = self.shared.spool.spool_stats();
        let mut stats = Stats::new();
        for reason in DropReason::ALL {
            let after = self.shared.dropped.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed));
            let gone = stored.gone(self.pipeline.name(), reason);
            let refused = if self.shared.options.is_alone { stored.refused(reason) } else { 0 };
            stats.add_dropped(reason, refused.saturating_add(gone).saturating_add(after));
        }
        stats.exported = self.shared.exported.load(Ordering::Relaxed);
        (stats.queued_items, stats.queued_bytes) = (backlog.items, backlog.bytes);
        stats.accepted = stats.exported.saturating_add(stats.dropped_total()).saturating_add(stats.queued_items);
        let is_of_store = self.shared.options.is_alone && stored.health != Health::Ok;
        stats.health = if is_of_store { stored.health } else { self.pipeline.stats().health };
        stats
    }

    fn exported(&self) -> u64 {
        self.shared.exported.load(Ordering::Relaxed)
    }
}

struct FedSink<T: Send + 'static>(Arc<Ends<T>>);

impl<T: Send + 'static> Sink for FedSink<T> {
    fn name(&self) -> &str {
        self.0.pipeline.name()
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        let _sends_at_once = self.0.pipeline.begin_flush(deadline);
        Flush::new(deadline, [self.0.exported(), self.0.stats().dropped_total(), 0, 0])
    }

    fn begin_shutdown(&self, deadline: Instant) -> Flush {
        let [exported, dropped, ..] = self.begin_flush(deadline).marks();
        Flush::new(deadline, [exported, dropped, 1, 0])
    }

    fn wait(&self, flush: &Flush) -> FlushReport {
        let [exported, dropped, is_end, _] = flush.marks();
        let deadline = flush.deadline();
        let mut left = self.0.backlog();
        while left > 0 && clock::now() < deadline {
            // What the store has handed over since is sent at once as well.
            let _sends_at_once = self.0.pipeline.begin_flush(deadline);
            thread::sleep(LOOK_EVERY);
            left = self.0.backlog();
        }
        if is_end == 1 {
            let end = self.0.close();
            let _report = self.0.pipeline.wait(&end);
            self.0.shared.spool.settled();
            left = self.0.backlog();
        }
        let exported = self.0.exported().saturating_sub(exported);
        let dropped = self.0.stats().dropped_total().saturating_sub(dropped);
        FlushReport::new(self.0.pipeline.name().to_owned().into(), exported, dropped, left)
    }
}
