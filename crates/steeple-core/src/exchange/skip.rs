//! Which signals an exchange is left out of.

use std::sync::atomic::Ordering;

use super::Exchange;

/// A kind of record, which [`Exchange::skip`] leaves an exchange out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Signal {
    /// The log line.
    Log = 1,
    /// Counters and histograms. The in-flight gauge stays exact.
    Metrics = 2,
    /// Spans.
    Traces = 4,
    /// Captured errors.
    Errors = 8,
}

impl Exchange {
    /// Leaves this exchange out of one kind of record. The in-flight gauge stays exact, but for event streams, which leave it
    /// with their response head.
    #[doc(alias = "ignore")]
    #[doc(alias = "healthcheck")]
    pub fn skip(&self, signal: Signal) {
        self.0.skipped.fetch_or(signal as u8, Ordering::Relaxed);
    }

    /// Whether the exchange is left out of this kind of record.
    #[inline]
    pub fn is_skipped(&self, signal: Signal) -> bool {
        self.0.skipped.load(Ordering::Relaxed) & signal as u8 != 0
    }
}
