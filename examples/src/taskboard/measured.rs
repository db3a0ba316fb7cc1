//! What the board counts of itself beside its requests: queries, its cache, what users do.

use std::sync::{Arc, OnceLock};

use steeple::metrics::{Business, CacheOperation, Metrics, QueryTimer};
use tokio::runtime::Handle;

/// Where the board's own numbers go, once somebody watches it. Until then nothing is counted. A cheap clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured(Arc<OnceLock<Metrics>>);

impl Measured {
    /// From now on everything counts here; the first metrics stay.
    pub(super) fn begin(&self, metrics: &Metrics) {
        let metrics = self.0.get_or_init(|| metrics.clone());
        // Asked for once, a group is on the page before anything has happened.
        metrics.database();
        metrics.cache();
        metrics.business();
        if let Ok(runtime) = Handle::try_current() {
            metrics.watch_runtime(&runtime);
        }
    }

    /// Times a query until the timer is dropped.
    pub(super) fn query(&self, operation: &'static str, table: &'static str) -> Option<QueryTimer> {
        Some(self.0.get()?.database().start(operation, table))
    }

    /// Counts an operation on a cache and how it went.
    pub(super) fn cached(&self, operation: &'static str, went: fn(CacheOperation)) {
        if let Some(metrics) = self.0.get() {
            went(metrics.cache().start(operation));
        }
    }

    /// What users do.
    pub(super) fn business(&self) -> Option<&Business> {
        self.0.get().map(Metrics::business)
    }
}
