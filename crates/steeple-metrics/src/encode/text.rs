//! The text formats: 0.0.4, and OpenMetrics 1.0.

use std::collections::HashSet;

use super::{Encoder, Foreign, HistogramView, Kind, Meta, Number};
use crate::series::{Exemplar, Labels};

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
pub(crate) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// For a scraper that asked how names are escaped: ours need no escaping.
pub(crate) const OPENMETRICS_ESCAPED: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";

/// Writes text.
pub(crate) struct TextEncoder<'a> {
    out: Vec<u8>,
    openmetrics: bool,
    /// Labels that the registry adds to each series of ours.
    common: &'a str,
    /// The family, until its head is written.
    meta: Option<Meta>,
    /// What samples are called, without a suffix of theirs.
    name: String,
    /// What goes behind the name of a counter's sample.
    total: &'static str,
    has_created: bool,
    /// Names that a counter cannot have without its `_total`.
    taken: HashSet<String>,
}

impl<'a> TextEncoder<'a> {
    /// Writes format 0.0.4.
    pub(crate) fn new(common: &'a str) -> Self {
        Self {
            out: Vec::new(),
            openmetrics: false,
            common,
            meta: None,
            name: String::new(),
            total: "",
            has_created: false,
            taken: HashSet::new(),
        }
    }

    /// Writes OpenMetrics. `taken`: names of families that are not counters.
    pub(crate) fn openmetrics(common: &'a str, taken: HashSet<String>) -> Self {
        Self { openmetrics: true, taken, ..Self::new(common) }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.openmetrics {
            self.put("# EOF\n");
        }
        self.out
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Writes the family's head before its first series.
    fn head(&mut self) {
        let Some(meta) = self.meta.take() else { return };
        let mut help = meta.help.replace('\\', "\\\\").replace('\n', "\\n");
        let kind = match meta.kind {
            // A counter must be called `_total` there; one that is not can only be unknown.
            Kind::Counter if self.openmetrics && self.total.is_empty() => "unknown",
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        let name = std::mem::take(&mut self.name);
        if self.openmetrics {
            help = help.replace('"', "\\\"");
            for part in ["# TYPE ", &name, " ", kind, "\n"] {
                self.put(part);
            }
            if let Some(unit) = meta.unit {
                for part in ["# UNIT ", &name, " ", unit, "\n"] {
                    self.put(part);
                }
            }
            for part in ["# HELP ", &name, " ", &help, "\n"] {
                self.put(part);
            }
        } else {
            for part in ["# HELP ", &name, " ", &help, "\n# TYPE ", &name, " ", kind, "\n"] {
                self.put(part);
            }
        }
        self.name = name;
    }

    /// Writes a sample up to and including the space before its value.
    fn sample(&mut self, suffix: &str, labels: &Labels, extra: Option<(&str, &str)>) {
        self.out.extend_from_slice(self.name.as_bytes());
        self.put(suffix);
        let mut before = "{";
        let common = if labels.is_complete { "" } else { self.common };
        for part in [&*labels.text, common] {
            if !part.is_empty() {
                self.put(before);
                self.put(part);
                before = ",";
            }
        }
        if let Some((name, value)) = extra {
            for part in [before, name, "=\"", value, "\""] {
                self.put(part);
            }
            before = ",";
        }
        self.put(if before == "{" { " " } else { "} " });
    }

    fn whole(&mut self, value: u64) {
        let mut buffer = itoa::Buffer::new();
        self.put(buffer.format(value));
    }

    fn end(&mut self) {
        self.out.push(b'\n');
    }

    fn sum_and_count(&mut self, labels: &Labels, sum: f64, count: u64) {
        self.sample("_sum", labels, None);
        self.put(&float(sum));
        self.end();
        self.sample("_count", labels, None);
        self.whole(count);
        self.end();
    }

    fn created(&mut self, labels: &Labels) {
        if self.has_created && !labels.is_complete {
            self.sample("_created", labels, None);
            self.put(&seconds(labels.created_ms));
            self.end();
        }
    }

    fn exemplar(&mut self, exemplar: &Exemplar, per_unit: f64) {
        self.put(" # {trace_id=\"");
        hex(&exemplar.trace_id, &mut self.out);
        self.put("\",span_id=\"");
        hex(&exemplar.span_id, &mut self.out);
        let value = float(crate::layout::to_f64(exemplar.value) / per_unit);
        for part in ["\"} ", &value, " ", &seconds(exemplar.unix_ms)] {
            self.put(part);
        }
    }
}

/// A number as both text formats write it.
pub(crate) fn float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        value.to_string()
    }
}

/// A bound or a quantile as OpenMetrics writes it: with a point.
fn canonical(value: f64) -> String {
    if value.is_finite() { format!("{value:?}") } else { float(value) }
}

fn seconds(unix_ms: u64) -> String {
    format!("{}.{:03}", unix_ms / 1000, unix_ms % 1000)
}

pub(crate) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.extend(DIGITS.get(usize::from(digit)));
        }
    }
}

impl Encoder for TextEncoder<'_> {
    fn begin(&mut self, meta: &Meta) {
        let (base, total) = match meta.name.strip_suffix("_total") {
            // Where something else has the name, the whole name stays, and the kind can only be unknown.
            Some(base) if self.openmetrics && meta.kind == Kind::Counter && !self.taken.contains(base) => {
                (base, "_total")
            }
            _ => (&*meta.name, ""),
        };
        self.name.clear();
        self.name.push_str(base);
        self.total = total;
        self.has_created = self.openmetrics && (meta.kind == Kind::Histogram || !total.is_empty());
        self.meta = Some(meta.clone());
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        self.head();
        self.sample(self.total, labels, None);
        match value {
            Number::Whole(value) => self.whole(value),
            Number::Float(value) => self.put(&float(value)),
        }
        self.end();
        self.created(labels);
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        self.head();
        // What each bucket's line begins with, put together once.
        let start = self.out.len();
        self.sample("_bucket", labels, Some(("le", "")));
        let kept = self.out.len().saturating_sub(3);
        let line: Box<[u8]> = self.out.get(start..kept).unwrap_or_default().into();
        self.out.truncate(start);
        let openmetrics = self.openmetrics;
        let mut count = 0;
        view.classic(|place, bucket, cumulative| {
            count = cumulative;
            self.out.extend_from_slice(&line);
            self.put(match bucket {
                Some(bucket) if openmetrics => &bucket.le_canonical,
                Some(bucket) => &bucket.le,
                None => "+Inf",
            });
            self.put("\"} ");
            self.whole(cumulative);
            if openmetrics && let Some(Some(exemplar)) = view.exemplars.get(place) {
                self.exemplar(exemplar, view.layout.scale.per_unit());
            }
            self.end();
        });
        self.sum_and_count(labels, view.sum(), count);
        self.created(labels);
    }

    fn foreign(&mut self, labels: &Labels, foreign: &Foreign<'_>) {
        self.head();
        for (at, value) in foreign.parts {
            let at = if self.openmetrics { canonical(*at) } else { float(*at) };
            match value {
                Number::Whole(value) => {
                    self.sample("_bucket", labels, Some(("le", &at)));
                    self.whole(*value);
                }
                Number::Float(value) => {
                    self.sample("", labels, Some(("quantile", &at)));
                    self.put(&float(*value));
                }
            }
            self.end();
        }
        self.sum_and_count(labels, foreign.sum, foreign.count);
    }
}
