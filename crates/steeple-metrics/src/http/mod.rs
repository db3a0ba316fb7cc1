//! The families about HTTP exchanges.

mod method;
mod read;
mod removed;
mod verb;
mod write;

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};

use steeple_core::{ApdexZone, End, ErrorClass, Exchange, Outcome, RouteId, Routes, Text, TraceContext, clock::nanos};

use self::{
    method::{ERROR_IS_STATUS, Method, Places, REQUESTS, Status, StatusKey},
    verb::{METHODS, Verbs},
};
pub(crate) use self::{read::EachRoute, verb::Verb, write::Scratch};
use crate::{
    folded::{Folded, Label},
    idle::Since,
    layout::Layout,
    names::Names,
    own_labels::OwnLabels,
    route::Measured,
    series::{Labels, Name, OVERFLOW},
    shard::{Cells, Row},
    table::{Room, Table, hash},
};

pub(crate) const UNMATCHED: &str = "unmatched";

/// Versions of HTTP, as OpenTelemetry writes them. The first is for names without a version.
const VERSIONS: [&str; 6] = ["", "1.0", "1.1", "2", "3", "0.9"];

/// A route has room for this many series however full the rest is.
const RESERVED_PER_ROUTE: u32 = 8;

/// What ends up in `http_requests_aborted_total`.
pub(crate) const ABORTS: [Outcome; 5] =
    [Outcome::Cancelled, Outcome::CancelledInBody, Outcome::ServiceError, Outcome::BodyError, Outcome::Panicked];

/// How much there may be of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) routes: usize,
    pub(crate) series: usize,
}

pub(crate) struct Http {
    /// Labels of the application's own; none in most processes.
    own: OwnLabels,
    /// Routes with values of those labels.
    labelled: Room<Route>,
    /// What those had counted that were removed, by route.
    removed: Table<Route>,
    names: Names,
    scheme: Name,
    limits: Limits,
    places: Arc<Places>,
    /// By the method's place and the route's number: how most requests find what they are counted in. Empty where the application
    /// adds labels.
    known: Box<[Routes<Arc<Method>>]>,
    routes: Table<Route>,
    unmatched: Route,
    overflow: Route,
    /// Routes whose texts were made while the program ran.
    made_routes: AtomicUsize,
    series: AtomicUsize,
    /// Held while a series is made.
    making: Mutex<()>,
    in_flight: Cells,
    connections: Cells,
    folded: Arc<Folded>,
    verbs: Verbs,
}

/// What outlives its exchange, or does not end on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    Upgrade = 0,
    Sse = 1,
}

pub(crate) struct Route {
    labels: Arc<RouteLabels>,
    since: Since,
    methods: [OnceLock<Arc<Method>>; METHODS.len()],
    /// Of the application's own methods, from the first request with one of them on.
    own_methods: OnceLock<Box<[OnceLock<Arc<Method>>]>>,
}

/// What the series of a route are called.
struct RouteLabels {
    name: Name,
    /// The application's own labels, with their values.
    extra: Box<[(Name, Name)]>,
    /// How many series it has.
    series: AtomicU32,
}

/// An exchange that is over.
pub(crate) struct Ended<'a> {
    pub(crate) verb: Verb,
    /// The number of its [`route`](Self::route).
    pub(crate) route_id: Option<RouteId>,
    /// Whether its duration is a latency.
    pub(crate) timed: bool,
    pub(crate) options: Option<&'a Measured>,
    /// How its user takes its duration, where that is asked.
    pub(crate) apdex: Option<ApdexZone>,
    pub(crate) trace: Option<&'a TraceContext>,
    pub(crate) exchange: &'a Exchange,
    pub(crate) end: &'a End,
}

impl Ended<'_> {
    /// A rule's name, else the route's template; `None` where none matched. The name that a handler sets is not a label: it may be
    /// anything.
    fn route(&self) -> Option<&Text> {
        self.exchange.rule_name().or_else(|| self.exchange.route())
    }
}

pub(crate) struct HttpOptions {
    pub(crate) own: OwnLabels,
    pub(crate) names: Names,
    pub(crate) scheme: Name,
    pub(crate) limits: Limits,
    pub(crate) latency: Arc<Layout>,
    pub(crate) sizes: Arc<Layout>,
    pub(crate) known_routes: Vec<Name>,
    pub(crate) folded: Arc<Folded>,
    /// Whether series are removed.
    pub(crate) expires: bool,
}

