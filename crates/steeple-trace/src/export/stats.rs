use steeple_export::Stats;

/// What became of the spans so far.
///
/// Each recorded span is exported, dropped for a reason, queued, dropped while it was held, sampled out at the end of its
/// exchange, or still open or held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceStats {
    /// What the exporter was handed: exported, dropped by reason, queued.
    pub spans: Stats,
    /// Spans that were dropped because held ones took more memory than they may: see
    /// [`TailSampling::max_bytes`](crate::TailSampling::max_bytes) and
    /// [`TailSampling::max_spans`](crate::TailSampling::max_spans).
    pub held_dropped: u64,
    /// Spans that tail sampling left out on purpose.
    pub sampled_out: u64,
    /// The most memory that held spans took so far, in bytes.
    pub held_bytes_peak: u64,
    /// Texts that were longer than may be recorded, and were cut.
    pub truncated: u64,
    /// Events and links that were left out because those of their span took more than 1 MiB.
    pub dropped_events: u64,
}

impl TraceStats {
    /// Spans that were dropped, for any reason. Those that were sampled out are not among them.
    pub fn dropped_total(&self) -> u64 {
        self.spans.dropped_total().saturating_add(self.held_dropped)
    }
}

/// What became of the log records so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// What the exporter was handed: exported, dropped by reason, queued.
    pub records: Stats,
    /// Texts that were longer than may be recorded, and were cut.
    pub truncated: u64,
}
