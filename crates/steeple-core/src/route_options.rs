//! How one route is observed, where it differs from all others: one vocabulary for every signal.

use std::{
    any::{Any, TypeId},
    error::Error,
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{Exchange, Signal};

/// Whether anything was ever applied: where not, no exchange need be asked.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// How one route is observed, where it differs from all others. Unset options are those of all routes.
///
/// The same options go to every signal, each of which reads what concerns it: `LogBuilder::route`, `MetricsBuilder::route`,
/// `TraceBuilder::route`, `SentryBuilder::route`, or `SteepleBuilder::route` for all of them. A [layer](Self::layer) binds them
/// to a route of a router, and a handler applies them to one exchange: see [`RouteLayer::apply`]. Crates add their own
/// settings [by type](Self::with): steeple-metrics has buckets and objectives.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_core::{RouteOptions, Signal};
///
/// # fn main() -> Result<(), steeple_core::RouteError> {
/// let probes = RouteOptions::new().skip(Signal::Log).skip(Signal::Metrics).skip(Signal::Traces).layer()?;
/// let reports = RouteOptions::new().slow_after(Duration::from_secs(30)).trace_sample_ratio(0.1).layer()?;
/// # let _unused = (probes, reports);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until they are bound to a route"]
pub struct RouteOptions {
    skipped: Vec<Signal>,
    slow_after: Option<Duration>,
    apdex: Option<Duration>,
    warn_on: Vec<u16>,
    log_sample_ratio: Option<f64>,
    trace_sample_ratio: Option<f64>,
    parts: Parts,
    /// The first part that is invalid.
    invalid: Option<Arc<dyn Error + Send + Sync>>,
}

/// What other crates have added, one value of each type.
#[derive(Clone, Debug, Default)]
struct Parts(Vec<(TypeId, Arc<dyn Part>)>);

/// A value of any type that can be shown.
trait Part: Any + fmt::Debug + Send + Sync {}

impl<T: Any + fmt::Debug + Send + Sync> Part for T {}

impl Parts {
    fn set<T: Part>(&mut self, part: T) {
        self.0.retain(|(id, _)| *id != TypeId::of::<T>());
        self.0.push((TypeId::of::<T>(), Arc::new(part)));
    }

    fn get<T: Part>(&self) -> Option<&T> {
        let (_, part) = self.0.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        let part: &dyn Any = &**part;
        part.downcast_ref()
    }
}

impl RouteOptions {
    /// Everything as for all routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves this route out of a signal: its log lines, its counters and histograms, its spans, its captured errors. Without
    /// its metrics it still counts as in flight.
    ///
    /// To leave out only log lines of requests that went well, set [`log_sample_ratio`](Self::log_sample_ratio) to 0.
    #[doc(alias = "ignore")]
    #[doc(alias = "healthcheck")]
    pub fn skip(mut self, signal: Signal) -> Self {
        self.skipped.push(signal);
        self
    }

    /// From how long on a request of this route is slow: its log line is a warning, and tail sampling keeps its trace.
    pub fn slow_after(mut self, duration: Duration) -> Self {
        self.slow_after = Some(duration);
        self
    }

    /// This route is never slow: a long poll, a stream.
    pub fn never_slow(self) -> Self {
        self.slow_after(Duration::MAX)
    }

    /// From how long on a request of this route is tolerated, and from four times as long on frustrates: T of Apdex, for the metrics
    /// and for New Relic's spans. See [`ApdexZone`](crate::ApdexZone).
    #[doc(alias = "apdex_t")]
    pub fn apdex(mut self, threshold: Duration) -> Self {
        self.apdex = Some(threshold);
        self
    }

    /// Statuses, 400 to 499, that make the log line a warning, besides those for all routes.
    pub fn warn_on(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.warn_on.extend(statuses);
        self
    }

    /// The share of log lines that are written of requests that went well, 0 to 1. Lines of failed or slow requests are always
    /// written.
    pub fn log_sample_ratio(mut self, ratio: f64) -> Self {
        self.log_sample_ratio = Some(ratio);
        self
    }

    /// The share of requests whose trace is recorded and sent, 0 to 1: spans, and Sentry's transactions.
    ///
    /// Traces are decided when the request head arrives. Where the route is not known by then, because the layer is outside of
    /// the router, spans follow the ratio for all routes. A [layer](Self::layer) comes too late for this setting.
    pub fn trace_sample_ratio(mut self, ratio: f64) -> Self {
        self.trace_sample_ratio = Some(ratio);
        self
    }

    /// Adds a setting of another crate, or replaces the one of the same type: see [`RoutePolicy::get`].
    ///
    /// ```
    /// use steeple_core::RouteOptions;
    ///
    /// #[derive(Debug, PartialEq)]
    /// struct Team(&'static str);
    ///
    /// let policy = RouteOptions::new().with(Team("payments")).build()?;
    /// assert_eq!(policy.get(), Some(&Team("payments")));
    /// # Ok::<(), steeple_core::RouteError>(())
    /// ```
    pub fn with<T: fmt::Debug + Send + Sync + 'static>(mut self, setting: T) -> Self {
        self.parts.set(setting);
        self
    }

    /// A setting that [`with`](Self::with) added.
    pub fn get<T: fmt::Debug + Send + Sync + 'static>(&self) -> Option<&T> {
        self.parts.get()
    }

    /// Marks the options as invalid: for crates that add settings. [`build`](Self::build) then fails with the first such error
    /// as its source.
    pub fn with_error(mut self, error: impl Error + Send + Sync + 'static) -> Self {
        self.invalid.get_or_insert_with(|| Arc::new(error));
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`RouteError::is_ratio`] for a ratio that is not within 0 to 1, [`RouteError::is_status`] for a status to warn on that is
    /// not within 400 to 499, [`RouteError::is_part`] for an invalid setting of another crate.
    pub fn build(self) -> Result<RoutePolicy, RouteError> {
        let mut ratios = self.log_sample_ratio.into_iter().chain(self.trace_sample_ratio);
        if let Some(ratio) = ratios.find(|ratio| !(0.0..=1.0).contains(ratio)) {
            return Err(RouteError(Kind::Ratio(ratio)));
        }
        if let Some(status) = self.warn_on.iter().find(|status| !(400..500).contains(*status)) {
            return Err(RouteError(Kind::Status(*status)));
        }
        match self.invalid {
            Some(error) => Err(RouteError(Kind::Part(error))),
            None => Ok(RoutePolicy(Arc::new(self))),
        }
    }

    /// A layer that binds these options to whatever route it is put on. It goes inside of the layer that observes.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn layer(self) -> Result<RouteLayer, RouteError> {
        self.build().map(RouteLayer)
    }
}

