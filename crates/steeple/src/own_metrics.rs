//! What Steeple counts about itself: losses, and panics in hooks.
//!
//! Counts are kept where they arise and are read at each scrape.

use std::sync::Arc;

use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use steeple_export::{DropReason, Sink};
use steeple_log::{Log, LogHandle};

/// Adds the counters that need no integration.
pub(crate) fn add(own: &mut OwnMetrics, handle: Option<LogHandle>, log: Log) {
    let levels = handle.clone();
    own.add("steeple_log_level_overrides_total", "How often the level of the log was overridden.", move || {
        levels.as_ref().map_or(0, LogHandle::level_overrides)
    });
    let help = "Log lines that an output could not write, by reason.";
    own.push("steeple_log_lines_dropped_total", help, &["output", "reason"], move || {
        let dropped = handle.iter().flat_map(LogHandle::dropped_by_output);
        let by_reason = |dropped: steeple_log::Dropped| {
            steeple_log::DropReason::ALL
                .map(|reason| (vec![dropped.output().to_owned(), reason.as_str().to_owned()], dropped.by(reason)))
        };
        dropped.flat_map(by_reason).collect()
    });
    own.add(
        "steeple_log_lines_sampled_out_total",
        "Log lines of successful exchanges that were left out by sampling.",
        move || log.sampled_out(),
    );
    own.add("steeple_observer_panics_total", "Panics in observer hooks.", steeple_core::observer_panics);
}

/// Values of the labels, and the count.
type Read = dyn Fn() -> Vec<(Vec<String>, u64)> + Send + Sync;

/// Families of counters, each with what reads it.
#[derive(Default)]
pub(crate) struct OwnMetrics(Vec<Own>);

impl OwnMetrics {
    /// Adds a counter.
    pub(crate) fn add(&mut self, name: &str, help: &str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.push(name, help, &[], move || vec![(Vec::new(), read())]);
    }

    /// Adds a family of counters with one label.
    #[expect(clippy::allow_attributes, reason = "whether it is used depends on the features")]
    #[allow(dead_code, reason = "integrations use it")]
    pub(crate) fn add_by<R>(&mut self, name: &str, help: &str, label: &str, read: R)
    where
        R: Fn() -> Vec<(String, u64)> + Send + Sync + 'static,
    {
        self.push(name, help, &[label], move || {
            read().into_iter().map(|(value, count)| (vec![value], count)).collect()
        });
    }

    fn push<R>(&mut self, name: &str, help: &str, labels: &[&str], read: R)
    where
        R: Fn() -> Vec<(Vec<String>, u64)> + Send + Sync + 'static,
    {
        // Fails for invalid names; these are ours, and tests read them.
        if let Ok(counters) = IntCounterVec::new(Opts::new(name, help), labels) {
            self.0.push(Own { counters, read: Box::new(read) });
        }
    }

    /// Puts the families into the registry. Where they are already, as with two of us in one registry, the first stay.
    pub(crate) fn register(self, registry: &Registry) {
        for own in self.0 {
            let _there_already = registry.register(Box::new(own));
        }
    }
}

/// Counts what all sinks do, if there are any: `steeple_export_…{sink}`.
pub(crate) fn count_sinks(registry: &Registry, sinks: Vec<Arc<dyn Sink>>) {
    if sinks.is_empty() {
        return;
    }
    // Fails for invalid names; these are ours, and tests read them.
    if let Ok(collector) = SinkCounts::new(sinks) {
        let _there_already = registry.register(Box::new(collector));
    }
}

/// The numbers of all sinks.
struct SinkCounts {
    sinks: Vec<Arc<dyn Sink>>,
    items: IntCounterVec,
    dropped: IntCounterVec,
    queued: IntGaugeVec,
    queued_bytes: IntGaugeVec,
    delay: Gauge,
}

impl SinkCounts {
    fn new(sinks: Vec<Arc<dyn Sink>>) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, label| IntCounterVec::new(Opts::new(name, help), &["sink", label]);
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["sink"]);
        Ok(Self {
            sinks,
            items: counter(
                "steeple_export_items_total",
                "Items that a sink was given, by what became of them.",
                "result",
            )?,
            dropped: counter(
                "steeple_export_dropped_total",
                "Items that a sink did not deliver, by reason.",
                "reason",
            )?,
            queued: gauge("steeple_export_queue_items", "Items that wait in a sink's queue.")?,
            queued_bytes: gauge("steeple_export_queue_bytes", "Bytes that wait in a sink's queue.")?,
            delay: Gauge::new(
                "steeple_export_loop_delay_seconds",
                "The longest time since the last scrape for which something blocked the export thread.",
            )?,
        })
    }

    fn families(&self) -> [&dyn Collector; 5] {
        [&self.items, &self.dropped, &self.queued, &self.queued_bytes, &self.delay]
    }
}

