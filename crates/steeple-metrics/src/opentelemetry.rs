//! The same metrics through the OpenTelemetry SDK: for a Collector, or a vendor that takes OTLP.
//!
//! Counters and gauges are read from our cells when the SDK collects. The SDK takes histograms one value at a time.

use std::{fmt, sync::Arc};

use opentelemetry::{
    KeyValue, Value,
    metrics::{AsyncInstrument, Histogram, Meter},
};
use steeple_core::{
    End, ErrorClass, GrpcStatus,
    call::{Call, CallEnd},
};

use crate::{
    MetricsBuilder,
    encode::{Encoder, Foreign, HistogramView, Kind, Meta, Number, Source},
    layout::Layout,
    series::Labels,
};

impl MetricsBuilder {
    /// Records through the OpenTelemetry SDK as well, by this meter: `http.server.request.duration` and its like, and every
    /// other metric by its own name. The SDK sends them wherever it is configured to. Default: none is passed to it.
    ///
    /// Each exchange then pays for the SDK's recording too, some hundred nanoseconds and a few allocations.
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }
}

/// Our instruments in the application's meter.
pub(crate) struct Otel {
    meter: Meter,
    duration: Histogram<f64>,
    request_size: Histogram<u64>,
    response_size: Histogram<u64>,
    rpc_duration: Histogram<f64>,
    client_duration: Histogram<f64>,
    client_request_size: Histogram<u64>,
    client_response_size: Histogram<u64>,
    client_rpc_duration: Histogram<f64>,
}

/// A histogram with the attributes of one series.
pub(crate) struct Bound {
    histogram: Histogram<f64>,
    attributes: Vec<KeyValue>,
}

impl Bound {
    pub(crate) fn record(&self, seconds: f64) {
        self.histogram.record(seconds, &self.attributes);
    }
}

impl Otel {
    /// Instruments with the bounds that the suite's own histograms have.
    pub(crate) fn new(meter: Meter, latency: &Layout, sizes: &Layout) -> Self {
        let seconds = |name: &'static str, what: &'static str| {
            let builder = meter.f64_histogram(name).with_unit("s").with_description(what);
            builder.with_boundaries(bounds(latency)).build()
        };
        let bytes = |name: &'static str, what: &'static str| {
            let builder = meter.u64_histogram(name).with_unit("By").with_description(what);
            builder.with_boundaries(bounds(sizes)).build()
        };
        Self {
            duration: seconds("http.server.request.duration", "Duration of HTTP server requests."),
            request_size: bytes("http.server.request.body.size", "Size of HTTP server request bodies."),
            response_size: bytes("http.server.response.body.size", "Size of HTTP server response bodies."),
            rpc_duration: seconds("rpc.server.call.duration", "Duration of RPC server calls."),
            client_duration: seconds("http.client.request.duration", "Duration of HTTP client requests."),
            client_request_size: bytes("http.client.request.body.size", "Size of HTTP client request bodies."),
            client_response_size: bytes("http.client.response.body.size", "Size of HTTP client response bodies."),
            client_rpc_duration: seconds("rpc.client.call.duration", "Duration of RPC client calls."),
            meter,
        }
    }

    /// Records one HTTP exchange. `route` is `None` where none matched.
    pub(crate) fn http(
        &self,
        method: &'static str,
        scheme: &str,
        route: Option<&str>,
        version: &'static str,
        timed: bool,
        end: &End,
    ) {
        let mut attributes = vec![
            KeyValue::new("http.request.method", method),
            KeyValue::new("url.scheme", scheme.to_owned()),
            KeyValue::new("network.protocol.version", version),
        ];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        let status = end.status.map(|status| Value::I64(status.as_u16().into()));
        attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", status)));
        attributes.extend(end.error_class().map(error_type));
        if timed {
            self.duration.record(end.latency().as_secs_f64(), &attributes);
        }
        if let Some(bytes) = end.request_body_bytes {
            self.request_size.record(bytes, &attributes);
        }
        self.response_size.record(end.response_body_bytes, &attributes);
    }

    /// Records one gRPC call.
    pub(crate) fn rpc(&self, method: &str, end: &End) {
        let status = end.grpc_status.unwrap_or(GrpcStatus::UNKNOWN);
        let mut attributes = vec![
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", method.to_owned()),
            KeyValue::new("rpc.response.status_code", status.as_str()),
        ];
        attributes.extend(status.is_server_error().then(|| KeyValue::new("error.type", status.as_str())));
        self.rpc_duration.record(end.latency().as_secs_f64(), &attributes);
    }

