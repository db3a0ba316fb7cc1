//! What is kept of one method of one route: its counters, side by side for what most requests touch, and its series by status.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, Ordering::Acquire, Ordering::Relaxed, Ordering::Release},
};

use steeple_core::{ApdexZone, Outcome};

use super::{ABORTS, Http, RouteLabels, UNMATCHED, VERSIONS};
use crate::{
    folded::Label,
    indicator::{Counts, Sum},
    layout::Layout,
    route::Measured,
    series::{Exemplars, HistogramPlace, Labels, Name, OVERFLOW},
    shard::{Between, Cells},
};

/// Most series of one method and route; the last is for what does not fit.
const SERIES_PER_METHOD: usize = 40;

/// The series of one method of one route.
///
/// Begins with what every request needs: where this thread's counters are, and the keys of the first statuses. With the row of
/// counters, which has the first status in it, a request of that status touches no more of this.
#[repr(C, align(128))]
pub(crate) struct Method {
    pub(super) cells: Cells,
    keys: [AtomicU32; SERIES_PER_METHOD],
    statuses: [OnceLock<Box<Status>>; SERIES_PER_METHOD],
    /// From here on its series get this route's own buckets.
    pub(super) options: OnceLock<Measured>,
    pub(super) route: Arc<RouteLabels>,
    pub(super) places: Arc<Places>,
    pub(super) verb: &'static str,
    pub(super) labels: Labels,
    pub(super) otel_sizes: OnceLock<Labels>,
    pub(super) aborts: [OnceLock<Labels>; ABORTS.len()],
    /// From the first request on that had a threshold.
    pub(super) apdex: OnceLock<[Labels; ApdexZone::ALL.len()]>,
    pub(super) head_exemplars: Exemplars,
}

/// Where the counters of a method are in its row of cells. The same for all methods.
///
/// What most requests touch is together: requests of the first status, the sums of all histograms and the first sizes of request
/// bodies, which for a GET are 0. The time to the head and to the last byte are mostly in the same cell or in neighboring ones, so that
/// the cells of both histograms take turns.
pub(super) struct Places {
    pub(super) request_size: HistogramPlace,
    pub(super) response_size: HistogramPlace,
    /// Of the first status, unless its route sets other buckets.
    pub(super) duration: HistogramPlace,
    pub(super) head: HistogramPlace,
    /// Where those of [`ABORTS`] begin.
    aborts: usize,
    len: usize,
}

/// The cell with the number of requests: of the first status in a method's row, of another one in its own.
pub(super) const REQUESTS: usize = 0;

impl Places {
    pub(super) fn new(latency: &Arc<Layout>, sizes: &Arc<Layout>) -> Self {
        const SUM_OF_DURATIONS: usize = REQUESTS + 1;
        const SUM_OF_HEADS: usize = SUM_OF_DURATIONS + 1;
        const SUM_OF_RESPONSES: usize = SUM_OF_HEADS + 1;
        const SUM_OF_REQUESTS: usize = SUM_OF_RESPONSES + 1;
        let request_size = HistogramPlace::new(Arc::clone(sizes), SUM_OF_REQUESTS);
        let response_size = HistogramPlace::at(Arc::clone(sizes), SUM_OF_RESPONSES, request_size.end(), Between::None);
        let first = response_size.end().next_multiple_of(2);
        let duration = HistogramPlace::at(Arc::clone(latency), SUM_OF_DURATIONS, first, Between::One);
        let head = HistogramPlace::at(Arc::clone(latency), SUM_OF_HEADS, first.saturating_add(1), Between::One);
        let aborts = first.saturating_add(latency.len().saturating_mul(2));
        let len = aborts.saturating_add(ABORTS.len()).saturating_add(1).saturating_add(ApdexZone::ALL.len());
        Self { request_size, response_size, duration, head, aborts, len }
    }

    /// The cell of those that ended like this, by its place in [`ABORTS`].
    pub(super) fn abort(&self, place: usize) -> usize {
        self.aborts.wrapping_add(place)
    }

    /// The cell of what failed for a reason on the server's side.
    pub(super) fn failures(&self) -> usize {
        self.abort(ABORTS.len())
    }

    pub(super) fn apdex(&self, zone: ApdexZone) -> usize {
        self.failures().wrapping_add(1).wrapping_add(zone as usize)
    }
}

/// A status of a method of a route: where requests are counted and timed.
pub(super) struct Status {
    pub(super) key: StatusKey,
    pub(super) labels: Labels,
    pub(super) otel: Option<Labels>,
    /// `None`: in the method's row.
    cells: Option<Cells>,
    pub(super) duration: HistogramPlace,
    pub(super) exemplars: Exemplars,
}

