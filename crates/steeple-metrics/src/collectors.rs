//! Collectors of the application, kept from taking anything but their own families along when they panic.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use prometheus::{
    core::{self, Desc},
    proto,
};

use crate::{
    BuildError, Metrics,
    encode::{Encoder, Kind, Meta, Number, Source},
    series::Labels,
};

/// Counts panics of collectors. The first is logged.
#[derive(Default)]
pub(crate) struct CollectorPanics {
    count: AtomicU64,
    is_logged: AtomicBool,
}

impl CollectorPanics {
    /// Runs a collector. `None`: it panicked, which is counted.
    pub(crate) fn catch<T>(&self, collect: impl FnOnce() -> T) -> Option<T> {
        // What a collector shares with the rest of the process is its own affair: it is called again at the next scrape.
        let collected = catch_unwind(AssertUnwindSafe(collect)).ok();
        if collected.is_none() {
            self.count.fetch_add(1, Relaxed);
            if !self.is_logged.swap(true, Relaxed) {
                tracing::error!(
                    "a metrics collector panicked: its families are missing; further panics are counted in \
                     steeple_metrics_collector_panics_total"
                );
            }
        }
        collected
    }
}

impl Source for CollectorPanics {
    fn families(&self) -> Vec<Meta> {
        vec![Meta::new(
            Kind::Counter,
            "steeple_metrics_collector_panics_total",
            "Panics of collectors while their metrics were read.",
            &[],
        )]
    }

    fn write(&self, to: &mut dyn Encoder) {
        for meta in self.families() {
            to.begin(&meta);
            to.value(&Labels::of_process([]), Number::Whole(self.count.load(Relaxed)));
        }
    }
}

/// A collector of an application's metrics: one of the `prometheus` crate, see [`prometheus`](crate::prometheus).
pub struct Collector(Box<dyn FnOnce(Arc<CollectorPanics>) -> Box<dyn core::Collector>>);

impl Collector {
    pub(crate) fn new<C: core::Collector + ?Sized + 'static>(collector: Box<C>) -> Self {
        Self(Box::new(|panics| Box::new(Guarded { collector, panics })))
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

/// A collector whose panics cost only its own families.
struct Guarded<C: ?Sized> {
    collector: Box<C>,
    panics: Arc<CollectorPanics>,
}

impl<C: core::Collector + ?Sized> core::Collector for Guarded<C> {
    fn desc(&self) -> Vec<&Desc> {
        self.collector.desc()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        self.panics.catch(|| self.collector.collect()).unwrap_or_default()
    }
}

impl Metrics {
    /// Registers your own collector. A panic in it costs only its own families, and is counted in
    /// `steeple_metrics_collector_panics_total`.
    ///
    /// A collector can be registered in the [`registry`](crate::prometheus::registry) as well; there, a panic takes the families of all
    /// other collectors of that registry along, since the registry reads them in one go. Steeple's own are not affected.
    ///
    /// # Errors
    /// [`BuildError::is_name_taken`] when the registry has one of its families already.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let metrics = steeple_metrics::Metrics::new()?;
    /// let jobs = prometheus::IntGauge::new("jobs_waiting", "Jobs in the queue.")?;
    /// metrics.register(Box::new(jobs.clone()))?;
    /// jobs.set(7);
    /// assert!(String::from_utf8_lossy(&metrics.render(None, None).body).contains("jobs_waiting 7\n"));
    /// # Ok(()) }
    /// ```
    pub fn register(&self, collector: impl Into<Collector>) -> Result<(), BuildError> {
        let Collector(guard) = collector.into();
        let guarded = guard(Arc::clone(&self.0.core.collector_panics));
        self.0.registry.0.register(guarded).map_err(BuildError::registry)
    }
}
