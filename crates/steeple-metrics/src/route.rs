//! What a route wants to be different: measured or not, its buckets, its objective.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use steeple_core::{Exchange, Signal};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BuildError, Objective,
    layout::{Buckets, Layout, Scale},
};

/// Whether anything was ever applied: where not, no exchange need be asked.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// Options for how one route is measured. See [`RouteMetrics::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until they are built and bound to a route"]
pub struct RouteMetricsBuilder {
    measured: Option<bool>,
    buckets: Option<Buckets>,
    objective: Option<Objective>,
    skipped: Vec<Signal>,
}

impl RouteMetricsBuilder {
    /// Measures this route, also where only routes that [opted in](crate::Measure::OptedIn) are measured.
    pub fn measured(mut self) -> Self {
        self.measured = Some(true);
        self
    }

    /// Leaves this route out of a signal: its counters and histograms, its log line, its spans, its errors. Without its
    /// metrics it still counts as in flight.
    #[doc(alias = "ignore")]
    #[doc(alias = "healthcheck")]
    pub fn skip(mut self, signal: Signal) -> Self {
        if signal == Signal::Metrics {
            self.measured = Some(false);
        } else {
            self.skipped.push(signal);
        }
        self
    }

    /// Sorts this route's durations into these buckets. Default: those of the suite.
    pub fn buckets(mut self, buckets: Buckets) -> Self {
        self.buckets = Some(buckets);
        self
    }

    /// How fast and how reliable this route must be. The objective's latency becomes the bound of a bucket.
    pub fn objective(mut self, objective: Objective) -> Self {
        self.objective = Some(objective);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`BuildError::is_bounds`] for unusable buckets, [`BuildError::is_objective`] for an impossible objective.
    pub fn build(self) -> Result<RouteMetrics, BuildError> {
        let Self { measured, buckets, objective, skipped } = self;
        let latency = match &objective {
            Some(objective) => objective.check()?.latency_seconds(),
            None => None,
        };
        let buckets = match (buckets, latency) {
            (None, None) => None,
            (Some(buckets), None) => Some(buckets),
            (buckets, Some(latency)) => Some(buckets.unwrap_or(Buckets::opentelemetry()).with_bound(latency)),
        };
        let layout = buckets.map(|buckets| Layout::new(&buckets, Scale::Seconds, true)).transpose()?.map(Arc::new);
        Ok(RouteMetrics(Arc::new(Inner { measured, layout, objective, skipped })))
    }
}

/// How one route is measured. A cheap clone.
///
/// Bound to a route by its [layer](Self::layer), for a `MethodRouter` or a `Router`; or for one exchange by its handler,
/// with [`apply`](Self::apply). The layer goes inside of the one that watches. It costs an exchange one entry beside it.
///
/// # Examples
/// ```
/// use steeple_core::Signal;
/// use steeple_metrics::{Buckets, RouteMetrics};
/// # fn main() -> Result<(), steeple_metrics::BuildError> {
/// let exports = RouteMetrics::builder().buckets(Buckets::new([1.0, 10.0, 60.0])).build()?.layer();
/// let probes = RouteMetrics::builder().skip(Signal::Metrics).skip(Signal::Log).build()?.layer();
/// # let _unused = (exports, probes);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct RouteMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    measured: Option<bool>,
    layout: Option<Arc<Layout>>,
    objective: Option<Objective>,
    skipped: Vec<Signal>,
}

impl RouteMetrics {
    /// Options that change nothing yet.
    pub fn builder() -> RouteMetricsBuilder {
        RouteMetricsBuilder::default()
    }

    /// A layer that binds this to whatever route it is put on.
    pub fn layer(&self) -> RouteLayer {
        RouteLayer(self.clone())
    }

    /// Applies this to one exchange. What is applied last stays.
    pub fn apply(&self, exchange: &Exchange) {
        if !IN_USE.load(Relaxed) {
            IN_USE.store(true, Relaxed);
        }
        for signal in &self.0.skipped {
            exchange.skip(*signal);
        }
        exchange.insert(self.clone());
    }

    /// What was applied to this exchange.
    #[inline]
    pub(crate) fn of(exchange: &Exchange) -> Option<Self> {
        if IN_USE.load(Relaxed) { exchange.get() } else { None }
    }

    pub(crate) fn is_measured(&self) -> Option<bool> {
        self.0.measured
    }

    pub(crate) fn layout(&self) -> Option<&Arc<Layout>> {
        self.0.layout.as_ref()
    }

    pub(crate) fn objective(&self) -> Option<&Objective> {
        self.0.objective.as_ref()
    }
}

/// Binds a [`RouteMetrics`] to a route.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct RouteLayer(RouteMetrics);

impl<S> Layer<S> for RouteLayer {
    type Service = RouteService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RouteService { inner, options: self.0.clone() }
    }
}

/// A service whose exchanges are measured in a way of their own. See [`RouteMetrics`].
#[derive(Clone, Debug)]
pub struct RouteService<S> {
    inner: S,
    options: RouteMetrics,
}

impl<S, B> Service<http::Request<B>> for RouteService<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if let Some(exchange) = request.extensions().get::<Exchange>() {
            self.options.apply(exchange);
        }
        self.inner.call(request)
    }
}
