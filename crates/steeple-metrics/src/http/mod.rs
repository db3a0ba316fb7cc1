//! The families about HTTP exchanges.

mod read;
mod removed;
mod verb;
mod write;

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed},
};

use steeple_core::{ApdexZone, End, ErrorClass, Exchange, Outcome, RouteId, Routes, Text, TraceContext, clock::nanos};

use self::verb::{METHODS, Verbs};
pub(crate) use self::{read::EachRoute, verb::Verb, write::Scratch};
use crate::{
    folded::{Folded, Label},
    idle::Since,
    indicator::{Counts, Sum},
    layout::Layout,
    names::Names,
    own_labels::OwnLabels,
    route::Measured,
    series::{Exemplars, HistogramPlace, Labels, Name, OVERFLOW},
    shard::Cells,
    table::{Room, Table, hash},
};

pub(crate) const UNMATCHED: &str = "unmatched";

/// Versions of HTTP, as OpenTelemetry writes them. The first is for names without a version.
const VERSIONS: [&str; 6] = ["", "1.0", "1.1", "2", "3", "0.9"];

/// Most series of one method and route; the last is for what does not fit.
const SERIES_PER_METHOD: usize = 40;

/// A route has room for this many series however full the rest is.
const RESERVED_PER_ROUTE: u32 = 8;

/// What ends up in `http_requests_aborted_total`.
pub(crate) const ABORTS: [Outcome; 5] =
    [Outcome::Cancelled, Outcome::CancelledInBody, Outcome::ServiceError, Outcome::BodyError, Outcome::Panicked];

/// The cell of [`Method`] after those of aborts: what failed for a reason on the server's side.
const FAILURES: usize = ABORTS.len();

/// The cells of [`Method`] after that: one for each zone of Apdex.
const APDEX: usize = FAILURES + 1;

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
    latency: Arc<Layout>,
    sizes: Arc<Layout>,
    routes: Table<Route>,
    /// Where in the table a route is, by its number.
    places: Routes<usize>,
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
    name: Name,
    /// The application's own labels, with their values.
    extra: Box<[(Name, Name)]>,
    /// How many series it has.
    series: AtomicU32,
    since: Since,
    methods: [OnceLock<Box<Method>>; METHODS.len()],
    /// Of the application's own methods, from the first request with one of them on.
    own_methods: OnceLock<Box<[OnceLock<Box<Method>>]>>,
}

/// The series of one method of one route.
pub(crate) struct Method {
    verb: &'static str,
    labels: Labels,
    otel_sizes: OnceLock<Labels>,
    aborts: [OnceLock<Labels>; ABORTS.len()],
    /// From the first request on that had a threshold.
    apdex: OnceLock<[Labels; ApdexZone::ALL.len()]>,
    /// From here on its series get this route's own buckets.
    options: OnceLock<Measured>,
    cells: Cells,
    head: HistogramPlace,
    request_size: HistogramPlace,
    response_size: HistogramPlace,
    head_exemplars: Exemplars,
    statuses: [OnceLock<Box<Status>>; SERIES_PER_METHOD],
}

/// A status of a method of a route: where requests are counted and timed.
struct Status {
    key: StatusKey,
    labels: Labels,
    otel: Option<Labels>,
    cells: Cells,
    duration: HistogramPlace,
    exemplars: Exemplars,
}

/// The key of a series within one method and route.
#[derive(Clone, Copy, PartialEq, Eq)]
struct StatusKey {
    /// 0 for what does not fit.
    status: u16,
    /// Whether the status was sent, or stands for one that was not.
    sent: bool,
    /// 0: none; then the outcomes; then the status itself. Only with OpenTelemetry's names.
    error: u8,
    /// A place in [`VERSIONS`]; a number, as comparing two empty texts costs more than all else here. Only with
    /// OpenTelemetry's names.
    version: u8,
}

const OVERFLOW_KEY: StatusKey = StatusKey { status: 0, sent: true, error: 0, version: 0 };
const ERROR_IS_STATUS: u8 = 255;

/// The one cell of [`Status`] before its histogram.
const REQUESTS: usize = 0;

