//! Routes with values of the application's own labels that are removed, since nothing counts in them any more: others get their room,
//! and what they had counted stays in the totals of the process.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::{ABORTS, Http, Method, REQUESTS, Route, Status};
use crate::table::hash;

impl Http {
    /// Removes those that have counted nothing for so long.
    pub(super) fn remove_idle(&self, after: Duration, now: Instant) {
        self.labelled.remove(|route| route.since.is_idle(route.requests(), after, now), |route| self.keep(&route));
    }

    /// What a route had counted that is removed stays in the route's totals.
    fn keep(&self, route: &Route) {
        let of_route = |other: &Route| other.name == route.name;
        let make = |_| Some(Route::new(route.name.clone(), self.own.others()));
        let Some(kept) = self.removed.get_or_insert(hash([&*route.name]), of_route, make) else { return };
        self.series.fetch_sub(route.series.load(Relaxed) as usize, Relaxed);
        for (place, method) in route.methods.iter().enumerate().filter_map(|(place, slot)| Some((place, slot.get()?))) {
            if let Some(slot) = kept.methods.get(place) {
                slot.get_or_init(|| Box::new(Method::new(kept, method.verb, self))).keep(kept, method, self);
            }
        }
        for (place, method) in route.own_methods.get().into_iter().flatten().enumerate() {
            let Some(method) = method.get() else { continue };
            let slots = kept.own_methods.get_or_init(|| (0..self.verbs.own()).map(|_| OnceLock::new()).collect());
            if let Some(slot) = slots.get(place) {
                slot.get_or_init(|| Box::new(Method::new(kept, method.verb, self))).keep(kept, method, self);
            }
        }
    }
}

impl Route {
    /// How many requests it has counted.
    fn requests(&self) -> u64 {
        let statuses = self.made_methods().flat_map(Method::statuses);
        statuses.fold(0, |sum: u64, (_, status)| sum.wrapping_add(status.cells.sum(REQUESTS)))
    }
}

impl Method {
    /// Adds what the same method of a route with other labels has counted.
    fn keep(&self, route: &Route, other: &Self, http: &Http) {
        self.cells.add_all(&other.cells);
        for ((own, other), outcome) in self.aborts.iter().zip(&other.aborts).zip(ABORTS) {
            if other.get().is_some() {
                own.get_or_init(|| self.abort_labels(route, outcome));
            }
        }
        if let Some(options) = other.options.get() {
            self.options.get_or_init(|| options.clone());
        }
        for (_, status) in other.statuses() {
            // Those of one status have one set of buckets; where they differ, each has its place.
            let is_same =
                |own: &Status| own.key == status.key && Arc::ptr_eq(&own.duration.layout, &status.duration.layout);
            let slot = self.statuses.iter().find(|slot| slot.get().is_none_or(|own| is_same(own)));
            if let Some(slot) = slot.or(self.statuses.last()) {
                let layout = Arc::clone(&status.duration.layout);
                slot.get_or_init(|| Box::new(Status::new(route, self, status.key, layout, http)))
                    .cells
                    .add_all(&status.cells);
            }
        }
    }
}
