//! The application's `tracing` events as OTLP log records, with the ids of their exchange.
//!
//! An event becomes a [`Record`] on the thread that logs it, waits in a bounded queue of its own, and is scrubbed and
//! sent by a thread of its own. Not `opentelemetry-appender-tracing`: it knows the ids of recorded spans alone, and the
//! SDK's records cannot be scrubbed once they are made.

mod layer;
mod record;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry_sdk::Resource;

pub use self::layer::LogsLayer;
use self::record::{Record, Records};
use crate::{
    BuildError, ExportStats, Otlp,
    export::{self, Limits, Queue},
    scrub::Bounds,
};

/// How log records are sent. Names and defaults are those of `OTEL_BLRP_*`.
#[derive(Clone, Debug)]
pub(crate) struct LogExport {
    pub(crate) otlp: Option<Otlp>,
    pub(crate) limits: Limits,
}

impl Default for LogExport {
    fn default() -> Self {
        Self { otlp: None, limits: Limits { delay: Duration::from_secs(1), ..Limits::default() } }
    }
}

/// What the layer and the [`Trace`](crate::Trace) share. The last of them sends what is left.
pub(crate) struct Logs {
    queue: Arc<Queue<Record>>,
    /// In bytes: what is formatted of one text at most.
    max_text: usize,
    truncated: AtomicU64,
}

impl Logs {
    pub(crate) fn start(otlp: Otlp, limits: Limits, resource: Resource, bounds: Bounds) -> Result<Self, BuildError> {
        let queue = Arc::new(Queue::new(limits));
        let max_text = bounds.max_recorded();
        let make = move || Ok(Records::new(export::log_exporter(&otlp)?, &resource, bounds));
        export::start("steeple-logs", Arc::clone(&queue), make)?;
        Ok(Self { queue, max_text, truncated: AtomicU64::new(0) })
    }

    pub(crate) fn stats(&self) -> ExportStats {
        ExportStats { truncated: self.truncated.load(Ordering::Relaxed), ..self.queue.stats() }
    }

    fn count_truncated(&self, texts: u64) {
        if texts > 0 {
            self.truncated.fetch_add(texts, Ordering::Relaxed);
        }
    }

    pub(crate) fn queue(&self) -> &Queue<Record> {
        &self.queue
    }
}

/// How long the last one waits for the receiver, as the SDK's providers do.
const PATIENCE_ON_DROP: Duration = Duration::from_secs(5);

impl Drop for Logs {
    fn drop(&mut self) {
        self.queue.flush(PATIENCE_ON_DROP, true);
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("stats", &self.queue.stats()).finish_non_exhaustive()
    }
}
