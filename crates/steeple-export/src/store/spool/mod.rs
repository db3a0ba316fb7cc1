//! A store on disk: stored rows survive the end of the process, however it ends.
//!
//! One SQLite database a process, in its own directory below the configured one; one thread owns it. It commits
//! whenever there is something to commit, so that a commit takes whatever came during the last one. Each sink has a cursor;
//! only exceptions (rows that are tried again, dead letters) have another row.

mod adopt;
mod cursor;
mod db;
#[cfg(test)]
mod deaths;
mod erase;
mod fail;
mod feed;
mod inbox;
mod intake;
mod live;
mod marks;
pub mod offline;
mod open;
mod options;
mod place;
mod read;
mod room;
mod spooled;
mod sweep;
mod timing;
mod writer;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use rusqlite::params;
use steeple_core::clock;
use tokio::sync::oneshot;

use self::{
    db::{DEAD, RETRY, REVOKED},
    inbox::Shared,
    options::{Limits, QueueLimits},
    room::failed,
    writer::Writer,
};
pub use self::{
    feed::{Feed, FeedOptions, Hold},
    open::OpenError,
    options::{SinkOptions, SpoolBuilder, SpoolStats},
    spooled::{FromRow, SpooledPipeline},
    timing::TimingOptions,
};
use super::{Backlog, DeadLetter, NewRow, Row, Settled, Store, StoreError, StoreFuture};
use crate::{DropReason, Flush, FlushReport, Reason, Sink, Stats, runtime};

/// A row that becomes one on the thread that writes: scrubbing and encoding cost nothing where it is appended.
pub trait ToRow: Send + Sync {
    /// The row. `None`: nothing is kept.
    fn row(&self) -> Option<NewRow>;
}

impl ToRow for NewRow {
    fn row(&self) -> Option<NewRow> {
        Some(self.clone())
    }
}

/// A row that was appended, by its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Why a row is not known to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotStored {
    /// It was dropped.
    Dropped(DropReason),
    /// Time is up; it may be stored later.
    Timeout,
}

/// A sink of a store, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkId(u16);

/// A [`Store`] on disk. A cheap clone; the last one to be dropped ends the thread, which writes what waits before.
///
/// # Examples
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use steeple_export::store::{NewRow, spool::{SinkOptions, Spool}};
/// use steeple_scrub::Scrubbed;
///
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let spool = Spool::builder(directory).open()?;
/// let sink = spool.register("webhook", SinkOptions::default())?;
/// let row = NewRow {
///     id: "1".into(),
///     at: std::time::Duration::from_secs(1_790_000_000),
///     key: None,
///     class: 1,
///     body: Scrubbed::from_application("{}".into()),
/// };
/// let ticket = spool.append(Arc::new(row), 1, 128);
/// assert_eq!(spool.wait_blocking(ticket, false, std::time::Duration::from_secs(10)), Ok(()));
/// # let _unused = sink;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Spool(Arc<Handle>);

struct Handle {
    shared: Arc<Shared<Writer>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// How often a thread that waits for its row looks whether it is stored.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The name of the store among the sinks.
const NAME: &str = "outbox";

impl Spool {
    /// Options for a store below a directory, which is made if it is not there.
    pub fn builder(directory: impl Into<PathBuf>) -> SpoolBuilder {
        SpoolBuilder {
            directory: directory.into(),
            limits: Limits { max_bytes: 1 << 30, max_age: Duration::from_secs(14 * 86_400), min_free_bytes: 64 << 20 },
            queue: QueueLimits { max_items: 10_000, max_bytes: 16 << 20 },
            timing: TimingOptions::default(),
        }
    }

    /// Keeps a row. Never blocks: full, the newest row of the lowest class is dropped and counted.
    ///
    /// `size` is what it weighs in memory, in bytes.
    pub fn append(&self, row: Arc<dyn ToRow>, class: u8, size: usize) -> Ticket {
        Ticket(self.0.shared.append(row, class, size))
    }

    /// Adds a sink, or finds it again: it reads rows that are appended from now on, and those that it has left from before. Blocks for
    /// a moment.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn register(&self, sink: &str, options: SinkOptions) -> Result<SinkId, StoreError> {
        let name = sink.to_owned();
        self.call_blocking(move |writer| writer.register(&name, options).map(SinkId))
    }

