//! Which exchanges have a line, and how severe it is.

use std::{borrow::Cow, time::Duration};

use http::StatusCode;
use steeple_core::{End, Exchange, RouteOptions, RoutePolicy, RouteSettings, Signal};
use tracing::Level;

use crate::BuildError;

/// What decides whether an exchange has a line, and of which level.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    all: Rule,
    routes: RouteSettings<Rule>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// [`Duration::MAX`]: never.
    slow_after: Duration,
    sample_ratio: f64,
    /// A bit for each of 400 to 499.
    warn_on: u128,
    skip: bool,
}

impl Default for Rule {
    fn default() -> Self {
        Self { slow_after: Duration::from_secs(1), sample_ratio: 1.0, warn_on: 0, skip: false }
    }
}

/// Settings of rules that are not checked yet.
#[derive(Clone, Debug)]
pub(crate) struct RuleSettings {
    pub(crate) slow_after: Duration,
    pub(crate) sample_ratio: f64,
    pub(crate) warn_on: Vec<u16>,
    pub(crate) routes: Vec<(String, RouteOptions)>,
}

impl Default for RuleSettings {
    fn default() -> Self {
        let Rule { slow_after, sample_ratio, .. } = Rule::default();
        Self { slow_after, sample_ratio, warn_on: Vec::new(), routes: Vec::new() }
    }
}

impl RuleSettings {
    pub(crate) fn build(&self) -> Result<Rules, BuildError> {
        let (slow_after, sample_ratio) = (self.slow_after, ratio(self.sample_ratio)?);
        let all = Rule { slow_after, sample_ratio, warn_on: statuses(&self.warn_on)?, skip: false };
        let rule = |options: &RouteOptions| Ok(all.with(&options.clone().build().map_err(BuildError::route)?));
        let routes = self.routes.iter().map(|(route, options)| Ok((route, rule(options)?)));
        let routes = RouteSettings::new(routes.collect::<Result<Vec<_>, BuildError>>()?);
        Ok(Rules { all, routes })
    }
}

impl Rules {
    pub(crate) fn of(&self, exchange: &Exchange) -> Cow<'_, Rule> {
        let rule = self.routes.of(exchange).unwrap_or(&self.all);
        match RoutePolicy::of(exchange) {
            Some(applied) => Cow::Owned(rule.with(&applied)),
            None => Cow::Borrowed(rule),
        }
    }
}

impl Rule {
    /// This rule where a route sets nothing else.
    fn with(&self, route: &RoutePolicy) -> Self {
        Self {
            slow_after: route.slow_after().unwrap_or(self.slow_after),
            sample_ratio: route.log_sample_ratio().unwrap_or(self.sample_ratio),
            warn_on: route.warn_on().iter().filter_map(|status| bit(*status)).fold(self.warn_on, |all, bit| all | bit),
            skip: self.skip || route.skips(Signal::Log),
        }
    }

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

    /// Whether the route has no lines.
    pub(crate) fn skips(&self) -> bool {
        self.skip
    }

    /// Whether a line of this level is written. Only what went well is left to chance.
    pub(crate) fn samples(&self, level: Level) -> bool {
        level < Level::INFO || self.sample_ratio >= 1.0 || fastrand::f64() < self.sample_ratio
    }
}

fn ratio(ratio: f64) -> Result<f64, BuildError> {
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err(BuildError::ratio(ratio)) }
}

fn statuses(statuses: &[u16]) -> Result<u128, BuildError> {
    statuses.iter().try_fold(0, |all, status| Ok(all | bit(*status).ok_or_else(|| BuildError::status(*status))?))
}

fn bit(status: u16) -> Option<u128> {
    let place = status.checked_sub(400).filter(|place| *place < 100)?;
    1_u128.checked_shl(place.into())
}
