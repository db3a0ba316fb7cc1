//! Routes with values of the application's own labels that are removed, since nothing counts in them any more: others get their room,
//! and what they had counted stays in the totals of the process.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::{Http, Method, Route};
use crate::table::hash;

impl Http {
    /// Removes those that have counted nothing for so long.
    pub(super) fn remove_idle(&self, after: Duration, now: Instant) {
        self.labelled.remove(|route| route.since.is_idle(route.requests(), after, now), |route| self.keep(&route));
    }

    /// What a route had counted that is removed stays in the route's totals.
    fn keep(&self, route: &Route) {
        let name = &route.labels.name;
        let of_route = |other: &Route| other.labels.name == *name;
        let make = |_| Some(Route::new(name.clone(), self.own.others()));
        let Some(kept) = self.removed.get_or_insert(hash([&**name]), of_route, make) else { return };
        self.series.fetch_sub(route.labels.series.load(Relaxed) as usize, Relaxed);
        for (place, method) in route.methods.iter().enumerate().filter_map(|(place, slot)| Some((place, slot.get()?))) {
            if let Some(slot) = kept.methods.get(place) {
                self.keep_method(kept, slot, method);
            }
        }
        for (place, method) in route.own_methods.get().into_iter().flatten().enumerate() {
            let Some(method) = method.get() else { continue };
            let slots = kept.own_methods.get_or_init(|| (0..self.verbs.own()).map(|_| OnceLock::new()).collect());
            if let Some(slot) = slots.get(place) {
                self.keep_method(kept, slot, method);
            }
        }
    }

    fn keep_method(&self, kept: &Route, slot: &OnceLock<Arc<Method>>, method: &Method) {
        slot.get_or_init(|| Arc::new(Method::new(&kept.labels, method.verb, self))).add_all(method, self);
    }
}

impl Route {
    /// How many requests it has counted.
    fn requests(&self) -> u64 {
        self.made_methods().fold(0, |sum: u64, method| sum.wrapping_add(method.requests()))
    }
}