    /// All sinks are registered: one that was here before and is not any more holds nothing back from now on.
    ///
    /// From then on the store takes in what processes that have ended left, for these sinks; before, it leaves that alone.
    ///
    /// # Errors
    /// When the store has ended.
    pub fn registered_all(&self) -> Result<(), StoreError> {
        self.call_blocking(|writer| {
            writer.release_others();
            Ok(())
        })
    }

    /// Reads the next rows of a sink, the oldest first, and holds them back until they are settled.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(&self, sink: SinkId, max_items: usize, max_bytes: usize) -> StoreFuture<'static, Vec<Row>> {
        self.call(move |writer| writer.read(sink.0, max_items, max_bytes))
    }

    /// Waits until there may be something to read for a sink.
    ///
    /// # Errors
    /// When the store has ended.
    pub async fn readable(&self, sink: SinkId) -> Result<(), StoreError> {
        loop {
            let mut changed = std::pin::pin!(self.0.shared.readable.notified());
            changed.as_mut().enable();
            match self.call(move |writer| Ok(writer.is_readable(sink.0))).await? {
                Ok(()) => return Ok(()),
                Err(Some(until)) => {
                    let _either = tokio::time::timeout_at(until.into(), changed).await;
                }
                Err(None) => changed.await,
            }
        }
    }

    /// Settles a row that was read. Never blocks.
    pub fn settle(&self, sink: SinkId, seq: u64, outcome: Settled) {
        self.0.shared.settle(sink.0, seq, outcome);
        self.0.shared.readable.notify_waiters();
    }

    /// Notes that rows are about to be sent. If the process ends before they are settled, they are in doubt.
    ///
    /// # Errors
    /// When that cannot be written: then they must not be sent.
    pub fn attempt(&self, sink: SinkId, seqs: Vec<u64>) -> StoreFuture<'static, ()> {
        self.call(move |writer| writer.attempt(usize::from(sink.0), &seqs).map_err(failed))
    }

    /// Waits until a row is stored, so that the end of the process does not lose it; with `synced` until it is on the disk,
    /// so that the end of the machine does not either.
    ///
    /// Runs in any runtime, or none.
    ///
    /// # Errors
    /// What became of it, or that time is up.
    pub async fn wait(&self, ticket: Ticket, synced: bool, timeout: Duration) -> Result<(), NotStored> {
        if synced {
            self.0.shared.sync(ticket.0);
        }
        let mut sleep = std::pin::pin!(runtime::sleep(timeout));
        loop {
            let mut moved = std::pin::pin!(self.0.shared.moved.notified());
            moved.as_mut().enable();
            if let Some(outcome) = self.0.shared.look(ticket.0, synced) {
                return outcome.map_err(NotStored::Dropped);
            }
            let time_is_up = std::future::poll_fn(|context| {
                if moved.as_mut().poll(context).is_ready() {
                    return std::task::Poll::Ready(false);
                }
                sleep.as_mut().poll(context).map(|()| true)
            });
            if time_is_up.await {
                return Err(NotStored::Timeout);
            }
        }
    }

    /// As [`wait`](Self::wait), and blocks the thread.
    ///
    /// # Errors
    /// What became of it, or that time is up.
    pub fn wait_blocking(&self, ticket: Ticket, synced: bool, timeout: Duration) -> Result<(), NotStored> {
        let until = clock::now().checked_add(timeout);
        if synced {
            self.0.shared.sync(ticket.0);
        }
        loop {
            if let Some(outcome) = self.0.shared.look(ticket.0, synced) {
                return outcome.map_err(NotStored::Dropped);
            }
            if until.is_some_and(|until| until <= clock::now()) {
                return Err(NotStored::Timeout);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// The dead letters of a sink, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn dead_letters(&self, sink: &str, max_items: usize) -> StoreFuture<'static, Vec<DeadLetter>> {
        let sink = sink.to_owned();
        self.call(move |writer| offline::dead_letters(&writer.db, &sink, max_items, false).map_err(failed))
    }

    /// The dead letters of a sink, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn newest_dead_letters(&self, sink: &str, max_items: usize) -> StoreFuture<'static, Vec<DeadLetter>> {
        let sink = sink.to_owned();
        self.call(move |writer| offline::dead_letters(&writer.db, &sink, max_items, true).map_err(failed))
    }

    /// Has dead letters read again. Returns how many that are.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn requeue(&self, sink: &str, seqs: &[u64]) -> StoreFuture<'static, u64> {
        let (sink, seqs) = (sink.to_owned(), seqs.to_vec());
        self.call(move |writer| {
            let mut requeued = 0_u64;
            for seq in seqs {
                let changed = writer
                    .db
                    .execute(
                        "UPDATE exc SET kind = ?1, tries = 0, why = NULL WHERE seq = ?2 AND sink = ?3 AND kind = ?4",
                        params![RETRY, seq.cast_signed(), sink, DEAD],
                    )
                    .map_err(failed)?;
                requeued = requeued.saturating_add(changed as u64);
            }
            for cursor in &mut writer.cursors {
                cursor.reload(&writer.db).map_err(failed)?;
            }
            writer.publish();
            writer.shared.readable.notify_waiters();
            Ok(requeued)
        })
    }

    /// Removes every row and dead letter with a key, also from the file's free pages and its log, here and in the stores of the other
    /// processes that share the directory. Rows that are out are not sent any more, see [`Hold::is_erased`]. Returns how many rows
    /// there were.
    ///
    /// # Errors
    /// When a store cannot be written.
    pub fn erase(&self, key: &[u8]) -> StoreFuture<'static, u64> {
        let (here, there) = (key.to_vec(), key.to_vec());
        let here = self.call(move |writer| writer.erase(&here).map_err(failed));
        let there = self.beside(move |database| database.erase(&there));
        // Ours is the first: what we take in of theirs knows of it.
        Box::pin(async move { Ok(here.await?.saturating_add(there.await?)) })
    }

    /// Notes that whoever is behind a key has taken consent back, or given it again, here and in the stores of the other processes that
    /// share the directory, which notice within a second. In this process it counts at once, also where it cannot be written.
    ///
    /// # Errors
    /// When a store cannot be written.
    pub fn set_revoked(&self, key: &[u8], revoked: bool) -> StoreFuture<'static, ()> {
        let (here, there) = (key.to_vec(), key.to_vec());
        if revoked {
            self.0.shared.marks_mut().add(here.clone().into(), REVOKED, 0);
        } else {
            self.0.shared.marks_mut().give_consent(&here);
        }
        let here = self.call(move |writer| {
            let written = marks::set_revoked(&writer.db, &here, revoked);
            writer.shared.marks_mut().is_unwritten |= written.is_err();
            written.map_err(failed)
        });
        let there = self.beside(move |database| database.set_revoked(&there, revoked).map(|()| 0));
        Box::pin(async move {
            here.await?;
            there.await.map(drop)
        })
    }

    /// Does something in the stores of other processes, on a thread for it alone: their locks may have to be waited for.
    fn beside(
        &self,
        each: impl Fn(&offline::Database) -> Result<u64, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, u64> {
        let place = self.call(|writer| Ok((writer.root.clone(), writer.place.database())));
        Box::pin(async move {
            let (root, own) = place.await?;
            let (sender, receiver) = oneshot::channel();
            let run = move || {
                let _gone = sender.send(offline::beside(&root, &own, each));
            };
            let thread = thread::Builder::new().name("steeple-spools".to_owned());
            thread.spawn(run).map_err(|error| StoreError::new(Reason::of_error(&error)))?;
            receiver.await.unwrap_or_else(|_panicked| Err(StoreError::new("the thread has ended")))
        })
    }

    /// What waits for a sink: as of a moment ago.
    pub fn backlog(&self, sink: &str) -> Backlog {
        let waiting = self.0.shared.waiting();
        let mut backlog = self.0.shared.seen().backlogs.get(sink).copied().unwrap_or_default();
        backlog.items = backlog.items.saturating_add(waiting.0 as u64);
        backlog.bytes = backlog.bytes.saturating_add(waiting.1 as u64);
        backlog
    }

    /// What waits for a sink, counted now.
    ///
    /// # Errors
    /// When the store has ended.
    pub fn backlog_now(&self, sink: &str) -> Result<Backlog, StoreError> {
        self.call_blocking(|writer| {
            writer.publish();
            Ok(())
        })?;
        Ok(self.backlog(sink))
    }

    /// What became of the rows so far.
    pub fn spool_stats(&self) -> SpoolStats {
        self.0.shared.seen().stats.clone()
    }

    /// Waits until earlier results are written. Blocks.
    pub fn settled(&self) {
        // What a thread does between two commits comes after the first of them.
        let _ended = self.call_blocking(|_writer| Ok(()));
    }

    /// Nothing more is taken in. What waits in memory is still written.
    pub fn close(&self) {
        self.0.shared.close();
    }

    fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let (sender, receiver) = oneshot::channel();
        let submitted = self.0.shared.submit(Box::new(move |writer| {
            let _gone = sender.send(f(writer));
        }));
        drop(submitted);
        Box::pin(async move { receiver.await.unwrap_or_else(|_ended| Err(StoreError::new("the store has ended"))) })
    }

    fn call_blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let submitted = self.0.shared.submit(Box::new(move |writer| {
            let _gone = sender.send(f(writer));
        }));
        drop(submitted);
        receiver.recv().unwrap_or_else(|_ended| Err(StoreError::new("the store has ended")))
    }
}

