//! What the board counts of itself beside its requests: queries, its cache, what users do.

use std::sync::{Arc, OnceLock};

use steeple::{
    Steeple,
    events::Events,
    metrics::{CacheOperation, Metrics, QueryTimer},
};
use tokio::runtime::Handle;

/// Where the board's own numbers go, once somebody watches it. Until then nothing is counted. A cheap clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured(Arc<OnceLock<(Metrics, Events)>>);

impl Measured {
    /// From now on everything counts here; the first metrics and events stay.
    pub(super) fn begin(&self, steeple: &Steeple) {
        let (metrics, _) = self.0.get_or_init(|| (steeple.metrics().clone(), steeple.events()));
        // Asked for once, a group is on the page before anything has happened.
        metrics.database();
        metrics.cache();
        if let Ok(runtime) = Handle::try_current() {
            metrics.watch_runtime(&runtime);
        }
    }

    /// Times a query until the timer is dropped.
    pub(super) fn query(&self, operation: &'static str, table: &'static str) -> Option<QueryTimer> {
        Some(self.0.get()?.0.database().start(operation, table))
    }

    /// Counts an operation on a cache and how it went.
    pub(super) fn cached(&self, operation: &'static str, went: fn(CacheOperation)) {
        if let Some((metrics, _)) = self.0.get() {
            went(metrics.cache().start(operation));
        }
    }

    /// What users do: disabled until somebody watches the board.
    pub(super) fn events(&self) -> Events {
        self.0.get().map_or_else(Events::disabled, |(_, events)| events.clone())
    }
}
