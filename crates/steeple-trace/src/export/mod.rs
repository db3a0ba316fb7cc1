//! From ended spans to whoever stores them: a bounded queue, a thread of its own, and counts of what was lost.

#[cfg(feature = "otlp")]
mod otlp;
mod processor;
mod queue;
mod stats;
mod worker;

#[cfg(feature = "otlp")]
pub(crate) use self::otlp::exporter;
pub use self::stats::{ExportStats, FlushReport};
pub(crate) use self::{
    processor::{Processor, UNSET},
    queue::{Limits, Queue},
    stats::Counters,
    worker::start,
};