impl Store for Spool {
    fn register<'a>(&'a self, sink: &'a str) -> StoreFuture<'a, ()> {
        let name = sink.to_owned();
        self.call(move |writer| writer.register(&name, SinkOptions::default()).map(drop))
    }

    fn append(&self, row: NewRow) -> Result<u64, DropReason> {
        let (class, size) = (row.class, row.size());
        let ticket = self.0.shared.append(Arc::new(row), class, size);
        match self.0.shared.look(ticket, false) {
            Some(Err(reason)) => Err(reason),
            Some(Ok(())) | None => Ok(ticket),
        }
    }

    fn read<'a>(&'a self, sink: &'a str, max_items: usize, max_bytes: usize) -> StoreFuture<'a, Vec<Row>> {
        let name = sink.to_owned();
        self.call(move |writer| {
            let id = writer.register(&name, SinkOptions::default())?;
            writer.read(id, max_items, max_bytes)
        })
    }

    fn settle(&self, sink: &str, seq: u64, outcome: Settled) {
        let name = sink.to_owned();
        let job = self.call(move |writer| {
            if let Some(place) = writer.cursors.iter().position(|cursor| *cursor.name == *name) {
                writer.settle(place, seq, outcome, clock::now());
            }
            writer.shared.readable.notify_waiters();
            Ok(())
        });
        drop(job);
    }

