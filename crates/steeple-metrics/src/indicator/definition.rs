use std::{fmt, time::Duration};

use steeple_core::Outcome;

use super::families::{FamilyReading, SeriesReading};
use crate::BuildError;

/// Something that is measured over a [`Window`]: what an alert rule compares, a dashboard draws and Prometheus is asked for.
/// Others call it a service level indicator.
///
/// One definition serves all of them: [`History::watch`](super::History::watch) evaluates it inside of the process,
/// [`promql`](Self::promql) asks a server.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_metrics::indicator::{Indicator, Promql, Window};
///
/// # fn main() -> Result<(), steeple_metrics::BuildError> {
/// let slow = Indicator::quantile(0.95).of("POST", "/checkout");
/// let window = Window::new(Duration::from_secs(300))?;
/// assert_eq!(slow.to_string(), "p95 of POST /checkout");
/// assert_eq!(
///     slow.promql(window, &Promql::new()),
///     "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket\
///      {method=\"POST\",route=\"/checkout\"}[5m])))"
/// );
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Indicator(pub(super) Kind);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Requests(OfRequests, Scope),
    Level(Level),
    CounterRate(Selector),
    CounterIncrease(Selector),
    CounterRatio(Selector, Selector),
    Gauge(Selector),
    HistogramQuantile(f64, Selector),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum OfRequests {
    ErrorRatio,
    Quantile(f64),
    Mean,
    Rate,
    SlowRatio(Duration),
    AbortedRatio(Outcome),
}

/// Which requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scope {
    All,
    /// The method is empty for gRPC.
    Route {
        method: Box<str>,
        route: Box<str>,
    },
}

/// A current value, or one with a single source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    InFlight,
    ActiveUsers,
    Cpu,
    CpuThrottled,
    Memory,
    Disk,
    Connections,
    CacheHitRatio,
    Dropped,
}