    /// Records one outgoing HTTP call to this server, with the port and the template as they are shown.
    pub(crate) fn call(
        &self,
        call: &Call,
        (server, port, template): (&str, &str, &str),
        version: &'static str,
        timed: bool,
        end: &CallEnd<'_>,
    ) {
        let mut attributes = vec![KeyValue::new("http.request.method", call.method())];
        attributes.extend((!server.is_empty()).then(|| KeyValue::new("server.address", server.to_owned())));
        attributes.extend(port.parse::<i64>().ok().map(|port| KeyValue::new("server.port", port)));
        attributes.extend((!template.is_empty()).then(|| KeyValue::new("url.template", template.to_owned())));
        attributes.extend((!version.is_empty()).then(|| KeyValue::new("network.protocol.version", version)));
        let status = end.status.map(|status| Value::I64(status.as_u16().into()));
        attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", status)));
        attributes.extend(end.error_class().map(|class| KeyValue::new("error.type", class.to_owned())));
        if timed {
            self.client_duration.record(end.duration.as_secs_f64(), &attributes);
        }
        if let Some(bytes) = call.request_body_bytes() {
            self.client_request_size.record(bytes, &attributes);
        }
        if end.status.is_some() {
            self.client_response_size.record(end.response_body_bytes, &attributes);
        }
    }

    /// Records one outgoing gRPC call.
    pub(crate) fn rpc_call(&self, method: &str, status: GrpcStatus, end: &CallEnd<'_>) {
        let mut attributes = vec![
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", method.to_owned()),
            KeyValue::new("rpc.response.status_code", status.as_str()),
        ];
        attributes.extend(end.error_class().map(|class| KeyValue::new("error.type", class.to_owned())));
        self.client_rpc_duration.record(end.duration.as_secs_f64(), &attributes);
    }

    /// A histogram of durations or sizes of the application's own, with its own bounds.
    pub(crate) fn histogram(&self, meta: &Meta, layout: &Layout) -> Histogram<f64> {
        let builder = self.meter.f64_histogram(own_name(meta)).with_unit(meta.unit.map_or("", unit));
        builder.with_description(meta.help.clone()).with_boundaries(bounds(layout)).build()
    }

    /// Shows the counters and gauges of a source whenever the SDK collects.
    pub(crate) fn watch(&self, source: &Arc<dyn Source>) {
        for meta in source.families() {
            let (name, unit) = (own_name(&meta), meta.unit.map_or("", unit));
            let (wanted, source) = (meta.name.clone(), Arc::clone(source));
            match meta.kind {
                Kind::Counter => {
                    let read = move |to: &dyn AsyncInstrument<f64>| observe(&*source, &wanted, to);
                    let builder = self.meter.f64_observable_counter(name).with_unit(unit);
                    let _kept_by_the_meter = builder.with_description(meta.help).with_callback(read).build();
                }
                Kind::Gauge => {
                    let read = move |to: &dyn AsyncInstrument<f64>| observe(&*source, &wanted, to);
                    let builder = self.meter.f64_observable_gauge(name).with_unit(unit);
                    let _kept_by_the_meter = builder.with_description(meta.help).with_callback(read).build();
                }
                Kind::Histogram | Kind::Summary => (),
            }
        }
    }
}

impl fmt::Debug for Otel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otel").finish_non_exhaustive()
    }
}

pub(crate) fn bind(histogram: &Histogram<f64>, labels: &Labels) -> Bound {
    Bound { histogram: histogram.clone(), attributes: attributes(labels) }
}

fn bounds(layout: &Layout) -> Vec<f64> {
    layout.classic.iter().map(|bucket| bucket.bound).collect()
}

fn error_type(class: ErrorClass) -> KeyValue {
    KeyValue::new("error.type", class.with_str(str::to_owned))
}

/// The name without what a Prometheus exporter adds to it again: `_total`, and the unit.
fn own_name(meta: &Meta) -> String {
    let base = meta.name.strip_suffix("_total").unwrap_or(&meta.name);
    let unit = meta.unit.and_then(|unit| base.strip_suffix(unit)?.strip_suffix('_'));
    unit.unwrap_or(base).to_owned()
}

fn unit(word: &'static str) -> &'static str {
    match word {
        "seconds" => "s",
        "bytes" => "By",
        "ratio" => "1",
        other => other,
    }
}

fn attributes(labels: &Labels) -> Vec<KeyValue> {
    labels.pairs.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone())).collect()
}

fn observe(source: &dyn Source, family: &str, to: &dyn AsyncInstrument<f64>) {
    source.write(&mut Observing { family, is_wanted: false, to });
}

/// Hands the numbers of one family to the SDK.
struct Observing<'a> {
    family: &'a str,
    is_wanted: bool,
    to: &'a dyn AsyncInstrument<f64>,
}

impl Encoder for Observing<'_> {
    fn begin(&mut self, meta: &Meta) {
        self.is_wanted = meta.name == self.family;
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        if self.is_wanted {
            self.to.observe(value.to_f64(), &attributes(labels));
        }
    }

    fn histogram(&mut self, _labels: &Labels, _view: &HistogramView<'_>) {}

    fn foreign(&mut self, _labels: &Labels, _foreign: &Foreign<'_>) {}
}