/// Options for a route that are valid: [`RouteOptions::build`]. A cheap clone.
#[derive(Clone)]
pub struct RoutePolicy(Arc<RouteOptions>);

impl RoutePolicy {
    /// What was [applied](RouteLayer::apply) to this exchange. Without any, this is one relaxed load.
    #[inline]
    pub fn of(exchange: &Exchange) -> Option<Self> {
        if IN_USE.load(Relaxed) { exchange.get() } else { None }
    }

    /// Whether anything was ever [applied](RouteLayer::apply) in this process: one relaxed load.
    #[inline]
    #[doc(hidden)]
    pub fn is_in_use() -> bool {
        IN_USE.load(Relaxed)
    }

    /// Whether the route is left out of a signal.
    pub fn skips(&self, signal: Signal) -> bool {
        self.0.skipped.contains(&signal)
    }

    /// From how long on a request is slow. [`Duration::MAX`]: never.
    pub fn slow_after(&self) -> Option<Duration> {
        self.0.slow_after
    }

    /// T of Apdex.
    pub fn apdex(&self) -> Option<Duration> {
        self.0.apdex
    }

    /// Statuses that make the log line a warning, 400 to 499.
    pub fn warn_on(&self) -> &[u16] {
        &self.0.warn_on
    }

    /// The share of log lines of requests that went well, 0 to 1.
    pub fn log_sample_ratio(&self) -> Option<f64> {
        self.0.log_sample_ratio
    }

    /// The share of requests whose trace is recorded, 0 to 1. 0 where [`Signal::Traces`] is skipped.
    pub fn trace_sample_ratio(&self) -> Option<f64> {
        if self.skips(Signal::Traces) { Some(0.0) } else { self.0.trace_sample_ratio }
    }

    /// A setting of another crate.
    pub fn get<T: fmt::Debug + Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.parts.get()
    }
}

// It is only read, and what it holds is not left half changed.
impl UnwindSafe for RoutePolicy {}
impl RefUnwindSafe for RoutePolicy {}

