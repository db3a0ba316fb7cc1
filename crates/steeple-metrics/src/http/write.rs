//! What the families are called, and how they are read from the cells.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use steeple_core::ApdexZone;

use super::{Http, Method, Open, Route, Status, method::otel_pairs, not_negative};
use crate::{
    encode::{Encoder, HistogramView, Kind, Meta, Number, Source},
    layout::Layout,
    series::{Exemplars, HistogramCounts, HistogramPlace, Labels},
    shard::Cells,
    table::Table,
};

const BY_STATUS: [&str; 3] = ["method", "route", "status_code"];
const BY_ROUTE: [&str; 2] = ["method", "route"];

/// Families with the names that this project has always had.
fn classic_families() -> [Meta; 6] {
    [
        Meta::new(
            Kind::Counter,
            "http_requests_total",
            "Requests that have ended, by the status that was answered.",
            &BY_STATUS,
        ),
        Meta::new(
            Kind::Histogram,
            "http_request_duration_seconds",
            "Time from the request head to the last byte of the response body.",
            &BY_STATUS,
        ),
        Meta::new(
            Kind::Histogram,
            "http_response_head_seconds",
            "Time from the request head to the response head.",
            &BY_ROUTE,
        ),
        Meta::new(
            Kind::Histogram,
            "http_request_size_bytes",
            "Bytes of request bodies: read where counted, else as declared.",
            &BY_ROUTE,
        ),
        Meta::new(
            Kind::Histogram,
            "http_response_size_bytes",
            "Bytes of response bodies that were handed over.",
            &BY_ROUTE,
        ),
        Meta::new(
            Kind::Counter,
            "http_requests_aborted_total",
            "Requests that did not complete, by how they ended.",
            &["method", "route", "outcome"],
        ),
    ]
}

/// Whichever names are chosen, from the first request on that has a threshold.
fn apdex_family() -> Meta {
    Meta::new(
        Kind::Counter,
        "http_apdex_requests_total",
        "Requests by how satisfied their users are with the time they took.",
        &["method", "route", "zone"],
    )
}

/// Gauges, whichever names are chosen.
fn gauge_families() -> [Meta; 2] {
    [
        Meta::new(Kind::Gauge, "http_requests_in_flight", "Requests that have begun and not ended.", &[]),
        Meta::new(
            Kind::Gauge,
            "http_connections_open",
            "Upgraded connections and event streams that are open.",
            &["kind"],
        ),
    ]
}

fn otel_families() -> [Meta; 4] {
    let sizes = ["http_request_method", "url_scheme", "http_route"];
    [
        Meta::new(
            Kind::Histogram,
            "http_server_request_duration_seconds",
            "Duration of HTTP server requests.",
            &[
                "http_request_method",
                "url_scheme",
                "http_route",
                "http_response_status_code",
                "error_type",
                "network_protocol_version",
            ],
        ),
        Meta::new(
            Kind::Histogram,
            "http_server_request_body_size_bytes",
            "Size of HTTP server request bodies.",
            &sizes,
        ),
        Meta::new(
            Kind::Histogram,
            "http_server_response_body_size_bytes",
            "Size of HTTP server response bodies.",
            &sizes,
        ),
        Meta::new(
            Kind::Gauge,
            "http_server_active_requests",
            "Number of active HTTP server requests.",
            &["http_request_method", "url_scheme"],
        ),
    ]
}

impl Source for Http {
    fn families(&self) -> Vec<Meta> {
        let mut families = Vec::from(gauge_families());
        if self.names.has_classic() {
            families.extend(classic_families().map(|meta| self.own.label(meta)));
        }
        if self.names.has_otel() {
            let [duration, request, response, active] = otel_families();
            families.extend([duration, request, response].map(|meta| self.own.label(meta)));
            families.push(active);
        }
        families.push(self.own.label(apdex_family()));
        families
    }

    fn write(&self, to: &mut dyn Encoder) {
        let [in_flight, connections] = gauge_families();
        to.begin(&in_flight);
        to.value(&Labels::new([]), Number::Whole(self.in_flight()));
        to.begin(&connections);
        for (kind, name) in [(Open::Upgrade, "upgrade"), (Open::Sse, "sse")] {
            let open = not_negative(self.connections.sum(kind as usize));
            to.value(&Labels::new([("kind".into(), name.into())]), Number::Whole(open));
        }
        self.labelled.with(|labelled| {
            if self.names.has_classic() {
                self.write_classic(labelled, to);
            }
            if self.names.has_otel() {
                self.write_otel(labelled, to);
            }
            self.write_apdex(labelled, to);
        });
    }

    fn expire(&self, after: Duration, now: Instant) {
        self.remove_idle(after, now);
    }
}