/// What an [`Indicator`] is made of, for readers that ask another system for it than Prometheus.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Measure<'a> {
    /// [`Indicator::error_ratio`].
    ErrorRatio,
    /// [`Indicator::quantile`].
    Quantile(f64),
    /// [`Indicator::mean`].
    Mean,
    /// [`Indicator::rate`].
    Rate,
    /// [`Indicator::slow_ratio`].
    SlowRatio(Duration),
    /// [`Indicator::aborted_ratio`].
    AbortedRatio(Outcome),
    /// [`Indicator::in_flight`].
    InFlight,
    /// [`Indicator::active_users`].
    ActiveUsers,
    /// [`Indicator::cpu`].
    Cpu,
    /// [`Indicator::cpu_throttled`].
    CpuThrottled,
    /// [`Indicator::memory`].
    Memory,
    /// [`Indicator::disk`].
    Disk,
    /// [`Indicator::connections`].
    Connections,
    /// [`Indicator::cache_hit_ratio`].
    CacheHitRatio,
    /// [`Indicator::dropped`].
    Dropped,
    /// [`Indicator::counter_rate`].
    CounterRate(&'a Selector),
    /// [`Indicator::counter_increase`].
    CounterIncrease(&'a Selector),
    /// [`Indicator::counter_ratio`]: the part, and the whole.
    CounterRatio(&'a Selector, &'a Selector),
    /// [`Indicator::gauge`].
    Gauge(&'a Selector),
    /// [`Indicator::histogram_quantile`].
    HistogramQuantile(f64, &'a Selector),
}

/// The unit of an [`Indicator`]'s value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// A part of a whole, from 0 to 1.
    Ratio,
    /// Seconds.
    Seconds,
    /// How often a second.
    PerSecond,
    /// A number, in the unit of the family if it has one.
    Count,
}

impl Indicator {
    /// The part of the requests that failed for a reason on the server's side.
    pub const fn error_ratio() -> Self {
        Self(Kind::Requests(OfRequests::ErrorRatio, Scope::All))
    }

    /// The duration that this part of the requests did not exceed: 0.95 for p95.
    pub const fn quantile(q: f64) -> Self {
        Self(Kind::Requests(OfRequests::Quantile(q), Scope::All))
    }

    /// The mean duration of requests.
    pub const fn mean() -> Self {
        Self(Kind::Requests(OfRequests::Mean, Scope::All))
    }

    /// Requests a second.
    pub const fn rate() -> Self {
        Self(Kind::Requests(OfRequests::Rate, Scope::All))
    }

    /// The part of the requests that took longer than this. Exact where it is the bound of a bucket.
    pub const fn slow_ratio(target: Duration) -> Self {
        Self(Kind::Requests(OfRequests::SlowRatio(target), Scope::All))
    }

    /// The part of the requests that ended like this. gRPC calls are counted in process, and not in `PromQL`.
    pub const fn aborted_ratio(outcome: Outcome) -> Self {
        Self(Kind::Requests(OfRequests::AbortedRatio(outcome), Scope::All))
    }

    /// The same of one route: its method and its template; of a gRPC method with an empty method. No change for an
    /// indicator that is not about requests.
    #[must_use]
    pub fn of(mut self, method: &str, route: &str) -> Self {
        if let Kind::Requests(_, scope) = &mut self.0 {
            *scope = Scope::Route { method: method.into(), route: route.into() };
        }
        self
    }

    /// Requests that have begun and not ended: the mean over the window.
    pub const fn in_flight() -> Self {
        Self(Kind::Level(Level::InFlight))
    }

    /// Distinct users of the last minutes: the mean over the window.
    pub const fn active_users() -> Self {
        Self(Kind::Level(Level::ActiveUsers))
    }

    /// The part of the processors that may be used, of the container or the machine, that was used.
    pub const fn cpu() -> Self {
        Self(Kind::Level(Level::Cpu))
    }

    /// The part of the scheduling periods in which the container had used up its limit.
    pub const fn cpu_throttled() -> Self {
        Self(Kind::Level(Level::CpuThrottled))
    }

    /// The part of the memory that may be used, of the container or the machine, that is used: the mean over the window.
    pub const fn memory() -> Self {
        Self(Kind::Level(Level::Memory))
    }

    /// The part of the disk that is used: the mean over the window.
    pub const fn disk() -> Self {
        Self(Kind::Level(Level::Disk))
    }

    /// The part of the database connections that may be open that is in use: the mean over the window. No data unless
    /// [`Metrics::watch_connections`](crate::Metrics::watch_connections) was called.
    pub const fn connections() -> Self {
        Self(Kind::Level(Level::Connections))
    }

    /// The part of the lookups in caches that found something.
    pub const fn cache_hit_ratio() -> Self {
        Self(Kind::Level(Level::CacheHitRatio))
    }

    /// Items that the sinks dropped, per second, all together.
    pub const fn dropped() -> Self {
        Self(Kind::Level(Level::Dropped))
    }

    /// How often a second a counter was raised.
    pub const fn counter_rate(counter: Selector) -> Self {
        Self(Kind::CounterRate(counter))
    }

    /// How often a counter was raised.
    pub const fn counter_increase(counter: Selector) -> Self {
        Self(Kind::CounterIncrease(counter))
    }

    /// One counter's increase as a part of another one's: failed payments of all payments.
    pub const fn counter_ratio(part: Selector, whole: Selector) -> Self {
        Self(Kind::CounterRatio(part, whole))
    }

    /// A gauge, the sum of its series: the mean over the window.
    pub const fn gauge(gauge: Selector) -> Self {
        Self(Kind::Gauge(gauge))
    }

    /// The value that this part of a histogram's values did not exceed.
    pub const fn histogram_quantile(q: f64, histogram: Selector) -> Self {
        Self(Kind::HistogramQuantile(q, histogram))
    }

    /// What it measures; [`route`](Self::route) has of what.
    pub const fn measure(&self) -> Measure<'_> {
        match &self.0 {
            Kind::Requests(of, _) => match of {
                OfRequests::ErrorRatio => Measure::ErrorRatio,
                OfRequests::Quantile(q) => Measure::Quantile(*q),
                OfRequests::Mean => Measure::Mean,
                OfRequests::Rate => Measure::Rate,
                OfRequests::SlowRatio(target) => Measure::SlowRatio(*target),
                OfRequests::AbortedRatio(outcome) => Measure::AbortedRatio(*outcome),
            },
            Kind::Level(level) => match level {
                Level::InFlight => Measure::InFlight,
                Level::ActiveUsers => Measure::ActiveUsers,
                Level::Cpu => Measure::Cpu,
                Level::CpuThrottled => Measure::CpuThrottled,
                Level::Memory => Measure::Memory,
                Level::Disk => Measure::Disk,
                Level::Connections => Measure::Connections,
                Level::CacheHitRatio => Measure::CacheHitRatio,
                Level::Dropped => Measure::Dropped,
            },
            Kind::CounterRate(selector) => Measure::CounterRate(selector),
            Kind::CounterIncrease(selector) => Measure::CounterIncrease(selector),
            Kind::CounterRatio(part, whole) => Measure::CounterRatio(part, whole),
            Kind::Gauge(selector) => Measure::Gauge(selector),
            Kind::HistogramQuantile(q, selector) => Measure::HistogramQuantile(*q, selector),
        }
    }

    /// The unit of its value.
    pub const fn unit(&self) -> Unit {
        match &self.0 {
            Kind::Requests(of, _) => match of {
                OfRequests::ErrorRatio | OfRequests::SlowRatio(_) | OfRequests::AbortedRatio(_) => Unit::Ratio,
                OfRequests::Quantile(_) | OfRequests::Mean => Unit::Seconds,
                OfRequests::Rate => Unit::PerSecond,
            },
            Kind::Level(level) => match level {
                Level::InFlight | Level::ActiveUsers => Unit::Count,
                Level::Dropped => Unit::PerSecond,
                Level::Cpu
                | Level::CpuThrottled
                | Level::Memory
                | Level::Disk
                | Level::Connections
                | Level::CacheHitRatio => Unit::Ratio,
            },
            Kind::CounterRate(_) => Unit::PerSecond,
            Kind::CounterRatio(..) => Unit::Ratio,
            Kind::CounterIncrease(_) | Kind::Gauge(_) | Kind::HistogramQuantile(..) => Unit::Count,
        }
    }

    /// The method and the route that it is about, if it is about one.
    pub fn route(&self) -> Option<(&str, &str)> {
        match &self.0 {
            Kind::Requests(_, Scope::Route { method, route }) => Some((method, route)),
            Kind::Requests(_, Scope::All)
            | Kind::Level(_)
            | Kind::CounterRate(_)
            | Kind::CounterIncrease(_)
            | Kind::CounterRatio(..)
            | Kind::Gauge(_)
            | Kind::HistogramQuantile(..) => None,
        }
    }

    /// Whether its value is made of requests.
    pub const fn is_of_requests(&self) -> bool {
        matches!(&self.0, Kind::Requests(..))
    }

    /// Whether its value is a part of the requests that failed: the error ratio, and how many ended in one way.
    pub const fn is_of_failures(&self) -> bool {
        matches!(&self.0, Kind::Requests(OfRequests::ErrorRatio | OfRequests::AbortedRatio(_), _))
    }

    /// Whether its value is about one instance and not about the whole service: the processors, memory, disk and database
    /// connections of a process, and its requests in flight.
    pub const fn is_of_instance(&self) -> bool {
        matches!(
            &self.0,
            Kind::Level(
                Level::InFlight
                    | Level::Cpu
                    | Level::CpuThrottled
                    | Level::Memory
                    | Level::Disk
                    | Level::Connections
                    | Level::Dropped
            )
        )
    }

    /// Whether its value is how much a counter grew. A server extrapolates that to the ends of the window, so that it is
    /// not whole where the counter's steps are.
    pub const fn is_increase(&self) -> bool {
        matches!(&self.0, Kind::CounterIncrease(_))
    }

    /// Checks that it can have a value at all.
    ///
    /// # Errors
    /// [`BuildError::is_indicator`] for a quantile that is not above 0 and below 1, a duration of 0, an outcome of a request
    /// that was not aborted, or a selector without a name.
    pub fn check(&self) -> Result<(), BuildError> {
        let is_part = |q: f64| q > 0.0 && q < 1.0;
        let usable = match &self.0 {
            Kind::Requests(OfRequests::Quantile(q), _) => is_part(*q),
            Kind::Requests(OfRequests::SlowRatio(target), _) => !target.is_zero(),
            Kind::Requests(OfRequests::AbortedRatio(outcome), _) => outcome.is_failure() || outcome.is_cancelled(),
            Kind::Requests(OfRequests::ErrorRatio | OfRequests::Mean | OfRequests::Rate, _) | Kind::Level(_) => true,
            Kind::CounterRate(selector) | Kind::CounterIncrease(selector) | Kind::Gauge(selector) => {
                selector.is_usable()
            }
            Kind::CounterRatio(part, whole) => part.is_usable() && whole.is_usable(),
            Kind::HistogramQuantile(q, selector) => is_part(*q) && selector.is_usable(),
        };
        if usable { Ok(()) } else { Err(BuildError::indicator(&self.to_string())) }
    }
}

/// In the words of a message: `p95 of POST /checkout`.
impl fmt::Display for Indicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Requests(of, scope) => {
                match of {
                    OfRequests::ErrorRatio => f.write_str("error ratio")?,
                    OfRequests::Quantile(q) => write!(f, "p{}", super::promql::trimmed(q * 100.0))?,
                    OfRequests::Mean => f.write_str("mean response time")?,
                    OfRequests::Rate => f.write_str("requests per second")?,
                    OfRequests::SlowRatio(target) => write!(f, "part slower than {target:?}")?,
                    OfRequests::AbortedRatio(outcome) => write!(f, "part that ended as {outcome}")?,
                }
                match scope {
                    Scope::All => Ok(()),
                    Scope::Route { method, route } if method.is_empty() => write!(f, " of {route}"),
                    Scope::Route { method, route } => write!(f, " of {method} {route}"),
                }
            }
            Kind::Level(level) => f.write_str(match level {
                Level::InFlight => "requests in flight",
                Level::ActiveUsers => "active users",
                Level::Cpu => "CPU",
                Level::CpuThrottled => "throttled CPU periods",
                Level::Memory => "memory",
                Level::Disk => "disk",
                Level::Connections => "database connections in use",
                Level::CacheHitRatio => "cache hit ratio",
                Level::Dropped => "dropped items per second",
            }),
            Kind::CounterRate(selector) => write!(f, "{selector} per second"),
            Kind::CounterIncrease(selector) => write!(f, "increase of {selector}"),
            Kind::CounterRatio(part, whole) => write!(f, "{part} of {whole}"),
            Kind::Gauge(selector) => write!(f, "{selector}"),
            Kind::HistogramQuantile(q, selector) => {
                write!(f, "p{} of {selector}", super::promql::trimmed(q * 100.0))
            }
        }
    }
}