/// The key of a series within one method and route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusKey {
    /// 0 for what does not fit.
    pub(super) status: u16,
    /// Whether the status was sent, or stands for one that was not.
    pub(super) sent: bool,
    /// 0: none; then the outcomes; then the status itself. Only with OpenTelemetry's names.
    pub(super) error: u8,
    /// A place in [`VERSIONS`]. Only with OpenTelemetry's names.
    pub(super) version: u8,
}

pub(super) const ERROR_IS_STATUS: u8 = 255;

/// A [`StatusKey`] in one number, never 0, which stands for none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedKey(u32);

/// Marks the key of a status whose cells are in the method's row.
const IN_ROW: u32 = 1 << 31;

impl StatusKey {
    pub(super) const OVERFLOW: Self = Self { status: 0, sent: true, error: 0, version: 0 };

    #[inline]
    pub(super) fn packed(self) -> PackedKey {
        const PRESENT: u32 = 1 << 28;
        let sent = u32::from(self.sent) << 27;
        let version = u32::from(self.version & 7) << 24;
        PackedKey(PRESENT | sent | version | u32::from(self.error) << 16 | u32::from(self.status))
    }
}

const _: () = assert!(VERSIONS.len() <= 8, "a place among them is 3 bits of a key");

impl Method {
    pub(super) fn new(route: &Arc<RouteLabels>, method: &'static str, http: &Http) -> Self {
        let places = Arc::clone(&http.places);
        Self {
            cells: Cells::new(places.len),
            keys: [const { AtomicU32::new(0) }; SERIES_PER_METHOD],
            statuses: [const { OnceLock::new() }; SERIES_PER_METHOD],
            options: OnceLock::new(),
            route: Arc::clone(route),
            places,
            verb: method,
            labels: route.with([("method".into(), method.into()), ("route".into(), route.name.clone())]),
            otel_sizes: OnceLock::new(),
            aborts: [const { OnceLock::new() }; ABORTS.len()],
            apdex: OnceLock::new(),
            head_exemplars: Exemplars::default(),
        }
    }

    /// Whether the first status has this key, and is counted in the method's row.
    #[inline]
    pub(super) fn has_in_row(&self, key: PackedKey) -> bool {
        let [first, ..] = &self.keys;
        first.load(Acquire) == key.0 | IN_ROW
    }

    /// The first status.
    pub(super) fn first(&self) -> Option<&Status> {
        let [first, ..] = &self.statuses;
        Some(first.get()?)
    }

    pub(super) fn find(&self, key: PackedKey) -> Option<&Status> {
        for (known, status) in self.keys.iter().zip(&self.statuses) {
            match known.load(Acquire) & !IN_ROW {
                0 => return None,
                known if known == key.0 => return Some(status.get()?),
                _ => (),
            }
        }
        None
    }

    /// Returns the status with this key, and makes it first if it is missing. Without room, returns the one for what does not fit.
    /// The caller holds the lock that statuses are made under.
    pub(super) fn find_or_make(&self, key: StatusKey, has_room: bool, http: &Http) -> Option<&Status> {
        let made = || self.statuses.iter().filter_map(OnceLock::get);
        if let Some(same) = made().find(|status| status.key == key) {
            return Some(same);
        }
        let taken = self.statuses.iter().take_while(|slot| slot.get().is_some()).count();
        let last = self.statuses.len().saturating_sub(1);
        let (place, key) = if has_room && taken < last { (taken, key) } else { (last, StatusKey::OVERFLOW) };
        if place == last {
            http.folded.fold(Label::StatusCode);
        }
        if self.statuses.get(place).is_some_and(|slot| slot.get().is_none()) {
            http.series.fetch_add(1, Relaxed);
            self.route.series.fetch_add(1, Relaxed);
        }
        // One status has one set of buckets, however many series there are of it.
        let same = made().find(|status| status.key.status == key.status).map(|status| &status.duration.layout);
        let own = self.options.get().and_then(Measured::layout);
        self.put(place, key, same.or(own).unwrap_or(&self.places.duration.layout), http)
    }

    /// Returns the status in this place, and makes it first if the place is empty.
    pub(super) fn put(&self, place: usize, key: StatusKey, layout: &Arc<Layout>, http: &Http) -> Option<&Status> {
        let (slot, known) = (self.statuses.get(place)?, self.keys.get(place)?);
        let status = slot.get_or_init(|| {
            let is_in_row = place == 0 && Arc::ptr_eq(layout, &self.places.duration.layout);
            Box::new(Status::new(self, key, layout, is_in_row, http))
        });
        // Whoever finds the key finds the status.
        let in_row = if status.cells.is_none() { IN_ROW } else { 0 };
        known.store(status.key.packed().0 | in_row, Release);
        Some(status)
    }

    /// The series, and for each its place.
    pub(super) fn statuses(&self) -> impl Iterator<Item = (usize, &Status)> {
        self.statuses.iter().filter_map(OnceLock::get).map(|status| &**status).enumerate()
    }

