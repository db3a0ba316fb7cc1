//! Items are kept until every sink has them: one copy, a cursor for each sink, and dead letters.
//!
//! A store knows rows, not their meaning: an opaque key to find rows again, a class by which the least important are refused first,
//! and a body that was scrubbed before it came. [`MemoryStore`] keeps them in memory.

mod memory;
#[cfg(feature = "spool")]
pub mod spool;

use std::{fmt, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use steeple_scrub::Scrubbed;

pub use self::memory::{MemoryLimits, MemoryStore};
use crate::{DropReason, Reason};

/// Where a sink keeps its rows on disk. Without the feature `spool` it cannot: a sink refuses it when it is built.
#[cfg(feature = "spool")]
pub type Keep = spool::SpoolBuilder;
/// Where a sink keeps its rows on disk. Without the feature `spool` it cannot: a sink refuses it when it is built.
#[cfg(not(feature = "spool"))]
pub type Keep = ();

/// A store below this directory, of so many bytes (default: 1 GiB).
#[cfg(feature = "spool")]
pub fn keep_in(directory: PathBuf, max_bytes: Option<u64>) -> Keep {
    let store = spool::Spool::builder(directory);
    match max_bytes {
        Some(bytes) => store.max_bytes(bytes),
        None => store,
    }
}

/// A store below this directory, of so many bytes (default: 1 GiB).
#[cfg(not(feature = "spool"))]
pub fn keep_in(directory: PathBuf, _max_bytes: Option<u64>) -> Keep {
    drop(directory);
}

/// What a store's slower calls return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A row to be kept.
#[derive(Clone, Debug)]
pub struct NewRow {
    /// Names it for receivers that notice duplicates.
    pub id: Box<str>,
    /// When it happened, since the Unix epoch.
    pub at: Duration,
    /// By what it is found again: a keyed hash of a user. The store does not read it.
    pub key: Option<Box<[u8]>>,
    /// How important it is; 0 is refused first when space gets short.
    pub class: u8,
    /// What sinks encode.
    pub body: Scrubbed<Box<str>>,
}

/// A row that is kept.
#[derive(Debug)]
pub struct Row {
    /// Its place. Later rows have higher ones.
    pub seq: u64,
    /// How often this sink tried it already.
    pub tries: u32,
    /// The row.
    pub row: Arc<NewRow>,
}

impl Row {
    /// How much memory it takes, in bytes; an estimate.
    pub fn size(&self) -> usize {
        self.row.size()
    }
}

impl NewRow {
    /// How much memory it takes, in bytes; an estimate.
    pub fn size(&self) -> usize {
        let key = self.key.as_ref().map_or(0, |key| key.len());
        self.id.len().saturating_add(key).saturating_add(self.body.len()).saturating_add(96)
    }
}

/// What became of a row at one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// The receiver has it.
    Stored,
    /// It is read again, not before so long.
    Retry {
        /// How long to wait, on the monotonic clock.
        after: Duration,
    },
    /// The receiver will never take it: it becomes a dead letter.
    Dead(Reason),
    /// It is not for this sink any more.
    Dropped,
}

/// A row that a receiver will never take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its place.
    pub seq: u64,
    /// Why.
    pub why: Reason,
    /// The row.
    pub row: Arc<NewRow>,
}

/// What waits for a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Rows that are not settled.
    pub items: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest row that is not settled happened, since the Unix epoch.
    pub oldest: Option<Duration>,
}

/// Keeps rows until every sink has settled them.
///
/// `append` and `settle` never block: they run on a request's thread and on the export thread.
pub trait Store: Send + Sync + 'static {
    /// Adds a sink. It reads rows that are appended from now on, and those that it has left from before.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn register<'a>(&'a self, sink: &'a str) -> StoreFuture<'a, ()>;

    /// Keeps a row. Returns its place.
    ///
    /// # Errors
    /// Why it does not fit.
    fn append(&self, row: NewRow) -> Result<u64, DropReason>;

    /// Reads the next rows of a sink, the oldest first, and holds them back from further reads until they are settled. Empty: there is
    /// nothing to read now.
    ///
    /// # Errors
    /// When the store cannot be read. Damaged rows are skipped and counted, not an error.
    fn read<'a>(&'a self, sink: &'a str, max_items: usize, max_bytes: usize) -> StoreFuture<'a, Vec<Row>>;

    /// Settles a row that was read. A row that all sinks have settled is gone.
    fn settle(&self, sink: &str, seq: u64, outcome: Settled);

    /// Waits until there may be something to read for a sink.
    fn readable<'a>(&'a self, sink: &'a str) -> StoreFuture<'a, ()>;

    /// The dead letters of a sink, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn dead_letters<'a>(&'a self, sink: &'a str, max_items: usize) -> StoreFuture<'a, Vec<DeadLetter>>;

    /// Has dead letters read again.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn requeue<'a>(&'a self, sink: &'a str, seqs: &'a [u64]) -> StoreFuture<'a, u64>;

    /// Removes every row and dead letter with this key, at all sinks. Returns how many rows there were.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn erase<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, u64>;

    /// What waits for a sink.
    fn backlog(&self, sink: &str) -> Backlog;
}

/// A store that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(Reason);

impl StoreError {
    /// For a store's own use.
    pub fn new(why: impl Into<Reason>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for StoreError {}