/// An exchange that is over.
pub(crate) struct Ended<'a> {
    pub(crate) verb: Verb,
    /// `None`: unmatched.
    pub(crate) route: Option<&'a Text>,
    /// The number of that text.
    pub(crate) route_id: Option<RouteId>,
    pub(crate) version: &'static str,
    /// Whether its duration is a latency.
    pub(crate) timed: bool,
    pub(crate) options: Option<Measured>,
    /// How its user takes its duration, where that is asked.
    pub(crate) apdex: Option<ApdexZone>,
    pub(crate) trace: Option<&'a TraceContext>,
    pub(crate) exchange: &'a Exchange,
    pub(crate) end: &'a End,
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
        let http = Self {
            own,
            labelled,
            removed,
            names,
            scheme,
            limits: Limits { routes: room, series: limits.series },
            latency,
            sizes,
            routes: Table::new(room),
            places: Routes::new(),
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
                |other| other.name == route,
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

    /// Counts an exchange. Returns the route that it was counted under; `None` where none matched.
    pub(crate) fn ended(&self, ended: &Ended<'_>) -> Option<&str> {
        let route = self.route(ended);
        if self.own.is_empty() {
            self.count(route, ended);
        } else {
            self.count_labelled(route, ended);
        }
        (route.name != UNMATCHED).then_some(&*route.name)
    }

    #[inline]
    fn count(&self, route: &Route, ended: &Ended<'_>) {
        let method = self.method(route, ended.verb);
        if let Some(options) = &ended.options
            && method.options.get().is_none()
        {
            let _first = method.options.set(options.clone());
        }
        let end = ended.end;
        let failed = end.is_server_error();
        let row = method.cells.row();
        if let Some(bytes) = end.request_body_bytes {
            method.request_size.record(&row, bytes);
        }
        method.response_size.record(&row, end.response_body_bytes);
        if let Some(abort) = ABORTS.iter().position(|abort| *abort == end.outcome) {
            row.add(abort, 1);
            if let Some(labels) = method.aborts.get(abort) {
                labels.get_or_init(|| method.abort_labels(route, end.outcome));
            }
        }
        if failed {
            row.add(FAILURES, 1);
        }
        if let Some(zone) = ended.apdex {
            method.apdex.get_or_init(|| ApdexZone::ALL.map(|zone| method.apdex_labels(route, zone)));
            row.add(APDEX.wrapping_add(zone as usize), 1);
        }
        if ended.timed
            && let Some(head) = end.head_latency()
        {
            let nanos = nanos(head);
            let cell = method.head.record(&row, nanos);
            if let Some(trace) = ended.trace {
                method.head_exemplars.offer(&method.head.layout, cell, nanos, trace, failed);
            }
        }
        let status = self.status(route, method, self.key(ended));
        let row = status.cells.row();
        row.add(REQUESTS, 1);
        if ended.timed {
            let nanos = nanos(end.latency());
            let cell = status.duration.record(&row, nanos);
            if let Some(trace) = ended.trace {
                status.exemplars.offer(&status.duration.layout, cell, nanos, trace, failed);
            }
        }
    }

    #[cfg(feature = "otel")]
    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    fn key(&self, ended: &Ended<'_>) -> StatusKey {
        let status = ended.end.status_code();
        if !self.names.has_otel() {
            return StatusKey { status, sent: true, error: 0, version: 0 };
        }
        let error = match ended.end.error_class() {
            None => 0,
            Some(ErrorClass::Outcome(outcome)) => {
                let place = Outcome::ALL.iter().position(|other| *other == outcome);
                place.and_then(|place| u8::try_from(place.saturating_add(1)).ok()).unwrap_or(0)
            }
            Some(ErrorClass::Grpc(_) | ErrorClass::Status(_)) => ERROR_IS_STATUS,
        };
        let version = VERSIONS.iter().position(|version| *version == ended.version);
        let version = version.and_then(|place| u8::try_from(place).ok()).unwrap_or(0);
        StatusKey { status, sent: ended.end.status.is_some(), error, version }
    }

    fn route(&self, ended: &Ended<'_>) -> &Route {
        let Some(text) = ended.route else { return &self.unmatched };
        let id = ended.route_id;
        if let Some(route) = id.and_then(|id| self.routes.at(*self.places.get(id)?)) {
            return route;
        }
        let name = text.as_str();
        if name.len() <= self.folded.max_value()
            && let Some(route) = self.routes.get(hash([name]), |route| route.name == name)
        {
            self.remember(id, name);
            return route;
        }
        self.new_route(text, id)
    }

    /// Finds the route by its number from now on.
    #[cold]
    fn remember(&self, id: Option<RouteId>, name: &str) {
        if let Some(id) = id
            && let Some(place) = self.routes.place(hash([name]), |route| route.name == name)
        {
            self.places.get_or_init(id, || place);
        }
    }

    #[cold]
    fn new_route(&self, text: &Text, id: Option<RouteId>) -> &Route {
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
                |route| route.name == name,
                |_| {
                    if !fixed && self.made_routes.fetch_add(1, Relaxed) >= made_up_to {
                        return None;
                    }
                    Some(Route::new(name.to_owned().into(), self.own.others()))
                },
            );
            if let Some(route) = made {
                self.remember(id, name);
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
        let values = self.own.values(ended.exchange, &self.folded);
        let key = || hash([&*route.name].into_iter().chain(values.iter().map(|(_, value)| &**value)));
        let is = |other: &Route| other.name == route.name && *other.extra == *values;
        self.labelled.with(|table| {
            let make = |_| Some(Route::new(route.name.clone(), values.clone()));
            let labelled = table.get(key(), is).or_else(|| table.get_or_insert(key(), is, make));
            if labelled.is_none() {
                self.folded.fold(Label::Own);
            }
            self.count(labelled.unwrap_or(route), ended);
        });
    }

    fn method<'a>(&self, route: &'a Route, verb: Verb) -> &'a Method {
        let [.., other] = &route.methods;
        let slot = match route.methods.get(verb.place()) {
            Some(slot) => slot,
            None => route.own_method(verb, self.verbs.own()).unwrap_or(other),
        };
        slot.get_or_init(|| Box::new(Method::new(route, self.verbs.name(verb), self)))
    }

    fn status<'a>(&self, route: &Route, method: &'a Method, key: StatusKey) -> &'a Status {
        for slot in &method.statuses {
            match slot.get() {
                Some(status) if status.key == key => return status,
                Some(_) => (),
                None => break,
            }
        }
        self.make_status(route, method, key)
    }

    #[cold]
    fn make_status<'a>(&self, route: &Route, method: &'a Method, key: StatusKey) -> &'a Status {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let same = method.statuses.iter().filter_map(OnceLock::get).find(|status| status.key == key);
        if let Some(status) = same {
            return status;
        }
        let taken = method.statuses.iter().take_while(|slot| slot.get().is_some()).count();
        let room = self.series.load(Relaxed) < self.limits.series || route.series.load(Relaxed) < RESERVED_PER_ROUTE;
        let [slots @ .., last] = &method.statuses;
        let (slot, key) = match slots.get(taken) {
            Some(slot) if room => (slot, key),
            _ => {
                self.folded.fold(Label::StatusCode);
                (last, OVERFLOW_KEY)
            }
        };
        slot.get_or_init(|| {
            self.series.fetch_add(1, Relaxed);
            route.series.fetch_add(1, Relaxed);
            // One status has one set of buckets, however many series there are of it.
            let same = method.statuses.iter().filter_map(OnceLock::get).find(|status| status.key.status == key.status);
            let own = method.options.get().and_then(Measured::layout);
            let layout = same.map(|status| &status.duration.layout).or(own).unwrap_or(&self.latency);
            Box::new(Status::new(route, method, key, Arc::clone(layout), self))
        })
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

