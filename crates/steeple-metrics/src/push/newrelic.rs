//! New Relic's Metric API: JSON, with counts since the push before.
//!
//! # Source
//! New Relic, "Report metrics via the Metric API", "Metric API limits and restricted attributes"; the telemetry SDKs'
//! specification, `communication.md`.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use steeple_core::RequestId;

use crate::{
    encode::{Encoder, Foreign, HistogramView, Kind, Meta, Number},
    layout::to_f64,
    series::{Labels, Name},
};

/// Metrics of one request: about 400 KB, and a tenth of it compressed. New Relic takes 1 MB as it is sent.
const METRICS_PER_REQUEST: usize = 2_000;
/// The longest name of a metric and of an attribute.
const MAX_NAME: usize = 254;
const MAX_VALUE: usize = 4_095;
/// How far back a period may begin: New Relic takes 48 hours.
const MAX_PERIOD_MS: u64 = 47 * 3_600_000;

/// The last sent state of one series: the time, and the count, or the count and the sum.
type Sent = (u64, Box<[u64]>);
/// The last state of each series that arrived.
pub(super) type SentCounts = HashMap<(String, Box<str>), Sent>;

/// One request: its JSON, its id for all tries, and what New Relic has of each series once it takes it.
pub(super) struct Part {
    pub(super) json: Bytes,
    pub(super) id: RequestId,
    pub(super) counts: SentCounts,
}

pub(super) struct NewRelicEncoder<'a> {
    /// What the service is.
    resource: &'a [(String, String)],
    /// What the registry adds to each series of ours.
    common: &'a [(Name, Name)],
    start_ms: u64,
    now_ms: u64,
    before: &'a SentCounts,
    name: String,
    kind: Kind,
    metrics: Vec<Value>,
    counts: SentCounts,
    parts: Vec<Part>,
}

impl<'a> NewRelicEncoder<'a> {
    pub(super) fn new(
        resource: &'a [(String, String)],
        common: &'a [(Name, Name)],
        (start_ms, now_ms): (u64, u64),
        before: &'a SentCounts,
    ) -> Self {
        Self {
            resource,
            common,
            start_ms,
            now_ms,
            before,
            name: String::new(),
            kind: Kind::Gauge,
            metrics: Vec::new(),
            counts: HashMap::new(),
            parts: Vec::new(),
        }
    }

    pub(super) fn finish(mut self) -> Vec<Part> {
        self.finish_part();
        self.parts
    }

    fn finish_part(&mut self) {
        let metrics = std::mem::take(&mut self.metrics);
        let counts = std::mem::take(&mut self.counts);
        if metrics.is_empty() {
            return;
        }
        let mut attributes = Map::new();
        attributes.insert("instrumentation.provider".to_owned(), "steeple".into());
        for (name, value) in self.resource.iter().filter(|(_, value)| !value.is_empty()) {
            attributes.insert(name.clone(), cut(value, MAX_VALUE).into());
        }
        let body = json!([{"common": {"timestamp": self.now_ms, "attributes": attributes}, "metrics": metrics}]);
        self.parts.push(Part { json: body.to_string().into(), id: RequestId::new(), counts });
    }

    fn add(&mut self, name: &str, labels: &Labels, extra: Option<(&str, &str)>, mut metric: Value) {
        let Some(fields) = metric.as_object_mut().filter(|_| name.len() <= MAX_NAME) else { return };
        let common = if labels.is_complete { &[] } else { self.common };
        let pairs = labels.pairs.iter().chain(common).map(|(key, value)| (&**key, &**value));
        let pairs = pairs.chain(extra);
        let mut attributes = Map::new();
        for (key, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            attributes.insert(attribute(key, name), cut(value, MAX_VALUE).into());
        }
        fields.insert("name".to_owned(), name.into());
        if !attributes.is_empty() {
            fields.insert("attributes".to_owned(), Value::Object(attributes));
        }
        self.metrics.push(metric);
        if self.metrics.len() >= METRICS_PER_REQUEST {
            self.finish_part();
        }
    }

    /// The increase of a series since the last push that arrived: the numbers, and the start of the period.
    fn since(&mut self, name: &str, labels: &Labels, now: &[Number]) -> (Vec<f64>, u64) {
        let key = (name.to_owned(), labels.text.clone());
        let (from, before) = self.before.get(&key).map_or((self.start_ms, None), |(at, cells)| (*at, Some(cells)));
        let delta = |(place, now): (usize, &Number)| {
            let before = before.and_then(|cells| cells.get(place)).copied().unwrap_or(0);
            // Smaller than before: it was set back, and began again.
            match now {
                Number::Whole(now) => to_f64(now.checked_sub(before).unwrap_or(*now)),
                Number::Float(now) => {
                    let before = f64::from_bits(before);
                    if *now < before { *now } else { now - before }
                }
            }
        };
        let deltas = now.iter().enumerate().map(delta).collect();
        let cells = now.iter().map(|now| match now {
            Number::Whole(now) => *now,
            Number::Float(now) => now.to_bits(),
        });
        self.counts.insert(key, (self.now_ms, cells.collect()));
        (deltas, from.max(self.now_ms.saturating_sub(MAX_PERIOD_MS)).min(self.now_ms))
    }

