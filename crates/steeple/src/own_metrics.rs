//! What Steeple counts about itself: losses, and panics in hooks.
//!
//! Counts are kept where they arise and are read at each scrape.

use prometheus::{
    IntCounterVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use steeple_log::{Log, LogHandle};

/// Adds what is counted without any integration.
pub(crate) fn add(own: &mut OwnMetrics, handle: Option<LogHandle>, log: Log) {
    own.add_by("steeple_log_lines_dropped_total", "Log lines that an output could not write.", "output", move || {
        let dropped = handle.iter().flat_map(LogHandle::dropped_by_output);
        dropped.map(|dropped| (dropped.output().to_owned(), dropped.lines())).collect()
    });
    own.add(
        "steeple_log_lines_sampled_out_total",
        "Log lines of successful exchanges that were left out by sampling.",
        move || log.sampled_out(),
    );
    own.add("steeple_observer_panics_total", "Panics in observer hooks.", steeple_core::observer_panics);
}

type Read = dyn Fn() -> Vec<(String, u64)> + Send + Sync;

/// Families of counters, each with what reads it.
#[derive(Default)]
pub(crate) struct OwnMetrics(Vec<Own>);

impl OwnMetrics {
    /// Adds a counter.
    pub(crate) fn add(&mut self, name: &str, help: &str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.push(name, help, &[], move || vec![(String::new(), read())]);
    }

    /// Adds a family of counters with one label.
    pub(crate) fn add_by<R>(&mut self, name: &str, help: &str, label: &str, read: R)
    where
        R: Fn() -> Vec<(String, u64)> + Send + Sync + 'static,
    {
        self.push(name, help, &[label], read);
    }

    fn push<R>(&mut self, name: &str, help: &str, labels: &[&str], read: R)
    where
        R: Fn() -> Vec<(String, u64)> + Send + Sync + 'static,
    {
        // Fails for invalid names; these are ours, and tests read them.
        if let Ok(counters) = IntCounterVec::new(Opts::new(name, help), labels) {
            self.0.push(Own { counters, is_labelled: !labels.is_empty(), read: Box::new(read) });
        }
    }

    /// Puts the families into the registry. Where they are already, as with two of us in one registry, the first stay.
    pub(crate) fn register(self, registry: &Registry) {
        for own in self.0 {
            let _there_already = registry.register(Box::new(own));
        }
    }
}

struct Own {
    counters: IntCounterVec,
    is_labelled: bool,
    read: Box<Read>,
}

impl Collector for Own {
    fn desc(&self) -> Vec<&Desc> {
        self.counters.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (label, count) in (self.read)() {
            let labels: &[&str] = if self.is_labelled { &[&label] } else { &[] };
            let counter = self.counters.with_label_values(labels);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.counters.collect()
    }
}