/// Series of one family, by their labels: of the application's own, of its registries, or of ours. Those about served
/// requests, `http_…` and `grpc_server_…`, have separate indicators and are not read here.
///
/// # Examples
/// ```
/// use steeple_metrics::indicator::{Indicator, Selector};
///
/// let payments = Selector::new("payments_total");
/// let failed = payments.clone().label("result", "failed");
/// let ratio = Indicator::counter_ratio(failed, payments);
/// assert_eq!(ratio.to_string(), "payments_total{result=\"failed\"} of payments_total");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub(super) family: Box<str>,
    pub(super) matchers: Vec<Matcher>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matcher {
    pub(super) label: Box<str>,
    pub(super) value: Box<str>,
    pub(super) is_equal: bool,
}

impl Selector {
    /// All series of a family: its name as it is printed, with `_total` for counters, without the registry's prefix.
    pub fn new(family: &str) -> Self {
        Self { family: family.into(), matchers: Vec::new() }
    }

    /// Only series whose label has this value.
    #[must_use]
    pub fn label(mut self, label: &str, value: &str) -> Self {
        self.matchers.push(Matcher { label: label.into(), value: value.into(), is_equal: true });
        self
    }

    /// Only series whose label has another value than this.
    #[must_use]
    pub fn not(mut self, label: &str, value: &str) -> Self {
        self.matchers.push(Matcher { label: label.into(), value: value.into(), is_equal: false });
        self
    }

