//! Reads the counts and durations of routes: for readings, indicators and rules.

use std::{collections::HashMap, sync::OnceLock};

use super::{Http, Method, Route, UNMATCHED};
use crate::{
    Objective,
    indicator::{Counts, RouteReading, Sum},
    series::{Name, OVERFLOW},
    table::hash,
};

/// Takes a route: its method, its name, its counts, and a function that adds its durations up.
pub(crate) type EachRoute<'a> = dyn FnMut(&'static str, &Name, &Counts, &dyn Fn(&mut Sum<'_>)) + 'a;

impl Http {
    pub(super) fn methods(&self) -> impl Iterator<Item = (&Route, &Method)> {
        let plain = [&self.unmatched].into_iter().chain(self.routes.iter()).chain([&self.overflow]);
        let routes = plain.chain(self.labelled.iter());
        routes.flat_map(|route| {
            let own = route.own_methods.get().into_iter().flatten();
            route.methods.iter().chain(own).filter_map(move |method| Some((route, &**method.get()?)))
        })
    }

    /// Adds all routes up: counts into `to`, durations into `sum`.
    pub(crate) fn read_totals(&self, sum: &mut Sum<'_>, to: &mut Counts) {
        for (_, method) in self.methods() {
            to.add(&method.counts());
            method.durations(sum);
        }
    }

    /// Methods of routes, each with all that differ in the application's own labels alone.
    fn by_route(&self) -> Vec<(&Route, Vec<&Method>)> {
        let mut all: Vec<(&Route, Vec<&Method>)> = Vec::new();
        let mut places = HashMap::new();
        for (route, method) in self.methods() {
            let place = *places.entry((&route.name, method.verb)).or_insert(all.len());
            match all.get_mut(place) {
                Some((_, methods)) => methods.push(method),
                None => all.push((route, vec![method])),
            }
        }
        all
    }

    /// One route: its counts, with its durations in `sum`. `None`: it has had no request.
    pub(crate) fn read_route(&self, method: &str, route: &str, sum: &mut Sum<'_>) -> Option<Counts> {
        if !self.own.is_empty() {
            let mut found = self.methods().filter(|(of, made)| *of.name == *route && made.verb == method).peekable();
            found.peek()?;
            let mut counts = Counts::default();
            for (_, method) in found {
                method.durations(sum);
                counts.add(&method.counts());
            }
            return Some(counts);
        }
        let route = match route {
            UNMATCHED => &self.unmatched,
            OVERFLOW => &self.overflow,
            route => self.routes.get(hash([route]), |other| other.name == route)?,
        };
        let own = route.own_methods.get().into_iter().flatten();
        let method = route.methods.iter().chain(own).filter_map(OnceLock::get).find(|found| found.verb == method)?;
        method.durations(sum);
        Some(method.counts())
    }

    /// Calls `each` with every route: its method, its name, its counts, and what adds its durations up.
    pub(crate) fn each_route(&self, each: &mut EachRoute<'_>) {
        if self.own.is_empty() {
            for (route, method) in self.methods() {
                each(method.verb, &route.name, &method.counts(), &|sum| method.durations(sum));
            }
            return;
        }
        for (route, methods) in self.by_route() {
            let Some(first) = methods.first() else { continue };
            let durations = |sum: &mut Sum<'_>| {
                for method in &methods {
                    method.durations(sum);
                }
            };
            each(first.verb, &route.name, &total(&methods), &durations);
        }
    }

    /// What there is now, by method and route.
    pub(crate) fn read_routes(&self, sum: &mut Sum<'_>, out: &mut Vec<RouteReading>) {
        for (route, methods) in self.by_route() {
            let Some(first) = methods.first() else { continue };
            sum.clear();
            for method in &methods {
                method.durations(sum);
            }
            let counts = Counts { latency: sum.latency(), ..total(&methods) };
            let statuses = methods.iter().flat_map(|method| method.statuses());
            let exemplars = statuses.flat_map(|(_, status)| status.exemplars.read(status.key.status));
            let objective = methods.iter().find_map(|method| method.options.get()?.objective());
            out.push(RouteReading::new(first.verb, route.name.clone(), counts, exemplars.collect(), objective));
        }
    }

    /// The objectives of routes that have one.
    pub(crate) fn objectives(&self) -> impl Iterator<Item = (&'static str, &str, &Objective)> {
        self.by_route().into_iter().filter_map(|(route, methods)| {
            let objective = methods.iter().find_map(|method| method.options.get()?.objective())?;
            Some((methods.first()?.verb, &*route.name, objective))
        })
    }
}

/// Counts of several, added up.
fn total(methods: &[&Method]) -> Counts {
    let mut counts = Counts::default();
    for method in methods {
        counts.add(&method.counts());
    }
    counts
}
