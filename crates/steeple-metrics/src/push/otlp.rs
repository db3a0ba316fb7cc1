//! OTLP: OpenTelemetry's protocol, as protobuf over HTTP.
//!
//! # Source
//! `opentelemetry/proto/metrics/v1/metrics.proto`, 1.9.

use std::collections::HashMap;

use bytes::Bytes;

use crate::{
    encode::{Encoder, Foreign, HistogramView, Kind, Meta, Number, protobuf::Message},
    layout::{Native, to_f64},
    series::{Exemplar, Labels, Name},
};

/// Whether a point counts from the start of its series, or from the push before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Temporality {
    /// From the start of the series: what Prometheus and most receivers want.
    #[default]
    Cumulative,
    /// From the push before that arrived, for counters and histograms.
    Delta,
}

/// How histograms are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistogramKind {
    /// With the bounds of the classic buckets.
    #[default]
    Explicit,
    /// With exponential buckets, where a family keeps them: 9 % wide for durations, powers of two for sizes.
    Exponential,
}

/// How points are made.
#[derive(Clone, Debug, Default)]
pub(super) struct OtlpStyle {
    pub(super) temporality: Temporality,
    pub(super) histograms: HistogramKind,
    /// What the service is: attributes of the resource.
    pub(super) resource: Vec<(String, String)>,
}

/// The values of each series in the last push that arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    at_nanos: u64,
    series: HashMap<(String, Box<str>), Box<[u64]>>,
}

pub(super) struct OtlpEncoder<'a> {
    style: &'a OtlpStyle,
    /// What the registry adds to each series of ours.
    common: &'a [(Name, Name)],
    now_nanos: u64,
    /// When the process began to count.
    start_nanos: u64,
    before: &'a Sent,
    after: Sent,
    metrics: Message,
    points: Message,
    family: Option<Family>,
}

