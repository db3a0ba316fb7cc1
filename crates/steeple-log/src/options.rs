//! Which lines are written, and how severe they are.

use std::{collections::HashMap, fmt, time::Duration};

use http::StatusCode;
use steeple_core::{End, Exchange, NameSource};
use steeple_scrub::Scrubber;
use tracing::Level;

use crate::{Log, LogHandle};

/// How exchanges are logged. Made by [`Log::builder`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_log::{Log, RouteOptions};
///
/// let log = Log::builder()
///     .slow_after(Duration::from_millis(300))
///     .warn_on([401, 403, 429])
///     .keep(0.1) // of what went well; failed and slow exchanges always have their line
///     .route("/healthz", RouteOptions::new().keep(0.0))
///     .route("POST /reports", RouteOptions::new().slow_after(Duration::from_secs(30)))
///     .build()?;
/// # Ok::<_, steeple_log::OptionsError>(())
/// ```
#[must_use = "options do nothing until a log is built with them"]
#[derive(Clone, Debug)]
pub struct LogOptions {
    pub(crate) writer: Option<LogHandle>,
    also_events: bool,
    scrubber: Option<Scrubber>,
    slow_after: Duration,
    keep: f64,
    warn_on: Vec<u16>,
    routes: Vec<(String, RouteOptions)>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            writer: None,
            also_events: false,
            scrubber: None,
            slow_after: Rule::default().slow_after,
            keep: Rule::default().keep,
            warn_on: Vec::new(),
            routes: Vec::new(),
        }
    }
}

impl LogOptions {
    /// Writes lines straight into the outputs of a log that was [set up](crate::Logging). Default: lines are `tracing`
    /// events, for whatever subscriber there is.
    pub fn writer(mut self, handle: LogHandle) -> Self {
        self.writer = Some(handle);
        self
    }

    /// Where there is a [writer](Self::writer), hands each line to `tracing` as well: for a layer that exports it.
    /// [`LogGuard::layer`](crate::LogGuard::layer) does not write it a second time.
    pub fn also_events(mut self) -> Self {
        self.also_events = true;
        self
    }

    /// Removes secrets from lines with this scrubber. Default: the writer's, else [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = Some(scrubber);
        self
    }

    /// An exchange that took longer than this is a `warn` line. Default: 1 second.
    ///
    /// Compared to the time to the last byte; for a stream of server-sent events, to the time to the response head.
    pub fn slow_after(mut self, duration: Duration) -> Self {
        self.slow_after = duration;
        self
    }

    /// No exchange is slow.
    pub fn never_slow(mut self) -> Self {
        self.slow_after = Duration::MAX;
        self
    }

    /// Writes this share of the `info` lines, 0 to 1. Default: 1, all of them.
    ///
    /// Decided by chance when the exchange is over. Lines of exchanges that failed, were cancelled or slow, or that a
    /// rule names, are always written. What is left out is counted, see [`Log::sampled_out`].
    pub fn keep(mut self, share: f64) -> Self {
        self.keep = share;
        self
    }

    /// Makes lines of responses with these statuses (400 to 499) `warn`. Default: none, a client's mistakes are `info`.
    pub fn warn_on(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.warn_on.extend(statuses);
        self
    }

    /// Other options for one route, by its template (`/users/{id}`) or gRPC method (`pkg.Service/Method`), with an HTTP
    /// method before it (`GET /users/{id}`) or for all.
    pub fn route(mut self, route: impl Into<String>, options: RouteOptions) -> Self {
        self.routes.push((route.into(), options));
        self
    }

    /// Checks everything and makes the observer.
    ///
    /// # Errors
    /// When a share is not within 0 to 1, or a status not within 400 to 499.
    pub fn build(self) -> Result<Log, OptionsError> {
        let all = Rule { slow_after: self.slow_after, keep: share(self.keep)?, warn_on: statuses(&self.warn_on)? };
        let mut routes: HashMap<Box<str>, Vec<RouteRule>> = HashMap::new();
        for (route, options) in self.routes {
            let (method, target) = match route.split_once(' ') {
                Some((method, target)) => (Some(method.into()), target),
                None => (None, &*route),
            };
            let rule = Rule {
                slow_after: options.slow_after.unwrap_or(all.slow_after),
                keep: options.keep.map_or(Ok(all.keep), share)?,
                warn_on: all.warn_on | statuses(&options.warn_on)?,
            };
            let rules = routes.entry(target.into()).or_default();
            // A rule with a method is more precise and is asked first.
            let place = if method.is_some() { 0 } else { rules.len() };
            rules.insert(place, RouteRule { method, rule });
        }
        let scrubber = match (self.scrubber, &self.writer) {
            (Some(scrubber), _) => scrubber,
            (None, Some(writer)) => writer.shared().scrubber.clone(),
            (None, None) => Scrubber::default(),
        };
        Ok(Log::with_rules(Rules { all, routes }, scrubber, self.writer, self.also_events))
    }
}

