use std::sync::atomic::{AtomicU64, Ordering};

/// What became of the spans, or of the log records, so far. Each one is in exactly one of these counts, or still queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportStats {
    /// Accepted by the receiver.
    pub exported: u64,
    /// Waiting in the queue or being sent.
    pub queued: u64,
    /// How much memory these take, in bytes.
    pub queued_bytes: u64,
    /// Lost because the queue was full: of items or of bytes.
    pub lost_queue_full: u64,
    /// Lost because the receiver did not take them, after all retries.
    pub lost_in_export: u64,
    /// Spans lost because held ones took more memory than they may, see [`Keep::max_bytes`](crate::Keep::max_bytes).
    pub lost_held: u64,
    /// Spans left out on purpose: of exchanges that were held and not worth keeping.
    pub left_out: u64,
    /// The most memory that held spans took so far, in bytes.
    pub held_bytes_peak: u64,
    /// Texts that were longer than may be recorded, and were cut.
    pub truncated: u64,
    /// Events and links that were left out because those of their span took more than 1 MiB.
    pub dropped_events: u64,
}

impl ExportStats {
    /// All losses together.
    pub fn lost(&self) -> u64 {
        self.lost_queue_full.saturating_add(self.lost_in_export).saturating_add(self.lost_held)
    }
}

/// What a flush came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// Spans and log records that their receiver took since the flush began.
    pub exported: u64,
    /// Those that were lost since the flush began.
    pub lost: u64,
    /// Those that were not sent when time was up.
    pub pending: u64,
}

impl FlushReport {
    /// Whether everything that was queued when the flush began was taken.
    pub fn is_complete(&self) -> bool {
        self.lost == 0 && self.pending == 0
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            exported: self.exported.saturating_add(other.exported),
            lost: self.lost.saturating_add(other.lost),
            pending: self.pending.saturating_add(other.pending),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    exported: AtomicU64,
    queue_full: AtomicU64,
    in_export: AtomicU64,
    held: AtomicU64,
    left_out: AtomicU64,
    held_peak: AtomicU64,
}

impl Counters {
    pub(crate) fn settle(&self, items: usize, accepted: bool) {
        let counter = if accepted { &self.exported } else { &self.in_export };
        counter.fetch_add(items as u64, Ordering::Relaxed);
    }

    pub(crate) fn lose_at_queue(&self) {
        self.queue_full.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn lose_held(&self, spans: usize) {
        self.held.fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub(crate) fn leave_out(&self, spans: usize) {
        self.left_out.fetch_add(spans as u64, Ordering::Relaxed);
    }

    pub(crate) fn held_bytes(&self, bytes: usize) {
        self.held_peak.fetch_max(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, queued: usize) -> ExportStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ExportStats {
            exported: load(&self.exported),
            queued: queued as u64,
            lost_queue_full: load(&self.queue_full),
            lost_in_export: load(&self.in_export),
            lost_held: load(&self.held),
            left_out: load(&self.left_out),
            held_bytes_peak: load(&self.held_peak),
            ..ExportStats::default()
        }
    }
}