    fn readable<'a>(&'a self, sink: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let name = sink.to_owned();
            let id = self.call(move |writer| writer.register(&name, SinkOptions::default())).await?;
            self.readable(SinkId(id)).await
        })
    }

    fn dead_letters<'a>(&'a self, sink: &'a str, max_items: usize) -> StoreFuture<'a, Vec<DeadLetter>> {
        Self::dead_letters(self, sink, max_items)
    }

    fn requeue<'a>(&'a self, sink: &'a str, seqs: &'a [u64]) -> StoreFuture<'a, u64> {
        Self::requeue(self, sink, seqs)
    }

    fn erase<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, u64> {
        Self::erase(self, key)
    }

    fn backlog(&self, sink: &str) -> Backlog {
        self.backlog_now(sink).unwrap_or_else(|_ended| Self::backlog(self, sink))
    }
}

/// As a sink, a store is what stands between those who append and the disk.
impl Sink for Spool {
    fn name(&self) -> &str {
        NAME
    }

    fn stats(&self) -> Stats {
        let (items, bytes) = self.0.shared.waiting();
        let seen = self.0.shared.seen();
        let mut stats = Stats::new();
        (stats.queued_items, stats.queued_bytes) = (items as u64, bytes as u64);
        (stats.accepted, stats.health) = (seen.stats.appended, seen.stats.health.clone());
        // What leaves the disk later counts at each sink: `SpoolStats::gone`.
        for reason in DropReason::ALL {
            stats.add_dropped(reason, seen.stats.refused(reason));
        }
        drop(seen);
        stats.exported = stats.accepted.saturating_sub(stats.queued_items).saturating_sub(stats.dropped_total());
        stats
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        Flush::new(deadline, [self.0.shared.newest(), self.stats().exported, 0, 0])
    }

    fn begin_shutdown(&self, deadline: Instant) -> Flush {
        self.begin_flush(deadline)
    }

    fn wait(&self, flush: &Flush) -> FlushReport {
        let [newest, exported, ..] = flush.marks();
        // Not by the newest row alone: it may be one that was dropped.
        while !self.0.shared.is_decided(newest) && clock::now() < flush.deadline() {
            thread::sleep(LOOK_EVERY);
        }
        let left = if self.0.shared.is_decided(newest) { 0 } else { self.0.shared.waiting().0 as u64 };
        FlushReport::new(NAME.into(), self.stats().exported.saturating_sub(exported), 0, left)
    }
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("stats", &self.spool_stats()).finish_non_exhaustive()
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        Self::other(error)
    }
}

impl From<Reason> for StoreError {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}
