//! What a route wants to be different: measured or not, its buckets, its objective.

use std::{sync::Arc, time::Duration};

use steeple_core::{RouteOptions, RoutePolicy, Signal};

use crate::{
    BuildError, Objective,
    layout::{Buckets, Layout, Scale},
};

/// How one route is measured: settings of this crate in [`RouteOptions`].
///
/// For [`MetricsBuilder::route`](crate::MetricsBuilder::route), or bound to a route by [`RouteOptions::layer`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_core::{RouteOptions, Signal};
/// use steeple_metrics::{Buckets, Objective, RouteMetrics};
///
/// # fn main() -> Result<(), steeple_core::RouteError> {
/// let exports = RouteOptions::new().buckets(Buckets::new([1.0, 10.0, 60.0])).layer()?;
/// let users = RouteOptions::new().objective(Objective::success(0.999).latency(Duration::from_millis(250), 0.99)).layer()?;
/// let probes = RouteOptions::new().skip(Signal::Metrics).skip(Signal::Log).layer()?;
/// # let _unused = (exports, users, probes);
/// # Ok(()) }
/// ```
pub trait RouteMetrics: Sized {
    /// Measures this route, also where only routes that [opted in](crate::Measure::OptedIn) are measured.
    #[must_use]
    fn measured(self) -> Self;

    /// Sorts this route's durations into these buckets. Default: those of the suite. Unusable ones make the options invalid:
    /// the source of the error is [`BuildError::is_bounds`].
    #[must_use]
    fn buckets(self, buckets: Buckets) -> Self;

    /// How fast and how reliable this route must be. The objective's latency becomes the bound of a bucket. An impossible one
    /// makes the options invalid: the source of the error is [`BuildError::is_objective`].
    #[must_use]
    fn objective(self, objective: Objective) -> Self;
}

impl RouteMetrics for RouteOptions {
    fn measured(self) -> Self {
        change(self, |measured| measured.measured = true)
    }

    fn buckets(self, buckets: Buckets) -> Self {
        change(self, |measured| measured.buckets = Some(buckets))
    }

    fn objective(self, objective: Objective) -> Self {
        change(self, |measured| measured.objective = Some(objective))
    }
}

fn change(options: RouteOptions, change: impl FnOnce(&mut Settings)) -> RouteOptions {
    let mut settings = options.get::<Measured>().map(|measured| measured.0.settings.clone()).unwrap_or_default();
    change(&mut settings);
    match settings.build() {
        Ok(measured) => options.with(measured),
        Err(error) => options.with_error(error),
    }
}

/// What the setters have set.
#[derive(Clone, Debug, Default)]
struct Settings {
    measured: bool,
    buckets: Option<Buckets>,
    objective: Option<Objective>,
}

impl Settings {
    fn build(self) -> Result<Measured, BuildError> {
        let latency = match &self.objective {
            Some(objective) => objective.check()?.latency_seconds(),
            None => None,
        };
        let buckets = match (self.buckets.clone(), latency) {
            (None, None) => None,
            (Some(buckets), None) => Some(buckets),
            (buckets, Some(latency)) => Some(buckets.unwrap_or(Buckets::opentelemetry()).with_bound(latency)),
        };
        let layout = buckets.map(|buckets| Layout::new(&buckets, Scale::Seconds, true)).transpose()?.map(Arc::new);
        Ok(Measured(Arc::new(Inner { settings: self, layout })))
    }
}

/// The settings, as the metrics read them. A cheap clone.
#[derive(Clone, Debug)]
pub(crate) struct Measured(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    layout: Option<Arc<Layout>>,
}

impl Measured {
    pub(crate) fn layout(&self) -> Option<&Arc<Layout>> {
        self.0.layout.as_ref()
    }

    pub(crate) fn objective(&self) -> Option<&Objective> {
        self.0.settings.objective.as_ref()
    }
}

/// What holds for one route, or one exchange. `None` where nothing is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfRoute {
    /// Measured or left out, where that is set.
    pub(crate) is_measured: Option<bool>,
    /// T of Apdex.
    pub(crate) apdex: Option<Duration>,
    pub(crate) measured: Option<Measured>,
}

impl OfRoute {
    pub(crate) fn of(policy: &RoutePolicy) -> Self {
        let measured = policy.get::<Measured>().cloned();
        let opted_in = measured.as_ref().is_some_and(|measured| measured.0.settings.measured);
        let is_measured = if policy.skips(Signal::Metrics) { Some(false) } else { opted_in.then_some(true) };
        Self { is_measured, apdex: policy.apdex(), measured }
    }

    /// This, and what it does not set from the other.
    pub(crate) fn or(self, other: Option<&Self>) -> Self {
        let Some(other) = other else { return self };
        Self {
            is_measured: self.is_measured.or(other.is_measured),
            apdex: self.apdex.or(other.apdex),
            measured: self.measured.or_else(|| other.measured.clone()),
        }
    }
}