impl Http {
    pub(crate) fn new(options: HttpOptions) -> Self {
        let HttpOptions { own, names, scheme, limits, latency, sizes, known_routes, folded, expires } = options;
        let room = limits.routes.max(known_routes.len());
        let verbs = Verbs::of_process();
        let labelled = Room::new(if own.is_empty() { 0 } else { own.max() }, expires);
        // Of each route, of what matched none, and of what found no room.
        let removed = Table::new(if expires && !own.is_empty() { room.saturating_add(2) } else { 0 });
        let others = own.others();
        let known = if own.is_empty() { verbs.len() } else { 0 };
        let http = Self {
            known: (0..known).map(|_| Routes::new()).collect(),
            own,
            labelled,
            removed,
            names,
            scheme,
            limits: Limits { routes: room, series: limits.series },
            places: Arc::new(Places::new(&latency, &sizes)),
            routes: Table::new(room),
            unmatched: Route::new(UNMATCHED.into(), others.clone()),
            overflow: Route::new(OVERFLOW.into(), others.clone()),
            made_routes: AtomicUsize::new(0),
            series: AtomicUsize::new(0),
            making: Mutex::new(()),
            in_flight: Cells::new(verbs.len()),
            connections: Cells::new(2),
            folded,
            verbs,
        };
        for route in known_routes.into_iter().map(|route| Name::from(http.folded.cut(&route).to_owned())) {
            http.routes.get_or_insert(
                hash([&*route]),
                |other| other.labels.name == route,
                |_| Some(Route::new(route.clone(), others.clone())),
            );
        }
        http
    }

    /// An exchange has begun. What it returns is passed to the end.
    #[inline]
    pub(crate) fn started(&self, method: &str) -> Verb {
        let verb = self.verbs.of(method);
        self.in_flight.add(verb.place(), 1);
        verb
    }

