//! The outputs as sinks of steeple-export.

use std::{borrow::Cow, sync::Arc, time::Instant};

use steeple_export::{Flush, FlushReport, Health, Reason, Sink, Stats};

use crate::sink::{DropReason, Queue};

/// One output. Its items are lines.
#[derive(Clone)]
pub(crate) struct OutputSink {
    name: String,
    queue: Arc<Queue>,
}

impl OutputSink {
    pub(crate) fn new(output: &str, queue: Arc<Queue>) -> Self {
        Self { name: format!("log:{output}"), queue }
    }

    /// The lines to write, and the fates of lines so far.
    fn begin(&self, deadline: Instant) -> Flush {
        let counts = self.queue.counts();
        let [_, write_failed, _] = counts.dropped;
        Flush::new(deadline, [self.queue.accepted_lines(), counts.exported, write_failed, 0])
    }
}

const fn exported_reason(reason: DropReason) -> steeple_export::DropReason {
    match reason {
        DropReason::QueueFull => steeple_export::DropReason::QueueFull,
        DropReason::WriteFailed => steeple_export::DropReason::Internal,
        DropReason::Shutdown => steeple_export::DropReason::Shutdown,
    }
}

impl Sink for OutputSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn stats(&self) -> Stats {
        let counts = self.queue.counts();
        let mut stats = Stats::new();
        stats.accepted = counts.accepted;
        stats.exported = counts.exported;
        stats.queued_items = counts.queued;
        stats.queued_bytes = counts.queued_bytes;
        if let Some(trouble) = counts.trouble {
            stats.health = Health::Failing(Reason::scrub(&trouble));
        }
        for (reason, lines) in DropReason::ALL.into_iter().zip(counts.dropped) {
            stats.add_dropped(exported_reason(reason), lines);
        }
        stats
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        let flush = self.begin(deadline);
        self.queue.hurry();
        flush
    }

    fn begin_shutdown(&self, deadline: Instant) -> Flush {
        self.queue.close();
        self.begin(deadline)
    }

    fn wait(&self, flush: &Flush) -> FlushReport {
        let [lines, exported, write_failed, _] = flush.marks();
        let left = self.queue.wait_for(lines, flush.deadline());
        let counts = self.queue.counts();
        let [_, failed_now, _] = counts.dropped;
        FlushReport::new(
            Cow::Owned(self.name.clone()),
            counts.exported.saturating_sub(exported),
            failed_now.saturating_sub(write_failed),
            left,
        )
    }
}