impl Route {
    fn new(name: Name, extra: Box<[(Name, Name)]>) -> Self {
        let methods = [const { OnceLock::new() }; METHODS.len()];
        Self { extra, name, series: AtomicU32::new(0), since: Since::default(), methods, own_methods: OnceLock::new() }
    }

    /// What is kept of each method with which there was a request.
    fn made_methods(&self) -> impl Iterator<Item = &Method> {
        let own = self.own_methods.get().into_iter().flatten();
        self.methods.iter().chain(own).filter_map(|method| Some(&**method.get()?))
    }

    /// These labels, and the application's own.
    fn labels<const N: usize>(&self, labels: [(Name, Name); N]) -> Labels {
        Labels::new(labels.into_iter().chain(self.extra.iter().cloned()))
    }

    #[cold]
    fn own_method(&self, verb: Verb, count: usize) -> Option<&OnceLock<Box<Method>>> {
        self.own_methods.get_or_init(|| (0..count).map(|_| OnceLock::new()).collect()).get(verb.own_place())
    }
}

impl Method {
    fn new(route: &Route, method: &'static str, http: &Http) -> Self {
        let head = HistogramPlace::new(Arc::clone(&http.latency), APDEX.saturating_add(ApdexZone::ALL.len()));
        let request_size = HistogramPlace::new(Arc::clone(&http.sizes), head.end());
        let response_size = HistogramPlace::new(Arc::clone(&http.sizes), request_size.end());
        Self {
            verb: method,
            labels: route.labels([("method".into(), method.into()), ("route".into(), route.name.clone())]),
            otel_sizes: OnceLock::new(),
            aborts: [const { OnceLock::new() }; ABORTS.len()],
            apdex: OnceLock::new(),
            options: OnceLock::new(),
            cells: Cells::new(response_size.end()),
            head,
            request_size,
            response_size,
            head_exemplars: Exemplars::default(),
            statuses: [const { OnceLock::new() }; SERIES_PER_METHOD],
        }
    }