    #[cfg(feature = "otel")]
    pub(crate) fn verb_name(&self, verb: Verb) -> &'static str {
        self.verbs.name(verb)
    }

    #[inline]
    pub(crate) fn left_flight(&self, verb: Verb) {
        self.in_flight.add(verb.place(), 1_u64.wrapping_neg());
    }

    pub(crate) fn opened(&self, kind: Open) {
        self.connections.add(kind as usize, 1);
    }

    pub(crate) fn closed(&self, kind: Open) {
        self.connections.add(kind as usize, 1_u64.wrapping_neg());
    }

    /// Counts an exchange.
    #[inline]
    pub(crate) fn ended(&self, ended: &Ended<'_>) -> CountedAs<'_> {
        if let Some(id) = ended.route_id
            && let Some(method) = self.known.get(ended.verb.place()).and_then(|of_verb| of_verb.get(id))
        {
            // The copy for near rows adds without asking who else does.
            match method.cells.near_row() {
                Some(row) => self.count_in(row, method, ended),
                None => self.count(method, ended),
            }
            return CountedAs(&method.route);
        }
        self.ended_elsewhere(ended)
    }

    /// Counts an exchange whose route and method are not known by their numbers.
    #[inline(never)]
    fn ended_elsewhere(&self, ended: &Ended<'_>) -> CountedAs<'_> {
        let route = self.route(ended);
        if self.own.is_empty() {
            let method = self.method(route, ended.verb);
            // What finds no room is asked for its route each time, and counted.
            if let Some(id) = ended.route_id
                && let Some(of_verb) = self.known.get(ended.verb.place())
                && !std::ptr::eq(route, &raw const self.overflow)
            {
                of_verb.get_or_init(id, || Arc::clone(method));
            }
            self.count(method, ended);
        } else {
            self.count_labelled(route, ended);
        }
        CountedAs(&route.labels)
    }

    #[inline(never)]
    fn count(&self, method: &Method, ended: &Ended<'_>) {
        self.count_in(method.cells.row(), method, ended);
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a copy of it knows that no other thread adds to its row")]
    fn count_in(&self, row: Row<'_>, method: &Method, ended: &Ended<'_>) {
        if let Some(options) = ended.options
            && method.options.get().is_none()
        {
            let _first = method.options.set(options.clone());
        }
        let (end, places) = (ended.end, &*self.places);
        if let Some(bytes) = end.request_body_bytes {
            places.request_size.record_size(row, bytes);
        }
        places.response_size.record_size(row, end.response_body_bytes);
        if end.outcome != Outcome::Completed {
            self.count_abort(method, row, end.outcome);
        }
        let failed = end.is_server_error();
        if failed {
            row.add(places.failures(), 1);
        }
        if let Some(zone) = ended.apdex {
            method.apdex.get_or_init(|| ApdexZone::ALL.map(|zone| method.apdex_labels(zone)));
            row.add(places.apdex(zone), 1);
        }
        let waited = if end.waited.is_zero() { 0 } else { nanos(end.waited) };
        let mut head_cell = 0;
        if ended.timed
            && let Some(head) = end.head_after
        {
            let nanos = nanos(head).saturating_sub(waited);
            head_cell = places.head.record(row, nanos);
            if let Some(trace) = ended.trace {
                method.head_exemplars.offer(&places.head.layout, head_cell, nanos, trace, failed);
            }
        }
        let nanos = nanos(end.duration).saturating_sub(waited);
        let key = self.key(ended);
        if !method.has_in_row(key.packed()) {
            return self.count_status(method, key, ended, nanos, failed);
        }
        row.add(REQUESTS, 1);
        if ended.timed {
            // Not before the head, and mostly right after it.
            let cell = places.duration.record_from(row, nanos, head_cell);
            if let Some(trace) = ended.trace
                && let Some(status) = method.first()
            {
                status.exemplars.offer(&places.duration.layout, cell, nanos, trace, failed);
            }
        }
    }

    #[cold]
    fn count_abort(&self, method: &Method, row: Row<'_>, outcome: Outcome) {
        if let Some(abort) = ABORTS.iter().position(|abort| *abort == outcome) {
            row.add(self.places.abort(abort), 1);
            if let Some(labels) = method.aborts.get(abort) {
                labels.get_or_init(|| method.abort_labels(outcome));
            }
        }
    }

    /// Counts a status that is not the method's first, or that is not there yet.
    #[inline(never)]
    fn count_status(&self, method: &Method, key: StatusKey, ended: &Ended<'_>, nanos: u64, failed: bool) {
        let Some(status) = method.find(key.packed()).or_else(|| self.make_status(method, key)) else { return };
        let row = status.cells(method).row();
        row.add(REQUESTS, 1);
        if ended.timed {
            let cell = status.duration.record(row, nanos);
            if let Some(trace) = ended.trace {
                status.exemplars.offer(&status.duration.layout, cell, nanos, trace, failed);
            }
        }
    }

    #[cfg(feature = "otel")]
    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    #[inline]
    fn key(&self, ended: &Ended<'_>) -> StatusKey {
        if self.names.has_otel() {
            return Self::otel_key(ended);
        }
        StatusKey { status: ended.end.status_code(), sent: true, error: 0, version: 0 }
    }

    #[inline(never)]
    fn otel_key(ended: &Ended<'_>) -> StatusKey {
        let status = ended.end.status_code();
        let error = match ended.end.error_class() {
            None => 0,
            Some(ErrorClass::Outcome(outcome)) => {
                let place = Outcome::ALL.iter().position(|other| *other == outcome);
                place.and_then(|place| u8::try_from(place.saturating_add(1)).ok()).unwrap_or(0)
            }
            Some(ErrorClass::Grpc(_) | ErrorClass::Status(_)) => ERROR_IS_STATUS,
        };
        let version = VERSIONS.iter().position(|version| *version == ended.exchange.version_str());
        let version = version.and_then(|place| u8::try_from(place).ok()).unwrap_or(0);
        StatusKey { status, sent: ended.end.status.is_some(), error, version }
    }

    fn route(&self, ended: &Ended<'_>) -> &Route {
        let Some(text) = ended.route() else { return &self.unmatched };
        let name = text.as_str();
        if name.len() <= self.folded.max_value()
            && let Some(route) = self.routes.get(hash([name]), |route| route.labels.name == name)
        {
            return route;
        }
        self.new_route(text)
    }

    #[cold]
    fn new_route(&self, text: &Text) -> &Route {
        // Texts that are made while the program runs have half of the room, so that no stream of made-up ones ever
        // shuts out a route that the router was built with. Looked at first, so that such a stream takes no lock.
        let fixed = text.is_fixed();
        let made_up_to = self.limits.routes / 2;
        if !self.routes.is_full() && (fixed || self.made_routes.load(Relaxed) < made_up_to) {
            // A text known at compile time is the author's. A text made at run time may contain anything.
            let shown = if fixed { self.folded.cut(text.as_str()).into() } else { self.folded.shown(text.as_str()) };
            let name = &*shown;
            let made = self.routes.get_or_insert(
                hash([name]),
                |route| route.labels.name == name,
                |_| {
                    if !fixed && self.made_routes.fetch_add(1, Relaxed) >= made_up_to {
                        return None;
                    }
                    Some(Route::new(name.to_owned().into(), self.own.others()))
                },
            );
            if let Some(route) = made {
                return route;
            }
        }
        self.folded.fold(Label::Route);
        &self.overflow
    }

    /// Counts under the route with the values that this exchange has of the application's own labels. Where there is no room for them,
    /// under the route itself, whose values are `_OTHER`: its room is reserved.
    #[cold]
    fn count_labelled(&self, route: &Route, ended: &Ended<'_>) {
        let name = &route.labels.name;
        let values = self.own.values(ended.exchange, &self.folded);
        let key = || hash([&**name].into_iter().chain(values.iter().map(|(_, value)| &**value)));
        let is = |other: &Route| other.labels.name == *name && *other.labels.extra == *values;
        self.labelled.with(|table| {
            let make = |_| Some(Route::new(name.clone(), values.clone()));
            let labelled = table.get(key(), is).or_else(|| table.get_or_insert(key(), is, make));
            if labelled.is_none() {
                self.folded.fold(Label::Own);
            }
            self.count(self.method(labelled.unwrap_or(route), ended.verb), ended);
        });
    }

    fn method<'a>(&self, route: &'a Route, verb: Verb) -> &'a Arc<Method> {
        let [.., other] = &route.methods;
        let slot = match route.methods.get(verb.place()) {
            Some(slot) => slot,
            None => route.own_method(verb, self.verbs.own()).unwrap_or(other),
        };
        slot.get_or_init(|| Arc::new(Method::new(&route.labels, self.verbs.name(verb), self)))
    }

    #[cold]
    fn make_status<'a>(&self, method: &'a Method, key: StatusKey) -> Option<&'a Status> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let of_route = method.route.series.load(Relaxed);
        let has_room = self.series.load(Relaxed) < self.limits.series || of_route < RESERVED_PER_ROUTE;
        method.find_or_make(key, has_room, self)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        let sum = (0..self.verbs.len()).fold(0_u64, |sum, method| sum.wrapping_add(self.in_flight.sum(method)));
        not_negative(sum)
    }
}

