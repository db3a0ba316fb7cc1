//! From ended spans and logged events to whoever stores them: a bounded queue, a thread of its own, and counts of what was lost.

#[cfg(feature = "otlp")]
mod otlp;
mod processor;
mod queue;
mod spans;
mod stats;
mod worker;

#[cfg(feature = "otlp")]
pub(crate) use self::otlp::{log_exporter, span_exporter};
pub use self::stats::{ExportStats, FlushReport};
pub(crate) use self::{
    processor::{Processor, UNSET},
    queue::{Item, Limits, Queue},
    spans::Spans,
    stats::Counters,
    worker::{Sender, start},
};