impl Http {
    fn write_classic(&self, labelled: &Table<Route>, to: &mut dyn Encoder) {
        let [requests, duration, head, request_size, response_size, aborted] =
            classic_families().map(|meta| self.own.label(meta));
        let mut scratch = Scratch::default();
        to.begin(&requests);
        for (_, method) in self.shown(labelled) {
            for (_, status, all) in firsts(method) {
                let count = all.fold(0_u64, |sum, status| sum.wrapping_add(status.requests(method)));
                to.value(&status.labels, Number::Whole(count));
            }
        }
        to.begin(&duration);
        for (_, method) in self.shown(labelled) {
            for (_, status, all) in firsts(method) {
                scratch.clear();
                for status in all {
                    scratch.add(&status.duration, status.cells(method), &status.exemplars);
                }
                scratch.write(&status.labels, &status.duration.layout, to);
            }
        }
        to.begin(&head);
        for (_, method) in self.shown(labelled) {
            scratch.write_one(&method.labels, &method.places.head, &method.cells, Some(&method.head_exemplars), to);
        }
        to.begin(&request_size);
        for (_, method) in self.shown(labelled) {
            scratch.write_one(&method.labels, &method.places.request_size, &method.cells, None, to);
        }
        to.begin(&response_size);
        for (_, method) in self.shown(labelled) {
            scratch.write_one(&method.labels, &method.places.response_size, &method.cells, None, to);
        }
        to.begin(&aborted);
        for (_, method) in self.shown(labelled) {
            for (place, labels) in method.aborts.iter().enumerate() {
                if let Some(labels) = labels.get() {
                    to.value(labels, Number::Whole(method.cells.sum(method.places.abort(place))));
                }
            }
        }
    }

    fn write_apdex(&self, labelled: &Table<Route>, to: &mut dyn Encoder) {
        let mut with_threshold =
            self.shown(labelled).filter_map(|(_, method)| Some((method, method.apdex.get()?))).peekable();
        if with_threshold.peek().is_none() {
            return;
        }
        to.begin(&self.own.label(apdex_family()));
        for (method, labels) in with_threshold {
            for (zone, labels) in ApdexZone::ALL.into_iter().zip(labels) {
                to.value(labels, Number::Whole(method.cells.sum(method.places.apdex(zone))));
            }
        }
    }

    fn write_otel(&self, labelled: &Table<Route>, to: &mut dyn Encoder) {
        let [duration, request_size, response_size, active] = otel_families();
        let [duration, request_size, response_size] =
            [duration, request_size, response_size].map(|meta| self.own.label(meta));
        let mut scratch = Scratch::default();
        to.begin(&duration);
        for (_, method) in self.shown(labelled) {
            for (_, status) in method.statuses() {
                if let Some(labels) = &status.otel {
                    scratch.write_one(labels, &status.duration, status.cells(method), Some(&status.exemplars), to);
                }
            }
        }
        for (meta, request) in [(&request_size, true), (&response_size, false)] {
            to.begin(meta);
            for (_, method) in self.shown(labelled) {
                let labels = method.otel_sizes.get_or_init(|| Labels::new(otel_pairs(method, self)));
                let place = if request { &method.places.request_size } else { &method.places.response_size };
                scratch.write_one(labels, place, &method.cells, None, to);
            }
        }
        to.begin(&active);
        for (place, method) in self.verbs.names().enumerate() {
            let labels = [("http_request_method".into(), method.into()), ("url_scheme".into(), self.scheme.clone())];
            to.value(&Labels::new(labels), Number::Whole(not_negative(self.in_flight.sum(place))));
        }
    }
}

/// The first series of each status, with all that have the same.
fn firsts(method: &Method) -> impl Iterator<Item = (usize, &Status, impl Iterator<Item = &Status>)> {
    method.statuses().filter_map(move |(place, first)| {
        let same = move |status: &Status| status.key.status == first.key.status;
        let is_first = !method.statuses().take(place).any(|(_, status)| same(status));
        is_first.then(|| (place, first, method.statuses().map(|(_, status)| status).filter(move |status| same(status))))
    })
}

/// Room to add a histogram up in, used again for the next one.
#[derive(Default)]
pub(crate) struct Scratch {
    counts: HistogramCounts,
    exemplars: Vec<Option<crate::series::Exemplar>>,
}

impl Scratch {
    pub(crate) fn clear(&mut self) {
        self.counts.clear();
        self.exemplars.clear();
    }

    pub(crate) fn add(&mut self, place: &HistogramPlace, cells: &Cells, exemplars: &Exemplars) {
        place.read(cells, &mut self.counts);
        exemplars.read_into(&mut self.exemplars);
    }

    pub(crate) fn write(&self, labels: &Labels, layout: &Arc<Layout>, to: &mut dyn Encoder) {
        to.histogram(labels, &HistogramView { layout, counts: &self.counts, exemplars: &self.exemplars });
    }

    pub(crate) fn write_one(
        &mut self,
        labels: &Labels,
        place: &HistogramPlace,
        cells: &Cells,
        exemplars: Option<&Exemplars>,
        to: &mut dyn Encoder,
    ) {
        self.clear();
        place.read(cells, &mut self.counts);
        if let Some(exemplars) = exemplars {
            exemplars.read_into(&mut self.exemplars);
        }
        self.write(labels, &place.layout, to);
    }
}