    fn abort_labels(&self, route: &Route, outcome: Outcome) -> Labels {
        route.labels([
            ("method".into(), self.verb.into()),
            ("route".into(), route.name.clone()),
            ("outcome".into(), outcome.as_str().into()),
        ])
    }

    fn apdex_labels(&self, route: &Route, zone: ApdexZone) -> Labels {
        route.labels([
            ("method".into(), self.verb.into()),
            ("route".into(), route.name.clone()),
            ("zone".into(), zone.as_str().into()),
        ])
    }

    fn durations(&self, sum: &mut Sum<'_>) {
        for (_, status) in self.statuses() {
            sum.add(&status.duration, &status.cells);
        }
    }

    /// What its requests have come to, without their durations.
    fn counts(&self) -> Counts {
        let mut counts = Counts {
            errors: self.cells.sum(FAILURES),
            request_bytes: self.cells.sum(self.request_size.first),
            response_bytes: self.cells.sum(self.response_size.first),
            ..Counts::default()
        };
        for (_, status) in self.statuses() {
            let requests = status.cells.sum(REQUESTS);
            counts.requests = counts.requests.wrapping_add(requests);
            counts.classes.add(status.key.status, requests);
        }
        for (cell, outcome) in ABORTS.into_iter().enumerate() {
            if self.aborts.get(cell).is_some_and(|labels| labels.get().is_some()) {
                counts.aborted.add(outcome, self.cells.sum(cell));
            }
        }
        counts
    }

    /// The series, and for each whether it is the first of its status.
    fn statuses(&self) -> impl Iterator<Item = (usize, &Status)> {
        self.statuses.iter().filter_map(OnceLock::get).map(|status| &**status).enumerate()
    }
}

impl Status {
    fn new(route: &Route, method: &Method, key: StatusKey, layout: Arc<Layout>, http: &Http) -> Self {
        let duration = HistogramPlace::new(layout, 1);
        let code: Name = if key.status == 0 { OVERFLOW.into() } else { key.status.to_string().into() };
        let labels = route.labels([
            ("method".into(), method.verb.into()),
            ("route".into(), route.name.clone()),
            ("status_code".into(), code.clone()),
        ]);
        let otel = http.names.has_otel().then(|| {
            let mut pairs = otel_pairs(route, method, http);
            if key.sent {
                pairs.push(("http_response_status_code".into(), code.clone()));
            }
            match key.error {
                0 => (),
                ERROR_IS_STATUS => pairs.push(("error_type".into(), code)),
                place => {
                    let outcome = Outcome::ALL.get(usize::from(place).wrapping_sub(1));
                    pairs.extend(outcome.map(|outcome| ("error_type".into(), outcome.as_str().into())));
                }
            }
            if let Some(version) = VERSIONS.get(usize::from(key.version)).filter(|version| !version.is_empty()) {
                pairs.push(("network_protocol_version".into(), (*version).into()));
            }
            Labels::new(pairs)
        });
        Self { key, labels, otel, cells: Cells::new(duration.end()), duration, exemplars: Exemplars::default() }
    }
}

fn otel_pairs(route: &Route, method: &Method, http: &Http) -> Vec<(Name, Name)> {
    let mut pairs =
        vec![("http_request_method".into(), method.verb.into()), ("url_scheme".into(), http.scheme.clone())];
    if route.name != UNMATCHED {
        pairs.push(("http_route".into(), route.name.clone()));
    }
    pairs.extend(route.extra.iter().cloned());
    pairs
}