struct Family {
    name: String,
    help: String,
    unit: &'static str,
    kind: Kind,
    /// What its points are, once there is one.
    points: Option<Points>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Points {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

impl Points {
    /// The field of a metric.
    const fn field(self) -> u32 {
        match self {
            Self::Gauge => 5,
            Self::Sum => 7,
            Self::Histogram => 9,
            Self::Exponential => 10,
            Self::Summary => 11,
        }
    }
}

impl<'a> OtlpEncoder<'a> {
    pub(super) fn new(
        style: &'a OtlpStyle,
        common: &'a [(Name, Name)],
        (start_nanos, now_nanos): (u64, u64),
        before: &'a Sent,
    ) -> Self {
        Self {
            style,
            common,
            now_nanos,
            start_nanos,
            before,
            after: Sent { at_nanos: now_nanos, series: HashMap::new() },
            metrics: Message::default(),
            points: Message::default(),
            family: None,
        }
    }

    /// The request, and what the receiver will have if it takes it.
    pub(super) fn finish(mut self) -> (Bytes, Sent) {
        self.finish_family();
        let (metrics, resource) = (self.metrics, &self.style.resource);
        let mut request = Message::default();
        request.message(1, |of_resource| {
            of_resource.message(1, |message| {
                for (key, value) in resource {
                    attribute(message, 1, key, value);
                }
            });
            of_resource.message(2, |of_scope| {
                of_scope.message(1, |scope| {
                    scope.bytes(1, b"steeple-metrics");
                    scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
                });
                of_scope.0.extend_from_slice(&metrics.0);
            });
        });
        (request.0.into(), self.after)
    }

    fn is_delta(&self) -> bool {
        self.style.temporality == Temporality::Delta
    }

    fn finish_family(&mut self) {
        let points = std::mem::take(&mut self.points);
        let Some(Family { name, help, unit, kind, points: Some(of) }) = self.family.take() else { return };
        let temporality = if self.is_delta() { 1 } else { 2 };
        self.metrics.message(2, |metric| {
            metric.bytes(1, name.as_bytes());
            metric.bytes(2, help.as_bytes());
            metric.bytes(3, unit.as_bytes());
            metric.message(of.field(), |data| {
                data.0.extend_from_slice(&points.0);
                if matches!(of, Points::Sum | Points::Histogram | Points::Exponential) {
                    data.uint(2, temporality);
                }
                if of == Points::Sum {
                    data.uint(3, u64::from(kind == Kind::Counter));
                }
            });
        });
    }

    /// Writes a point with its attributes and times.
    fn point(&mut self, of: Points, labels: &Labels, write: impl FnOnce(&mut Message, &mut Since<'_>)) {
        let Some(family) = &mut self.family else { return };
        if *family.points.get_or_insert(of) != of {
            // One metric has points of one kind: the other kind of histograms is not known yet without buckets.
            return;
        }
        let (is_delta, now) = (self.style.temporality == Temporality::Delta, self.now_nanos);
        let key = (family.name.clone(), labels.text.clone());
        let mut since = Since {
            before: self.before.series.get(&key).filter(|_| is_delta).map(|before| &**before),
            after: Vec::new(),
            place: 0,
            is_delta,
        };
        // A series that was removed, and counts again, begins anew.
        let begun = if labels.is_complete { 0 } else { labels.created_ms.saturating_mul(1_000_000) };
        let start = if is_delta && since.before.is_some() {
            self.before.at_nanos
        } else {
            self.start_nanos.max(begun.min(now))
        };
        let common = if labels.is_complete { &[] } else { self.common };
        let of_attributes = if of == Points::Exponential {
            1
        } else if of == Points::Histogram {
            9
        } else {
            7
        };
        self.points.message(1, |point| {
            for (name, value) in labels.pairs.iter().chain(common).filter(|(_, value)| !value.is_empty()) {
                attribute(point, of_attributes, own_name(name), value);
            }
            if of != Points::Gauge {
                fixed(point, 2, start);
            }
            fixed(point, 3, now);
            write(point, &mut since);
        });
        if is_delta {
            self.after.series.insert(key, since.after.into());
        }
    }
}

/// Numbers of one series since the last push that arrived.
struct Since<'a> {
    before: Option<&'a [u64]>,
    after: Vec<u64>,
    place: usize,
    is_delta: bool,
}

impl Since<'_> {
    /// A number that only grows.
    fn whole(&mut self, now: u64) -> u64 {
        if !self.is_delta {
            return now;
        }
        let before = self.before.and_then(|before| before.get(self.place)).copied().unwrap_or(0);
        self.place = self.place.saturating_add(1);
        self.after.push(now);
        // Smaller than before: it was set back, and began again.
        now.checked_sub(before).unwrap_or(now)
    }

    fn float(&mut self, now: f64) -> f64 {
        if !self.is_delta {
            return now;
        }
        let before = self.before.and_then(|before| before.get(self.place)).copied().map_or(0.0, f64::from_bits);
        self.place = self.place.saturating_add(1);
        self.after.push(now.to_bits());
        if now < before { now } else { now - before }
    }
}

fn fixed(message: &mut Message, field: u32, value: u64) {
    message.fixed64(field, value);
}

fn attribute(message: &mut Message, field: u32, key: &str, value: &str) {
    message.message(field, |pair| {
        pair.bytes(1, key.as_bytes());
        pair.message(2, |any| any.bytes(1, value.as_bytes()));
    });
}

fn exemplar(message: &mut Message, field: u32, exemplar: &Exemplar, per_unit: f64) {
    message.message(field, |message| {
        fixed(message, 2, exemplar.unix_ms.saturating_mul(1_000_000));
        message.double(3, to_f64(exemplar.value) / per_unit);
        message.bytes(4, &exemplar.span_id);
        message.bytes(5, &exemplar.trace_id);
    });
}

/// The metrics that OpenTelemetry's conventions name.
fn conventional(name: &str) -> Option<&'static str> {
    Some(match name {
        "http_server_request_duration_seconds" => "http.server.request.duration",
        "http_server_request_body_size_bytes" => "http.server.request.body.size",
        "http_server_response_body_size_bytes" => "http.server.response.body.size",
        "http_server_active_requests" => "http.server.active_requests",
        "rpc_server_call_duration_seconds" => "rpc.server.call.duration",
        "http_client_request_duration_seconds" => "http.client.request.duration",
        "http_client_request_body_size_bytes" => "http.client.request.body.size",
        "http_client_response_body_size_bytes" => "http.client.response.body.size",
        "rpc_client_call_duration_seconds" => "rpc.client.call.duration",
        _ => return None,
    })
}

/// The attribute that a label is, where the conventions name it.
fn own_name(label: &str) -> &str {
    match label {
        "http_request_method" => "http.request.method",
        "http_response_status_code" => "http.response.status_code",
        "http_route" => "http.route",
        "url_scheme" => "url.scheme",
        "url_template" => "url.template",
        "error_type" => "error.type",
        "network_protocol_version" => "network.protocol.version",
        "server_address" => "server.address",
        "server_port" => "server.port",
        "rpc_method" => "rpc.method",
        "rpc_system_name" => "rpc.system.name",
        "rpc_response_status_code" => "rpc.response.status_code",
        other => other,
    }
}

