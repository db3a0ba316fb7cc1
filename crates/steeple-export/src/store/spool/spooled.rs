//! A pipeline with its own store: items are stored first, and leave the store once the receiver has them.

use std::{fmt, sync::Arc, thread, time::Duration};

use steeple_core::clock;

use super::{
    OpenError, SinkOptions, Spool, SpoolBuilder, Ticket,
    feed::{Feed, FeedOptions, Hold, LOOK_EVERY},
    options::QueueLimits,
};
use crate::{
    Health, Pipeline, Reason, Sink,
    store::{NewRow, StoreError},
};

/// What a pipeline sends of a row.
pub trait FromRow: Send + 'static {
    /// The item that a row holds. It keeps `hold`, and settles it in the pipeline's hooks: [`Hold::stored`] in `stored`, [`Hold::lost`]
    /// in `dropped`.
    fn from_row(row: &NewRow, hold: Hold) -> Self;
}

/// A [`Pipeline`] that a [`Spool`] feeds: an outage, the end of the process and of the next one lose nothing that was stored.
///
/// - The store is below the directory, in one of the sink's name: `<directory>/<sink>/<process>/outbox.db`. Processes of one
///   service may share the directory; what a process leaves is sent by the next one, or by one that runs.
/// - Rows are sent in the order in which they were stored. A row that was under way when the process ended is sent again, unless
///   the sink is one with [`InDoubt::Drop`](crate::InDoubt::Drop).
/// - Full, the store drops the newest row of the lowest class, counted as [`DropReason::QueueFull`](crate::DropReason::QueueFull).
/// - Tries as often as it takes: use [`HttpOptions::patient`](crate::HttpOptions::patient) for the pipeline.
pub struct SpooledPipeline<T: FromRow> {
    feed: Feed<T>,
    queue: QueueLimits,
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
        let options = FeedOptions::default().again(again).alone(true);
        let feed = Feed::start(&spool, sink, pipeline, options, |row, hold| Some(T::from_row(row, hold)))
            .map_err(|error| OpenError::new(&directory, Box::new(error)))?;
        Ok(Self { feed, queue })
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
            let (items, bytes) = self.spool().0.shared.waiting();
            // A single row that is larger than the queue is the store's to refuse.
            if items == 0 || (items < self.queue.max_items && bytes.saturating_add(size) <= self.queue.max_bytes) {
                let class = row.class;
                return Ok(self.spool().append(Arc::new(row), class, size));
            }
            if until.is_some_and(|until| until <= clock::now()) {
                return Err(match self.spool().spool_stats().health {
                    Health::Failing(why) | Health::Paused(why) | Health::Disabled(why) => why,
                    Health::Ok => "the store is too slow".into(),
                });
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until a row is in the store, or dropped by it, for `timeout` at most. Blocks the thread.
    pub fn wait_stored(&self, ticket: Ticket, timeout: Duration) {
        let _dropped_or_late = self.spool().wait_blocking(ticket, false, timeout);
    }

    /// The store.
    pub fn spool(&self) -> &Spool {
        self.feed.spool()
    }

    /// The sink: its queue is the store, and rows that are left at the end stay there.
    pub fn sink(&self) -> Arc<dyn Sink> {
        self.feed.sink()
    }
}

impl<T: FromRow> fmt::Debug for SpooledPipeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpooledPipeline").field("spool", self.feed.spool()).finish_non_exhaustive()
    }
}
