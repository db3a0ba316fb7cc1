//! The application's `tracing` events as OTLP log records, with the ids of their exchange.
//!
//! An event becomes a [`Record`] on the thread that logs it, waits in a bounded queue, and is scrubbed, encoded and sent by the
//! export thread. Not `opentelemetry-appender-tracing`: it knows the ids of recorded spans alone, and the
//! SDK's records cannot be scrubbed once they are made.

mod layer;
mod record;

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use opentelemetry_sdk::Resource;
use steeple_export::{ClientBuilder, Http, Pipeline, Sink};

pub use self::layer::LogsLayer;
pub(crate) use self::record::{Record, Records};
use crate::{
    BuildError, LogStats, Otlp,
    export::{self, Settings, Wire, by},
    otlp::Signal,
    scrub::Bounds,
};

/// How log records are sent. Names and defaults are those of `OTEL_BLRP_*`.
#[derive(Clone, Debug)]
pub(crate) struct LogExport {
    pub(crate) otlp: Option<Otlp>,
    pub(crate) settings: Settings,
    /// How long dropping the last handle waits for the receiver.
    pub(crate) drop_timeout: Duration,
}

impl Default for LogExport {
    fn default() -> Self {
        Self {
            otlp: None,
            settings: Settings { delay: Duration::from_secs(1), ..Settings::default() },
            // As the SDK's providers do.
            drop_timeout: Duration::from_secs(5),
        }
    }
}

/// What the layer and the [`Trace`](crate::Trace) share. The last of them sends the rest.
pub(crate) struct Logs {
    queue: Pipeline<Record>,
    /// In bytes: the longest part of one text that is formatted.
    max_text: usize,
    truncated: AtomicU64,
    drop_timeout: Duration,
}

impl Logs {
    pub(crate) fn start(
        otlp: &Otlp,
        (settings, drop_timeout): (Settings, Duration),
        http: &ClientBuilder,
        of_process: &Resource,
        bounds: Bounds,
    ) -> Result<Self, BuildError> {
        let max_text = bounds.max_recorded();
        let wire = Wire::new(otlp, Signal::Logs, of_process, &bounds)?;
        let client = export::client(otlp, http, &wire)?;
        let records = Records { wire, bounds };
        let pipeline = settings.pipeline("otlp_logs", otlp.timeout);
        let queue = pipeline.build(move || Ok(Http::new(client.clone(), records.clone())))?;
        Ok(Self { queue, max_text, truncated: AtomicU64::new(0), drop_timeout })
    }

    pub(crate) fn stats(&self) -> LogStats {
        LogStats { records: self.queue.stats(), truncated: self.truncated.load(Ordering::Relaxed) }
    }

    fn count_truncated(&self, texts: u64) {
        if texts > 0 {
            self.truncated.fetch_add(texts, Ordering::Relaxed);
        }
    }

    pub(crate) fn queue(&self) -> &Pipeline<Record> {
        &self.queue
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let _report = self.queue.shutdown(by(self.drop_timeout));
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs").field("stats", &self.queue.stats()).finish_non_exhaustive()
    }
}