impl Encoder for OtlpEncoder<'_> {
    fn begin(&mut self, meta: &Meta) {
        self.finish_family();
        let unit = match meta.unit {
            Some("seconds") => "s",
            Some("bytes") => "By",
            Some("ratio") => "1",
            _ if meta.name.ends_with("_in_flight") || meta.name.ends_with("active_requests") => "{request}",
            _ => "",
        };
        let name = conventional(&meta.name).unwrap_or(&meta.name).to_owned();
        let help = meta.help.clone().into_owned();
        self.family = Some(Family { name, help, unit, kind: meta.kind, points: None });
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        let is_counter = self.family.as_ref().is_some_and(|family| family.kind == Kind::Counter);
        // The conventions have this gauge as a sum that goes up and down, which no temporality changes.
        let of = if is_counter { Points::Sum } else { Points::Gauge };
        self.point(of, labels, |point, since| match value {
            Number::Whole(value) => {
                let value = if is_counter { since.whole(value) } else { value };
                fixed(point, 6, value);
            }
            Number::Float(value) => {
                let value = if is_counter { since.float(value) } else { value };
                point.double(4, value);
            }
        });
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        let per_unit = view.layout.scale.per_unit();
        if self.style.histograms == HistogramKind::Exponential
            && let Some(native) = &view.layout.native
        {
            self.point(Points::Exponential, labels, |point, since| {
                exponential(point, native, view, since);
                for found in view.exemplars.iter().flatten() {
                    exemplar(point, 11, found, per_unit);
                }
            });
            return;
        }
        self.point(Points::Histogram, labels, |point, since| {
            let (mut counts, mut bounds, mut below, mut total) = (Message::default(), Message::default(), 0, 0);
            view.classic(|_, bucket, cumulative| {
                let here = since.whole(cumulative.wrapping_sub(below));
                below = cumulative;
                total = u64::saturating_add(total, here);
                counts.0.extend_from_slice(&here.to_le_bytes());
                if let Some(bucket) = bucket {
                    bounds.0.extend_from_slice(&bucket.bound.to_le_bytes());
                }
            });
            fixed(point, 4, total);
            point.double(5, since.float(view.sum()));
            point.bytes(6, &counts.0);
            point.bytes(7, &bounds.0);
            for found in view.exemplars.iter().flatten() {
                exemplar(point, 8, found, per_unit);
            }
        });
    }

    fn foreign(&mut self, labels: &Labels, foreign: &Foreign<'_>) {
        let is_summary = self.family.as_ref().is_some_and(|family| family.kind == Kind::Summary);
        if is_summary {
            // A summary has no temporality: it is as it is.
            self.point(Points::Summary, labels, |point, _| {
                fixed(point, 4, foreign.count);
                point.double(5, foreign.sum);
                for (quantile, value) in foreign.parts {
                    point.message(6, |part| {
                        part.double(1, *quantile);
                        part.double(2, value.to_f64());
                    });
                }
            });
            return;
        }
        self.point(Points::Histogram, labels, |point, since| {
            let (mut counts, mut bounds, mut below, mut total) = (Message::default(), Message::default(), 0, 0);
            for (bound, cumulative) in foreign.parts {
                let cumulative = match cumulative {
                    Number::Whole(count) => *count,
                    Number::Float(_) => continue,
                };
                let here = since.whole(cumulative.wrapping_sub(below));
                below = cumulative;
                total = u64::saturating_add(total, here);
                counts.0.extend_from_slice(&here.to_le_bytes());
                if bound.is_finite() {
                    bounds.0.extend_from_slice(&bound.to_le_bytes());
                }
            }
            fixed(point, 4, total);
            point.double(5, since.float(foreign.sum));
            point.bytes(6, &counts.0);
            point.bytes(7, &bounds.0);
        });
    }
}

/// The buckets of powers: an index is the place above 1, as OTLP has it one less than Prometheus.
fn exponential(point: &mut Message, native: &Native, view: &HistogramView<'_>, since: &mut Since<'_>) {
    let cells = &view.counts.cells;
    let count =
        |from: usize, up_to: usize| -> u64 { cells.get(from..up_to.min(cells.len())).unwrap_or_default().iter().sum() };
    let zero = since.whole(count(0, native.zero_cells));
    let mut total = zero;
    let mut buckets: Vec<u64> = Vec::new();
    let mut below = native.zero_cells;
    // Values above the last bound go into the next bucket.
    for end in native.cells.iter().copied().chain([cells.len()]) {
        let here = since.whole(count(below, end));
        below = end;
        total = total.saturating_add(here);
        buckets.push(here);
    }
    let first = buckets.iter().position(|count| *count > 0).unwrap_or(buckets.len());
    let last = buckets.iter().rposition(|count| *count > 0).map_or(first, |last| last.saturating_add(1));
    fixed(point, 4, total);
    point.double(5, since.float(view.sum()));
    point.sint(6, i64::from(native.schema));
    fixed(point, 7, zero);
    point.message(8, |positive| {
        let offset = i64::from(native.first_index).saturating_add(i64::try_from(first).unwrap_or(0)).saturating_sub(1);
        positive.sint(1, offset);
        let mut packed = Message::default();
        for count in buckets.get(first..last).unwrap_or_default() {
            packed.varint(*count);
        }
        positive.bytes(2, &packed.0);
    });
    point.double(14, native.zero_threshold);
}
