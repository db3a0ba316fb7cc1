//! Which exchanges become transactions: by route, by environment, by what the caller decided.

use std::sync::Arc;

use steeple_core::{Exchange, RouteError, RouteOptions, RoutePolicy, RouteSettings};

use crate::BuildError;

/// What counts of the caller's decision on a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parent {
    /// What the caller decided holds: `sentry-trace` with `-1` or `-0`, or a `traceparent` that is sampled.
    #[default]
    Decides,
    /// What the caller decided is ignored: for services that anybody can call, who could else ask for every trace.
    Ignored,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) default: Option<f64>,
    pub(crate) environments: Vec<(String, f64)>,
    pub(crate) routes: Vec<(String, RouteOptions)>,
    pub(crate) parent: Parent,
}

impl Rates {
    /// The options of single routes, if they are valid.
    pub(crate) fn routes(&self) -> Result<Arc<RouteSettings<RoutePolicy>>, BuildError> {
        let routes = self.routes.iter().map(|(route, options)| Ok((route, options.clone().build()?)));
        let routes = routes.collect::<Result<Vec<_>, RouteError>>().map_err(BuildError::route)?;
        Ok(Arc::new(RouteSettings::new(routes)))
    }

    /// Settles which rate holds in this environment.
    pub(crate) fn build(
        self,
        environment: &str,
        routes: &Arc<RouteSettings<RoutePolicy>>,
    ) -> Result<Option<Sampler>, BuildError> {
        let all = self.default.iter().map(|rate| ("transactions", rate));
        let all = all.chain(self.environments.iter().map(|(of, rate)| (of.as_str(), rate)));
        if let Some((of, rate)) = all.into_iter().find(|(_, rate)| !(0.0..=1.0).contains(*rate)) {
            return Err(BuildError::rate(of.to_owned(), *rate));
        }
        let here = self.environments.iter().find(|(name, _)| name == environment).map(|(_, rate)| *rate);
        let default = here.or(self.default);
        let rates = |routes: &RouteSettings<RoutePolicy>| {
            routes.iter().filter_map(RoutePolicy::trace_sample_ratio).fold(0.0, f64::max)
        };
        let max = rates(routes).max(default.unwrap_or(0.0));
        // A route that is only left out does not turn tracing on.
        let off = default.is_none() && max <= 0.0;
        let (default, routes) = (default.unwrap_or(0.0), Arc::clone(routes));
        Ok((!off).then_some(Sampler { default, max, routes, parent: self.parent }))
    }
}

/// Decides with one number per exchange, so that a name that is learned later only narrows the first decision.
#[derive(Debug)]
pub(crate) struct Sampler {
    default: f64,
    max: f64,
    routes: Arc<RouteSettings<RoutePolicy>>,
    pub(crate) parent: Parent,
}

/// What was decided on one exchange.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decision {
    /// From 0 to below 1: the lower, the rarer it has to be left out.
    pub(crate) random: f64,
    /// What the caller decided.
    pub(crate) parent: Option<bool>,
}

impl Sampler {
    /// The rate of routes without another one.
    pub(crate) const fn general(&self) -> f64 {
        self.default
    }

    /// The rate for this name.
    pub(crate) fn rate(&self, exchange: &Exchange) -> f64 {
        self.routes.of(exchange).and_then(RoutePolicy::trace_sample_ratio).unwrap_or(self.default)
    }

    /// Whether to record at all. Where routes have other rates, the route may not be known yet: then the highest counts.
    pub(crate) fn may_sample(&self, exchange: &Exchange, decision: Decision) -> bool {
        let rate = if self.routes.is_empty() || exchange.route().is_some() || exchange.is_grpc() {
            self.rate(exchange)
        } else {
            self.max
        };
        decision.holds(self.parent, rate)
    }

    /// Whether to send, now that the name is final. Also the rate that was applied.
    pub(crate) fn samples(&self, exchange: &Exchange, decision: Decision) -> Option<f64> {
        let rate = self.rate(exchange);
        decision.holds(self.parent, rate).then_some(rate)
    }
}

impl Decision {
    fn holds(self, parent: Parent, rate: f64) -> bool {
        match (parent, self.parent) {
            // A rate of 0 is the owner's no: health checks stay out whatever a caller asks for.
            (Parent::Decides, Some(decided)) => decided && rate > 0.0,
            (Parent::Decides, None) | (Parent::Ignored, _) => self.random < rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(default: f64, routes: &[(&str, f64)], parent: Parent) -> Sampler {
        let of = |rate: f64| RouteOptions::new().trace_sample_ratio(rate);
        let routes = routes.iter().map(|(route, rate)| ((*route).to_owned(), of(*rate))).collect();
        let rates = Rates { default: Some(default), routes, parent, ..Rates::default() };
        built(rates, "production").unwrap().unwrap()
    }

    fn built(rates: Rates, environment: &str) -> Result<Option<Sampler>, BuildError> {
        let routes = rates.routes()?;
        rates.build(environment, &routes)
    }

    #[track_caller]
    fn check(sampler: &Sampler, route: &'static str, random: f64, parent: Option<bool>, want: bool) {
        let exchange = Exchange::detached();
        let decision = Decision { random, parent };
        let before = sampler.may_sample(&exchange, decision);
        exchange.report_route(route);
        let sent = sampler.samples(&exchange, decision).is_some();
        assert_eq!(sent, want);
        assert!(before || !sent, "what is sent was recorded from the start");
    }

    #[test]
    fn a_route_with_its_own_rate_is_sampled_by_it() {
        let sampler = sampler(0.1, &[("/health", 0.0), ("/pay", 1.0)], Parent::Decides);
        check(&sampler, "/health", 0.0, None, false);
        check(&sampler, "/pay", 0.99, None, true);
        check(&sampler, "/other", 0.05, None, true);
        check(&sampler, "/other", 0.2, None, false);
    }

    #[test]
    fn the_callers_decision_holds_unless_it_is_ignored_or_the_rate_is_zero() {
        let decides = sampler(0.1, &[("/health", 0.0)], Parent::Decides);
        check(&decides, "/other", 0.9, Some(true), true);
        check(&decides, "/other", 0.0, Some(false), false);
        check(&decides, "/health", 0.0, Some(true), false);
        let ignored = sampler(0.1, &[], Parent::Ignored);
        check(&ignored, "/other", 0.9, Some(true), false);
        check(&ignored, "/other", 0.0, Some(false), true);
    }

    #[test]
    fn the_environment_picks_the_rate_and_a_bad_rate_is_refused() {
        let rates = Rates { default: Some(1.0), environments: vec![("production".into(), 0.0)], ..Rates::default() };
        check(&built(rates.clone(), "production").unwrap().unwrap(), "/", 0.0, None, false);
        check(&built(rates, "staging").unwrap().unwrap(), "/", 0.9, None, true);
        assert!(built(Rates::default(), "production").unwrap().is_none(), "no rate: no tracing");
        let bad = Rates { default: Some(1.5), ..Rates::default() };
        assert!(built(bad, "production").unwrap_err().is_rate());
        let bad =
            Rates { routes: vec![("/x".into(), RouteOptions::new().trace_sample_ratio(1.5))], ..Rates::default() };
        assert!(built(bad, "production").unwrap_err().is_rate());
    }
}