    /// The place of the first status like this, or that of the first one that there could be.
    pub(super) fn place_of(&self, is: impl Fn(&Status) -> bool) -> usize {
        let place = self.statuses.iter().position(|slot| slot.get().is_none_or(|status| is(status)));
        place.unwrap_or(self.statuses.len().saturating_sub(1))
    }

    pub(super) fn durations(&self, sum: &mut Sum<'_>) {
        for (_, status) in self.statuses() {
            sum.add(&status.duration, status.cells(self));
        }
    }

    /// How many requests it has counted.
    pub(super) fn requests(&self) -> u64 {
        self.statuses().fold(0, |sum, (_, status)| sum.wrapping_add(status.requests(self)))
    }

    /// What its requests have come to, without their durations.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts {
            errors: self.cells.sum(self.places.failures()),
            request_bytes: self.places.request_size.sum(&self.cells),
            response_bytes: self.places.response_size.sum(&self.cells),
            ..Counts::default()
        };
        for (_, status) in self.statuses() {
            let requests = status.requests(self);
            counts.requests = counts.requests.wrapping_add(requests);
            counts.classes.add(status.key.status, requests);
        }
        for (place, outcome) in ABORTS.into_iter().enumerate() {
            if self.aborts.get(place).is_some_and(|labels| labels.get().is_some()) {
                counts.aborted.add(outcome, self.cells.sum(self.places.abort(place)));
            }
        }
        counts
    }

    /// Adds what the same method of a route with other labels has counted.
    pub(super) fn add_all(&self, other: &Self, http: &Http) {
        let (row, places) = (self.cells.row(), &self.places);
        for place in [&places.request_size, &places.response_size, &places.head] {
            place.add_all(row, place, &other.cells);
        }
        for cell in places.abort(0)..self.cells.len() {
            row.add(cell, other.cells.sum(cell));
        }
        for (place, outcome) in ABORTS.into_iter().enumerate() {
            if let (Some(own), Some(true)) =
                (self.aborts.get(place), other.aborts.get(place).map(|labels| labels.get().is_some()))
            {
                own.get_or_init(|| self.abort_labels(outcome));
            }
        }
        if let Some(options) = other.options.get() {
            self.options.get_or_init(|| options.clone());
        }
        for (_, status) in other.statuses() {
            // Those of one status have one set of buckets; where they differ, each has its place.
            let layout = &status.duration.layout;
            let place = self.place_of(|own| own.key == status.key && Arc::ptr_eq(&own.duration.layout, layout));
            if let Some(own) = self.put(place, status.key, layout, http) {
                let row = own.cells(self).row();
                row.add(REQUESTS, status.requests(other));
                own.duration.add_all(row, &status.duration, status.cells(other));
            }
        }
    }

    pub(super) fn abort_labels(&self, outcome: Outcome) -> Labels {
        self.route.with([
            ("method".into(), self.verb.into()),
            ("route".into(), self.route.name.clone()),
            ("outcome".into(), outcome.as_str().into()),
        ])
    }

    pub(super) fn apdex_labels(&self, zone: ApdexZone) -> Labels {
        self.route.with([
            ("method".into(), self.verb.into()),
            ("route".into(), self.route.name.clone()),
            ("zone".into(), zone.as_str().into()),
        ])
    }
}

impl Status {
    fn new(method: &Method, key: StatusKey, layout: &Arc<Layout>, is_in_row: bool, http: &Http) -> Self {
        let route = &method.route;
        let code: Name = if key.status == 0 { OVERFLOW.into() } else { key.status.to_string().into() };
        let labels = route.with([
            ("method".into(), method.verb.into()),
            ("route".into(), route.name.clone()),
            ("status_code".into(), code.clone()),
        ]);
        let otel = http.names.has_otel().then(|| {
            let mut pairs = otel_pairs(method, http);
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
        let (cells, duration) = if is_in_row {
            (None, method.places.duration.clone())
        } else {
            let duration = HistogramPlace::new(Arc::clone(layout), REQUESTS.saturating_add(1));
            (Some(Cells::new(duration.end())), duration)
        };
        Self { key, labels, otel, cells, duration, exemplars: Exemplars::default() }
    }

    /// Its counters, and those of the method with them where it is the first.
    #[inline]
    pub(super) fn cells<'a>(&'a self, method: &'a Method) -> &'a Cells {
        self.cells.as_ref().unwrap_or(&method.cells)
    }

    pub(super) fn requests(&self, method: &Method) -> u64 {
        self.cells(method).sum(REQUESTS)
    }
}

pub(super) fn otel_pairs(method: &Method, http: &Http) -> Vec<(Name, Name)> {
    let mut pairs =
        vec![("http_request_method".into(), method.verb.into()), ("url_scheme".into(), http.scheme.clone())];
    let route = &method.route;
    if route.name != UNMATCHED {
        pairs.push(("http_route".into(), route.name.clone()));
    }
    pairs.extend(route.extra.iter().cloned());
    pairs
}