    fn count(&mut self, name: &str, labels: &Labels, value: Number) {
        let (deltas, from) = self.since(name, labels, &[value]);
        let [value] = *deltas else { return };
        if value.is_finite() {
            let metric = json!({
                "type": "count", "value": value, "timestamp": from, "interval.ms": self.period(from),
            });
            self.add(name, labels, None, metric);
        }
    }

    fn gauge(&mut self, name: &str, labels: &Labels, extra: Option<(&str, &str)>, value: f64) {
        if value.is_finite() {
            self.add(name, labels, extra, json!({"type": "gauge", "value": value}));
        }
    }

    /// Count and sum, and the bounds of the lowest and highest buckets that grew. `buckets`: upper bounds and cumulative
    /// counts, with infinity at the end.
    fn summary(&mut self, labels: &Labels, buckets: &[(f64, u64)], sum: f64) {
        let name = self.name.clone();
        let mut now: Vec<_> = buckets.iter().map(|(_, cumulative)| Number::Whole(*cumulative)).collect();
        now.push(Number::Float(sum));
        let (mut deltas, from) = self.since(&name, labels, &now);
        let Some(sum) = deltas.pop() else { return };
        let count = deltas.last().copied().unwrap_or(0.0);
        let mut below = (0.0, 0.0);
        let (mut min, mut max) = (None, 0.0);
        for ((bound, _), cumulative) in buckets.iter().zip(&deltas) {
            let (lower, before) = below;
            if *cumulative > before {
                min.get_or_insert(lower);
                // Values above the last bound are at least that.
                max = if bound.is_finite() { *bound } else { lower };
            }
            below = (if bound.is_finite() { *bound } else { lower }, *cumulative);
        }
        if !sum.is_finite() {
            return;
        }
        let value = json!({"count": count, "sum": sum, "min": min.unwrap_or(0.0), "max": max});
        let metric = json!({
            "type": "summary", "value": value, "timestamp": from, "interval.ms": self.period(from),
        });
        self.add(&name, labels, None, metric);
    }

    fn period(&self, from: u64) -> u64 {
        self.now_ms.saturating_sub(from).max(1)
    }
}

/// The name of an attribute: what New Relic keeps for itself, and the metric's own name, get a prefix.
fn attribute(key: &str, metric: &str) -> String {
    const RESERVED: [&str; 9] =
        ["interval.ms", "timestamp", "value", "common", "min", "max", "count", "sum", "metrics"];
    const OVERWRITTEN: [&str; 3] = ["newrelic.source", "metricName", "endTimestamp"];
    if RESERVED.contains(&key) || OVERWRITTEN.contains(&key) || key == metric {
        return format!("label_{}", cut(key, MAX_NAME - 6));
    }
    cut(key, MAX_NAME).to_owned()
}

fn cut(text: &str, max: usize) -> &str {
    steeple_core::text::cut(text, max)
}

impl Encoder for NewRelicEncoder<'_> {
    fn begin(&mut self, meta: &Meta) {
        meta.name.as_ref().clone_into(&mut self.name);
        self.kind = meta.kind;
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        let name = self.name.clone();
        if self.kind == Kind::Counter {
            self.count(&name, labels, value);
        } else {
            self.gauge(&name, labels, None, value.to_f64());
        }
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        let mut buckets = Vec::new();
        view.classic(|_, bucket, cumulative| {
            buckets.push((bucket.map_or(f64::INFINITY, |bucket| bucket.bound), cumulative));
        });
        self.summary(labels, &buckets, view.sum());
    }

    fn foreign(&mut self, labels: &Labels, foreign: &Foreign<'_>) {
        if self.kind == Kind::Summary {
            let name = self.name.clone();
            for (quantile, value) in foreign.parts {
                self.gauge(&name, labels, Some(("quantile", &format!("{quantile:?}"))), value.to_f64());
            }
            self.count(&format!("{name}_count"), labels, Number::Whole(foreign.count));
            self.count(&format!("{name}_sum"), labels, Number::Float(foreign.sum));
            return;
        }
        let whole = |(bound, count): &(f64, Number)| match count {
            Number::Whole(count) => Some((*bound, *count)),
            Number::Float(_) => None,
        };
        let mut buckets: Vec<_> = foreign.parts.iter().filter_map(whole).collect();
        if buckets.last().is_none_or(|(bound, _)| bound.is_finite()) {
            buckets.push((f64::INFINITY, foreign.count));
        }
        self.summary(labels, &buckets, foreign.sum);
    }
}