impl Collector for SinkCounts {
    fn desc(&self) -> Vec<&Desc> {
        self.families().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let gauged = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for sink in &self.sinks {
            let (name, stats) = (sink.name(), sink.stats());
            raise(&self.items.with_label_values(&[name, "exported"]), stats.exported);
            raise(&self.items.with_label_values(&[name, "dropped"]), stats.dropped_total());
            for reason in DropReason::ALL {
                raise(&self.dropped.with_label_values(&[name, reason.as_str()]), stats.dropped(reason));
            }
            self.queued.with_label_values(&[name]).set(gauged(stats.queued_items));
            self.queued_bytes.with_label_values(&[name]).set(gauged(stats.queued_bytes));
        }
        self.delay.set(steeple_export::loop_delay().as_secs_f64());
        self.families().into_iter().flat_map(Collector::collect).collect()
    }
}

fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

struct Own {
    counters: IntCounterVec,
    read: Box<Read>,
}

impl Collector for Own {
    fn desc(&self) -> Vec<&Desc> {
        self.counters.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (labels, count) in (self.read)() {
            raise(&self.counters.with_label_values(&labels), count);
        }
        self.counters.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use steeple_export::{Answer, Exporter, Pipeline};
    use steeple_scrub::{Scrubbed, Scrubber};

    use super::*;

    /// Accepts everything but the number 13.
    struct Superstitious;

    impl Exporter for Superstitious {
        type Item = u8;
        type Ready = u8;

        fn size(_item: &u8) -> usize {
            1
        }

        fn scrub(&mut self, item: u8) -> Scrubbed<u8> {
            Scrubber::default().scrub_with(item, |_, _| ())
        }

        async fn export(&mut self, batch: &[Scrubbed<u8>], _deadline: Instant) -> Answer {
            if batch.iter().any(|item| **item == 13) {
                return Answer::Rejected { cause: DropReason::Rejected, why: "bad luck".into() };
            }
            Answer::Accepted
        }
    }

    #[test]
    fn what_sinks_count_is_documented_as_it_is_printed() {
        let pipeline = Pipeline::builder("events").batch_items(1).build(|| Ok(Superstitious)).unwrap();
        let registry = Registry::new();
        count_sinks(&registry, vec![Arc::new(pipeline.clone())]);
        for item in [1, 2, 13] {
            pipeline.push(item);
        }
        let _report = pipeline.flush(steeple_core::clock::now() + Duration::from_secs(60));
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let (mut printed, mut help) = (Vec::new(), "");
        for line in text.lines() {
            match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
                ["#", "HELP", _, text] => help = text,
                ["#", "TYPE", name, kind] => {
                    let series = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
                    let labels = series.and_then(|series| series.split_once('}')).map_or("", |(labels, _)| labels);
                    let labels = labels.split(',').filter_map(|label| label.split_once('='));
                    let labels: Vec<_> = labels.map(|(label, _)| format!("`{label}`")).collect();
                    printed.push(format!("| `{name}` | {kind} | {} |  | {help} |", labels.join(", ")));
                }
                _ => (),
            }
        }
        let page = include_str!("../tests/data/metrics.md");
        let section = page.split_once("\n## What sinks count\n").unwrap().1.split_once("\n## ").unwrap().0;
        let mut documented: Vec<_> =
            section.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        documented.sort_unstable();
        assert_eq!(printed, documented);
        for line in [
            "steeple_export_items_total{result=\"exported\",sink=\"events\"} 2",
            "steeple_export_items_total{result=\"dropped\",sink=\"events\"} 1",
            "steeple_export_dropped_total{reason=\"rejected\",sink=\"events\"} 1",
            "steeple_export_dropped_total{reason=\"queue_full\",sink=\"events\"} 0",
        ] {
            assert!(text.lines().any(|printed| printed == line), "{line} in {text}");
        }
    }
}
