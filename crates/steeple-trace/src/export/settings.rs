use std::time::Duration;

use steeple_export::{Pipeline, PipelineBuilder, Retry};

/// How much waits, how long, and how much is sent at once. Names and defaults are those of `OTEL_BSP_*`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) max_queue: usize,
    /// In bytes, including items that are being sent.
    pub(crate) max_bytes: usize,
    pub(crate) max_batch: usize,
    pub(crate) delay: Duration,
    /// Of a batch, all attempts together.
    pub(crate) export_timeout: Duration,
    pub(crate) retry: Retry,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_queue: 2048,
            max_bytes: 16 << 20,
            max_batch: 512,
            delay: Duration::from_secs(5),
            export_timeout: Duration::from_secs(30),
            retry: Retry::new().base(Duration::from_millis(200)).cap(Duration::from_secs(5)),
        }
    }
}

/// Most bytes of one batch, unless a single item takes more. Receivers over gRPC take 4 MiB by default.
const MAX_BATCH_BYTES: usize = 2 << 20;

impl Settings {
    /// A pipeline whose attempts take this long at most.
    pub(crate) fn pipeline(&self, name: &'static str, attempt: Duration) -> PipelineBuilder {
        Pipeline::builder(name)
            .max_items(self.max_queue)
            .max_bytes(self.max_bytes)
            .batch_items(self.max_batch)
            .batch_bytes(MAX_BATCH_BYTES)
            .batch_delay(self.delay)
            .timeout(attempt.min(self.export_timeout))
            .retry(self.retry.max_age(self.export_timeout))
    }
}
