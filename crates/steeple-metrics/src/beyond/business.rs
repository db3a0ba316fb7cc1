use std::{fmt, sync::Arc, time::Duration};

use crate::{
    Buckets, Metrics,
    encode::{Kind, Meta},
    family::Family,
    layout::{Layout, Scale},
};

/// What the business counts. A cheap clone. Made by [`Metrics::business`].
///
/// A start; a team's own are made with [`Metrics::counter`] and its like.
#[derive(Clone)]
pub struct Business {
    registrations: Arc<Family>,
    logins: Arc<Family>,
    projects: Arc<Family>,
    tasks: Arc<Family>,
    task_durations: Arc<Family>,
}

impl Business {
    /// Somebody registered. `source`: where they came from, one of a few.
    pub fn user_registered(&self, source: &str) {
        self.registrations.add(&[source], 1);
    }

    /// Somebody logged in. `method`: how, one of a few.
    pub fn user_logged_in(&self, method: &str) {
        self.logins.add(&[method], 1);
    }

    /// A project was created. `kind`: of which type, one of a few.
    pub fn project_created(&self, kind: &str) {
        self.projects.add(&[kind], 1);
    }

    /// A task was completed, this long after it was begun.
    pub fn task_completed(&self, after: Duration) {
        self.tasks.add(&[], 1);
        self.task_durations.observe(&[], after);
    }
}

impl fmt::Debug for Business {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Business").finish_non_exhaustive()
    }
}

/// From a minute to a month.
const TASK_SECONDS: [f64; 9] = [60.0, 600.0, 3600.0, 14_400.0, 28_800.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0];

impl Metrics {
    /// Counters of what users do. They appear with the first call of this.
    pub fn business(&self) -> &Business {
        self.0.business.get_or_init(|| {
            let counter = |name: &'static str, help: &'static str, labels: &[&'static str]| {
                self.new_family(Meta::new(Kind::Counter, name, help, labels), None)
            };
            // Bounds that are written above are usable.
            let layout = Layout::new(&Buckets::new(TASK_SECONDS), Scale::Seconds, false).ok().map(Arc::new);
            let durations = Meta::new(
                Kind::Histogram,
                "task_completion_duration_seconds",
                "Time from a task's beginning to its completion.",
                &[],
            );
            let business = Business {
                registrations: counter(
                    "user_registrations_total",
                    "Users who registered, by where they came from.",
                    &["source"],
                ),
                logins: counter("user_logins_total", "Logins, by how they were made.", &["method"]),
                projects: counter("projects_created_total", "Projects that were created, by their type.", &["type"]),
                tasks: counter("tasks_completed_total", "Tasks that were completed.", &[]),
                task_durations: self.new_family(durations, layout),
            };
            let all = [
                &business.registrations,
                &business.logins,
                &business.projects,
                &business.tasks,
                &business.task_durations,
            ];
            self.add_or_yield("business", &all.map(|family| Arc::clone(family) as _));
            business
        })
    }
}
