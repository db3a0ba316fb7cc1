//! What Steeple says of itself: losses, and hooks that panicked.

use prometheus::{
    IntCounterVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use steeple_log::{Log, LogHandle};

/// Adds the families to the registry. Where they are there already, as with two of us in one registry, the first stays.
pub(crate) fn register(registry: &Registry, handle: Option<LogHandle>, log: Log) {
    if let Some(own) = Own::new(handle, log) {
        let _there_already = registry.register(Box::new(own));
    }
}

/// Counts are kept where they arise and read at each scrape.
struct Own {
    handle: Option<LogHandle>,
    log: Log,
    dropped: IntCounterVec,
    sampled_out: prometheus::IntCounter,
    panics: prometheus::IntCounter,
}

impl Own {
    fn new(handle: Option<LogHandle>, log: Log) -> Option<Self> {
        Some(Self {
            handle,
            log,
            dropped: IntCounterVec::new(
                Opts::new("steeple_log_lines_dropped_total", "Log lines that an output could not write."),
                &["output"],
            )
            .ok()?,
            sampled_out: prometheus::IntCounter::new(
                "steeple_log_lines_sampled_out_total",
                "Log lines of exchanges that went well and were left out by sampling.",
            )
            .ok()?,
            panics: prometheus::IntCounter::new(
                "steeple_observer_panics_total",
                "Observers' hooks that panicked. More than 0 is a bug in an observer.",
            )
            .ok()?,
        })
    }
}

impl Collector for Own {
    fn desc(&self) -> Vec<&Desc> {
        [self.dropped.desc(), self.sampled_out.desc(), self.panics.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for loss in self.handle.iter().flat_map(LogHandle::losses) {
            let counter = self.dropped.with_label_values(&[&loss.output]);
            counter.inc_by(loss.lines.saturating_sub(counter.get()));
        }
        self.sampled_out.inc_by(self.log.sampled_out().saturating_sub(self.sampled_out.get()));
        self.panics.inc_by(steeple_core::observer_panics().saturating_sub(self.panics.get()));
        [self.dropped.collect(), self.sampled_out.collect(), self.panics.collect()].concat()
    }
}
