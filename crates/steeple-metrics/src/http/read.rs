//! Reads the counts and durations of routes: for readings, indicators and rules.

use std::collections::HashMap;

use super::{Http, Method, Route, UNMATCHED};
use crate::{
    Objective,
    indicator::{Counts, RouteReading, Sum},
    series::{Name, OVERFLOW},
    table::{Table, hash},
};

/// Takes a route: its method, its name, its counts, and a function that adds its durations up.
pub(crate) type EachRoute<'a> = dyn FnMut(&'static str, &Name, &Counts, &dyn Fn(&mut Sum<'_>)) + 'a;

impl Http {
    /// The methods of all routes, those with the application's own labels among them. Without what was removed.
    pub(super) fn shown<'a>(&'a self, labelled: &'a Table<Route>) -> impl Iterator<Item = (&'a Route, &'a Method)> {
        let plain = [&self.unmatched].into_iter().chain(self.routes.iter()).chain([&self.overflow]);
        let routes = plain.chain(labelled.iter());
        routes.flat_map(|route| route.made_methods().map(move |method| (route, method)))
    }

    /// The same, with what was removed.
    fn methods<'a>(&'a self, labelled: &'a Table<Route>) -> impl Iterator<Item = (&'a Route, &'a Method)> {
        let removed = self.removed.iter().flat_map(|route| route.made_methods().map(move |method| (route, method)));
        self.shown(labelled).chain(removed)
    }

    /// Adds all routes up: counts into `to`, durations into `sum`.
    pub(crate) fn read_totals(&self, sum: &mut Sum<'_>, to: &mut Counts) {
        self.labelled.with(|labelled| {
            for (_, method) in self.methods(labelled) {
                to.add(&method.counts());
                method.durations(sum);
            }
        });
    }

    /// Methods of routes, each with all that differ in the application's own labels alone.
    fn by_route<'a>(&'a self, labelled: &'a Table<Route>) -> Vec<(&'a Route, Vec<&'a Method>)> {
        let mut all: Vec<(&Route, Vec<&Method>)> = Vec::new();
        let mut places = HashMap::new();
        for (route, method) in self.methods(labelled) {
            let place = *places.entry((&route.labels.name, method.verb)).or_insert(all.len());
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
            return self.labelled.with(|labelled| {
                let is_it = |(of, made): &(&Route, &Method)| *of.labels.name == *route && made.verb == method;
                let mut found = self.methods(labelled).filter(is_it).peekable();
                found.peek()?;
                let mut counts = Counts::default();
                for (_, method) in found {
                    method.durations(sum);
                    counts.add(&method.counts());
                }
                Some(counts)
            });
        }
        let route = match route {
            UNMATCHED => &self.unmatched,
            OVERFLOW => &self.overflow,
            route => self.routes.get(hash([route]), |other| other.labels.name == route)?,
        };
        let method = route.made_methods().find(|found| found.verb == method)?;
        method.durations(sum);
        Some(method.counts())
    }

    /// Calls `each` with every route: its method, its name, its counts, and what adds its durations up.
    pub(crate) fn each_route(&self, each: &mut EachRoute<'_>) {
        self.labelled.with(|labelled| {
            if self.own.is_empty() {
                for (route, method) in self.methods(labelled) {
                    each(method.verb, &route.labels.name, &method.counts(), &|sum| method.durations(sum));
                }
                return;
            }
            for (route, methods) in self.by_route(labelled) {
                let Some(first) = methods.first() else { continue };
                let durations = |sum: &mut Sum<'_>| {
                    for method in &methods {
                        method.durations(sum);
                    }
                };
                each(first.verb, &route.labels.name, &total(&methods), &durations);
            }
        });
    }

    /// What there is now, by method and route.
    pub(crate) fn read_routes(&self, sum: &mut Sum<'_>, out: &mut Vec<RouteReading>) {
        self.labelled.with(|labelled| {
            for (route, methods) in self.by_route(labelled) {
                let Some(first) = methods.first() else { continue };
                sum.clear();
                for method in &methods {
                    method.durations(sum);
                }
                let counts = Counts { latency: sum.latency(), ..total(&methods) };
                let statuses = methods.iter().flat_map(|method| method.statuses());
                let exemplars = statuses.flat_map(|(_, status)| status.exemplars.read(status.key.status));
                let objective = methods.iter().find_map(|method| method.options.get()?.objective());
                out.push(RouteReading::new(
                    first.verb,
                    route.labels.name.clone(),
                    counts,
                    exemplars.collect(),
                    objective,
                ));
            }
        });
    }

    /// The objectives of routes that have one.
    pub(crate) fn objectives(&self) -> Vec<(&'static str, Name, Objective)> {
        self.labelled.with(|labelled| {
            let all = self.by_route(labelled).into_iter().filter_map(|(route, methods)| {
                let objective = methods.iter().find_map(|method| method.options.get()?.objective())?;
                Some((methods.first()?.verb, route.labels.name.clone(), objective.clone()))
            });
            all.collect()
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
