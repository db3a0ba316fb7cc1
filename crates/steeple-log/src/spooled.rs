//! Lines that wait on disk until their receiver has them: for outputs that send with a pipeline.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use steeple_export::{
    Pipeline, Sink,
    store::{
        NewRow,
        spool::{FromRow, OpenError, SinkOptions, SpoolBuilder, SpooledPipeline, Ticket},
    },
};
use steeple_scrub::Scrubbed;
use tracing::Level;

use crate::{LogLine, line_ids::LineIds};

/// How long a line waits for room in the store before the log keeps it.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// Lines on their way through a store to a pipeline, in the order in which they were logged. Full, the store drops the newest of the
/// least severe.
#[derive(Debug)]
pub struct SpooledLines<T: FromRow> {
    pipeline: SpooledPipeline<T>,
    ids: LineIds,
    /// The newest row that is not known to be in the store.
    newest: Mutex<Option<Ticket>>,
}

impl<T: FromRow> SpooledLines<T> {
    /// Opens the store, and feeds the pipeline from it.
    ///
    /// # Errors
    /// As [`SpooledPipeline::start`].
    pub fn start(store: SpoolBuilder, pipeline: Pipeline<T>, options: SinkOptions) -> Result<Self, OpenError> {
        let pipeline = SpooledPipeline::start(store, pipeline, options.in_order(true))?;
        Ok(Self { pipeline, ids: LineIds::new(), newest: Mutex::default() })
    }

    /// The sink, to be flushed and shut down after the log. Lines left at the end stay on disk.
    pub fn sink(&self) -> Arc<dyn Sink> {
        self.pipeline.sink()
    }

    /// Stores a line of the log, for [`LogOutput::write`](crate::LogOutput::write): `text` of it, under a key that the pipeline's items
    /// read. Blocks for a second at most while the store has no room.
    ///
    /// # Errors
    /// Why the store cannot be written: the line was not taken.
    pub fn write(&self, line: &LogLine<'_>, text: &str, key: Option<&str>) -> io::Result<()> {
        let row = self.row(text, line.timestamp(), line.level(), key);
        let ticket = self.pipeline.push(row, ROOM_WITHIN).map_err(|why| io::Error::other(why.to_string()))?;
        self.set_newest(ticket);
        Ok(())
    }

    /// Stores another line. Never blocks: without room it is dropped and counted.
    pub fn push(&self, text: Scrubbed<&str>, at: Duration, key: Option<&str>) {
        let row = self.row(&text, at, Level::INFO, key);
        let (class, size) = (row.class, row.size());
        self.set_newest(self.pipeline.spool().append(Arc::new(row), class, size));
    }

    /// Waits for a second at most until the written lines are on disk, for [`LogOutput::flush`](crate::LogOutput::flush).
    pub fn flush(&self) {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(newest) = newest {
            self.pipeline.wait_stored(newest, ROOM_WITHIN);
        }
    }

    fn set_newest(&self, ticket: Ticket) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticket);
    }

    fn row(&self, text: &str, at: Duration, level: Level, key: Option<&str>) -> NewRow {
        NewRow {
            id: self.ids.next(),
            at,
            key: key.map(|key| key.as_bytes().into()),
            class: match level {
                Level::ERROR | Level::WARN => 2,
                Level::INFO => 1,
                Level::DEBUG | Level::TRACE => 0,
            },
            // Lines are scrubbed when they are rendered.
            body: Scrubbed::from_application(text.into()),
        }
    }
}