/// What is different for one route. What is not said is as for all.
#[must_use = "options do nothing until a log is built with them"]
#[derive(Clone, Debug, Default)]
pub struct RouteOptions {
    slow_after: Option<Duration>,
    keep: Option<f64>,
    warn_on: Vec<u16>,
}

impl RouteOptions {
    /// Everything as for all routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// See [`LogOptions::slow_after`].
    pub fn slow_after(mut self, duration: Duration) -> Self {
        self.slow_after = Some(duration);
        self
    }

    /// This route is never slow: a long poll, a stream.
    pub fn never_slow(mut self) -> Self {
        self.slow_after = Some(Duration::MAX);
        self
    }

    /// See [`LogOptions::keep`].
    pub fn keep(mut self, share: f64) -> Self {
        self.keep = Some(share);
        self
    }

    /// Statuses that make the line `warn`, besides those for all routes. See [`LogOptions::warn_on`].
    pub fn warn_on(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.warn_on.extend(statuses);
        self
    }
}

#[derive(Debug, Default)]
pub(crate) struct Rules {
    all: Rule,
    routes: HashMap<Box<str>, Vec<RouteRule>>,
}

#[derive(Debug)]
struct RouteRule {
    method: Option<Box<str>>,
    rule: Rule,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// [`Duration::MAX`]: never.
    slow_after: Duration,
    keep: f64,
    /// A bit for each of 400 to 499.
    warn_on: u128,
}

impl Default for Rule {
    fn default() -> Self {
        Self { slow_after: Duration::from_secs(1), keep: 1.0, warn_on: 0 }
    }
}

impl Rules {
    pub(crate) fn of(&self, exchange: &Exchange) -> Rule {
        if self.routes.is_empty() {
            return self.all;
        }
        let route = exchange.route();
        let target = match &route {
            Some(route) if !exchange.is_grpc() => route.as_str(),
            _ => exchange.rpc_method().unwrap_or_default(),
        };
        let matching = |rule: &&RouteRule| rule.method.as_deref().is_none_or(|method| method == exchange.method());
        if let Some(found) = self.routes.get(target).and_then(|rules| rules.iter().find(matching)) {
            return found.rule;
        }
        // Stacks without a router have names from rules.
        let name = exchange.name();
        match name.source() {
            NameSource::Custom | NameSource::Rule | NameSource::Unmatched => {
                let rules = self.routes.get(name.target());
                rules.and_then(|rules| rules.iter().find(matching)).map_or(self.all, |found| found.rule)
            }
            NameSource::Rpc | NameSource::Route => self.all,
        }
    }
}

impl Rule {
    /// How severe an exchange's line is.
    pub(crate) fn level(&self, end: &End, is_stream: bool) -> Level {
        if end.is_server_error() && !end.is_unknown_method() {
            Level::ERROR
        } else if end.outcome.is_cancelled()
            || self.is_slow(end, is_stream)
            || end.status.is_some_and(|status| self.warns_on(status))
        {
            Level::WARN
        } else {
            Level::INFO
        }
    }

    fn is_slow(&self, end: &End, is_stream: bool) -> bool {
        let took = if is_stream { end.head_after.unwrap_or(end.duration) } else { end.duration };
        took > self.slow_after
    }

    fn warns_on(&self, status: StatusCode) -> bool {
        bit(status.as_u16()).is_some_and(|bit| self.warn_on & bit != 0)
    }

    /// Whether a line of this level is written. Only what went well is left to chance.
    pub(crate) fn keeps(&self, level: Level) -> bool {
        level < Level::INFO || self.keep >= 1.0 || fastrand::f64() < self.keep
    }
}

fn share(share: f64) -> Result<f64, OptionsError> {
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(OptionsError(Kind::Share(share))) }
}

fn statuses(statuses: &[u16]) -> Result<u128, OptionsError> {
    statuses.iter().try_fold(0, |all, status| Ok(all | bit(*status).ok_or(OptionsError(Kind::Status(*status)))?))
}

fn bit(status: u16) -> Option<u128> {
    let place = status.checked_sub(400).filter(|place| *place < 100)?;
    1_u128.checked_shl(place.into())
}

/// Options that cannot be: retrying does not help.
#[derive(Debug)]
pub struct OptionsError(Kind);

#[derive(Debug)]
enum Kind {
    Share(f64),
    Status(u16),
}

impl OptionsError {
    /// A share is not within 0 to 1.
    pub fn is_share(&self) -> bool {
        matches!(self.0, Kind::Share(_))
    }

    /// A status is not within 400 to 499.
    pub fn is_status(&self) -> bool {
        matches!(self.0, Kind::Status(_))
    }
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Share(share) => write!(f, "the share of lines to keep is {share}; it may be 0 to 1"),
            Kind::Status(status) => write!(f, "a status to warn on is {status}; it may be 400 to 499"),
        }
    }
}

impl std::error::Error for OptionsError {}