/// A gauge that one thread raised and another lowered can be read in between.
fn not_negative(value: u64) -> u64 {
    if value > u64::MAX / 2 { 0 } else { value }
}

/// What an exchange was counted as.
pub(crate) struct CountedAs<'a>(
    #[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only the SDK uses it"))] &'a Arc<RouteLabels>,
);

#[cfg(feature = "otel")]
impl<'a> CountedAs<'a> {
    /// The route. `None` where none matched.
    pub(crate) fn route(self) -> Option<&'a str> {
        let name = &*self.0.name;
        (name != UNMATCHED).then_some(name)
    }
}

impl Route {
    fn new(name: Name, extra: Box<[(Name, Name)]>) -> Self {
        Self {
            labels: Arc::new(RouteLabels { name, extra, series: AtomicU32::new(0) }),
            since: Since::default(),
            methods: [const { OnceLock::new() }; METHODS.len()],
            own_methods: OnceLock::new(),
        }
    }

    /// What is kept of each method with which there was a request.
    fn made_methods(&self) -> impl Iterator<Item = &Method> {
        let own = self.own_methods.get().into_iter().flatten();
        self.methods.iter().chain(own).filter_map(|method| Some(&**method.get()?))
    }

    #[cold]
    fn own_method(&self, verb: Verb, count: usize) -> Option<&OnceLock<Arc<Method>>> {
        self.own_methods.get_or_init(|| (0..count).map(|_| OnceLock::new()).collect()).get(verb.own_place())
    }
}

impl RouteLabels {
    /// These labels, and the application's own.
    fn with<const N: usize>(&self, labels: [(Name, Name); N]) -> Labels {
        Labels::new(labels.into_iter().chain(self.extra.iter().cloned()))
    }
}
