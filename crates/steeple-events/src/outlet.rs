use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use steeple_export::{Pipeline, Sink};

use crate::Tracked;

/// One sink with its queue, and which events it takes.
#[derive(Clone)]
pub struct Outlet(Arc<Inner>);

struct Inner {
    pipeline: Pipeline<Tracked>,
    takes: Takes,
    skipped: AtomicU64,
}

/// Which events a sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Takes {
    /// All: a system that runs the service.
    All,
    /// Those whose visitor did not refuse: an analytics system.
    Analytics,
    /// Those whose visitor did not refuse and has a client id of Google Analytics.
    GoogleAnalytics,
}

impl Outlet {
    /// A pipeline as a sink of events. What `takes` leaves out is counted as skipped.
    pub fn new(pipeline: Pipeline<Tracked>, takes: Takes) -> Self {
        Self(Arc::new(Inner { pipeline, takes, skipped: AtomicU64::new(0) }))
    }

    pub(crate) fn needs_client_id(&self) -> bool {
        self.0.takes == Takes::GoogleAnalytics
    }

    pub(crate) fn offer(&self, tracked: &Tracked) {
        let visitor = tracked.0.context.visitor.as_deref();
        let allowed = visitor.is_none_or(|visitor| visitor.consent.allows_analytics());
        let takes = match self.0.takes {
            Takes::All => true,
            Takes::Analytics => allowed,
            Takes::GoogleAnalytics => allowed && visitor.is_some_and(|visitor| visitor.client_id.is_some()),
        };
        if takes {
            self.0.pipeline.push(tracked.clone());
        } else {
            self.0.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(self.0.pipeline.clone())
    }

    pub(crate) fn skipped(&self) -> (String, u64) {
        (self.0.pipeline.name().to_owned(), self.0.skipped.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("sink", &self.0.pipeline.name()).field("takes", &self.0.takes).finish()
    }
}
