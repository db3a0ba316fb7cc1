//! What the board counts of itself beside its requests: queries, its cache, what users do.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use steeple::metrics::{Buckets, BuildError, CacheOperation, CounterFamily, DurationFamily, Metrics, QueryTimer};
use tokio::runtime::Handle;

/// Where the board's own numbers go, once somebody watches it. Until then nothing is counted. A cheap clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured(Arc<OnceLock<(Metrics, Option<Business>)>>);

/// What users do.
#[derive(Debug)]
pub(super) struct Business {
    registrations: CounterFamily<1>,
    logins: CounterFamily<1>,
    projects: CounterFamily<1>,
    tasks: CounterFamily<0>,
    task_durations: DurationFamily<0>,
}

/// From a minute to a month.
const TASK_SECONDS: [f64; 9] = [60.0, 600.0, 3600.0, 14_400.0, 28_800.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0];

impl Business {
    fn new(metrics: &Metrics) -> Result<Self, BuildError> {
        let durations = "Time from a task's beginning to its completion.";
        let buckets = Buckets::new(TASK_SECONDS);
        Ok(Self {
            registrations: metrics.counter(
                "user_registrations_total",
                "Users who registered, by source.",
                ["source"],
            )?,
            logins: metrics.counter("user_logins_total", "Logins, by method.", ["method"])?,
            projects: metrics.counter("projects_created_total", "Projects that were created, by type.", ["type"])?,
            tasks: metrics.counter("tasks_completed_total", "Tasks that were completed.", [])?,
            task_durations: metrics.duration_histogram("task_completion_duration_seconds", durations, [], &buckets)?,
        })
    }

    pub(super) fn user_registered(&self, source: &str) {
        self.registrations.inc([source]);
    }

    pub(super) fn user_logged_in(&self, method: &str) {
        self.logins.inc([method]);
    }

    pub(super) fn project_created(&self, kind: &str) {
        self.projects.inc([kind]);
    }

    pub(super) fn task_completed(&self, after: Duration) {
        self.tasks.inc([]);
        self.task_durations.observe([], after);
    }
}

impl Measured {
    /// From now on everything counts here; the first metrics stay.
    pub(super) fn begin(&self, metrics: &Metrics) {
        // A registry that has such counters already keeps them, and the board's are not counted.
        let (metrics, _) = self.0.get_or_init(|| (metrics.clone(), Business::new(metrics).ok()));
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

    /// What users do.
    pub(super) fn business(&self) -> Option<&Business> {
        self.0.get()?.1.as_ref()
    }
}