    /// The name of the family.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// The conditions: label, value, and whether it has to be that value or any other.
    pub fn matchers(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.matchers.iter().map(|matcher| (&*matcher.label, &*matcher.value, matcher.is_equal))
    }

    fn is_usable(&self) -> bool {
        let is_name = |name: &str, also: &[u8]| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || also.contains(&byte))
                && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
        };
        is_name(&self.family, b":") && self.matchers.iter().all(|matcher| is_name(&matcher.label, b""))
    }

    /// The series that it selects of its family.
    pub fn select<'a>(&'a self, family: &'a FamilyReading) -> impl Iterator<Item = &'a SeriesReading> {
        family.series.iter().filter(move |series| {
            self.matchers.iter().all(|matcher| (series.label(&matcher.label) == &*matcher.value) == matcher.is_equal)
        })
    }
}

/// As `PromQL` has it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.family)?;
        if self.matchers.is_empty() {
            return Ok(());
        }
        write!(f, "{{{}}}", super::promql::matchers(&self.matchers))
    }
}

/// The time over which an [`Indicator`] is measured: from a second to a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(Duration);

impl Window {
    /// A minute.
    pub const MINUTE: Self = Self(Duration::from_secs(60));
    /// Five minutes.
    pub const FIVE_MINUTES: Self = Self(Duration::from_secs(300));
    /// An hour.
    pub const HOUR: Self = Self(Duration::from_secs(3600));
    /// The longest.
    pub const DAY: Self = Self(Duration::from_secs(24 * 3600));

    /// A window of this length, in whole seconds.
    ///
    /// # Errors
    /// [`BuildError::is_window`] for less than a second or more than 24 hours: longer ones are for a server that keeps its
    /// samples.
    pub const fn new(length: Duration) -> Result<Self, BuildError> {
        let seconds = length.as_secs();
        if seconds >= 1 && (seconds < 86_400 || (seconds == 86_400 && length.subsec_nanos() == 0)) {
            Ok(Self(Duration::from_secs(seconds)))
        } else {
            Err(BuildError::window())
        }
    }

    /// Its length.
    pub const fn length(self) -> Duration {
        self.0
    }
}

/// As `PromQL` has it: `5m`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds % 3600, seconds % 60) {
            (0, _) => write!(f, "{}h", seconds / 3600),
            (_, 0) => write!(f, "{}m", seconds / 60),
            _ => write!(f, "{seconds}s"),
        }
    }
}