impl fmt::Debug for RoutePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Binds a [`RoutePolicy`] to a route.
///
/// ```
/// use steeple_core::{Exchange, RouteOptions, Signal};
///
/// // For one exchange, in its handler:
/// let silent = RouteOptions::new().skip(Signal::Log).layer()?;
/// let exchange = Exchange::detached();
/// silent.apply(&exchange);
/// assert!(exchange.is_skipped(Signal::Log));
/// # Ok::<(), steeple_core::RouteError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct RouteLayer(RoutePolicy);

impl RouteLayer {
    /// Applies the options to one exchange. Of two that are applied the last one holds, and signals that either of them skips
    /// are skipped. They come before what was set for the exchange's route.
    pub fn apply(&self, exchange: &Exchange) {
        if !IN_USE.load(Relaxed) {
            IN_USE.store(true, Relaxed);
        }
        for signal in &self.0.0.skipped {
            exchange.skip(*signal);
        }
        exchange.insert(self.0.clone());
    }
}

impl<S> Layer<S> for RouteLayer {
    type Service = RouteService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RouteService { inner, options: self.clone() }
    }
}

/// A service whose exchanges have [`RouteOptions`].
#[derive(Clone, Debug)]
pub struct RouteService<S> {
    inner: S,
    options: RouteLayer,
}

impl<S> RouteService<S> {
    crate::__inner_service!();
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

/// Options for a route are invalid. Retrying does not help.
#[derive(Clone, Debug)]
pub struct RouteError(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Ratio(f64),
    Status(u16),
    Part(Arc<dyn Error + Send + Sync>),
}

impl RouteError {
    /// A sample ratio is not within 0 to 1.
    pub fn is_ratio(&self) -> bool {
        matches!(self.0, Kind::Ratio(_))
    }

    /// A status to warn on is not within 400 to 499.
    pub fn is_status(&self) -> bool {
        matches!(self.0, Kind::Status(_))
    }

    /// A setting of another crate is invalid; the source is its error.
    pub fn is_part(&self) -> bool {
        matches!(self.0, Kind::Part(_))
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Ratio(ratio) => write!(f, "invalid sample ratio {ratio} for a route: use 0 to 1"),
            Kind::Status(status) => write!(f, "invalid status to warn on {status} for a route: use 400 to 499"),
            Kind::Part(_) => f.write_str("invalid options for a route"),
        }
    }
}

impl Error for RouteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Ratio(_) | Kind::Status(_) => None,
            Kind::Part(error) => Some(&**error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Own(u8);

    #[test]
    fn settings_of_other_crates_are_found_by_their_type_and_the_last_one_holds() {
        let policy = RouteOptions::new().with(Own(1)).with("text").with(Own(2)).build().unwrap();
        assert_eq!((policy.get::<Own>(), policy.get::<&str>()), (Some(&Own(2)), Some(&"text")));
        assert_eq!(policy.get::<u8>(), None);
    }

    #[test]
    fn invalid_options_are_rejected_with_what_is_wrong() {
        let error = |options: RouteOptions| options.build().unwrap_err();
        for ratio in [-0.1, 1.1, f64::NAN] {
            assert!(error(RouteOptions::new().log_sample_ratio(ratio)).is_ratio());
            assert!(error(RouteOptions::new().trace_sample_ratio(ratio)).is_ratio());
        }
        for status in [0, 399, 500] {
            assert!(error(RouteOptions::new().warn_on([404, status])).is_status());
        }
        let of_part =
            error(RouteOptions::new().with_error(fmt::Error).with_error(std::io::Error::other("a later one")));
        assert!(of_part.is_part() && of_part.source().unwrap().is::<fmt::Error>());
    }

    #[test]
    fn what_is_applied_last_holds_and_skipped_signals_add_up() {
        let exchange = Exchange::detached();
        assert!(RoutePolicy::of(&Exchange::detached()).is_none());
        RouteOptions::new().skip(Signal::Log).slow_after(Duration::from_secs(9)).layer().unwrap().apply(&exchange);
        RouteOptions::new().skip(Signal::Traces).log_sample_ratio(0.5).layer().unwrap().apply(&exchange);
        let policy = RoutePolicy::of(&exchange).unwrap();
        assert_eq!((policy.slow_after(), policy.log_sample_ratio()), (None, Some(0.5)));
        assert_eq!(policy.trace_sample_ratio(), Some(0.0), "a route without spans is sampled out");
        assert!(exchange.is_skipped(Signal::Log) && exchange.is_skipped(Signal::Traces));
        assert!(!exchange.is_skipped(Signal::Metrics));
    }
}
