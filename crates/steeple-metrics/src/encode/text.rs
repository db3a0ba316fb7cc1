//! Text format 0.0.4.

use super::{Encoder, Foreign, HistogramView, Kind, Meta, Number};
use crate::series::Labels;

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes text.
pub(crate) struct TextEncoder<'a> {
    out: Vec<u8>,
    /// Labels that the registry adds to each series of ours.
    common: &'a str,
    meta: Option<Meta>,
    /// `http_request_duration_seconds_bucket{`, and so on.
    name: String,
}

impl<'a> TextEncoder<'a> {
    pub(crate) fn new(common: &'a str) -> Self {
        Self { out: Vec::new(), common, meta: None, name: String::new() }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Writes the family's head before its first series.
    fn head(&mut self) {
        let Some(meta) = self.meta.take() else { return };
        let help = meta.help.replace('\\', "\\\\").replace('\n', "\\n");
        let kind = match meta.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        let name = std::mem::take(&mut self.name);
        for part in ["# HELP ", &name, " ", &help, "\n# TYPE ", &name, " ", kind, "\n"] {
            self.put(part);
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
        self.out.push(b'\n');
    }

    fn float(&mut self, value: f64) {
        self.put(&float(value));
        self.out.push(b'\n');
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

impl Encoder for TextEncoder<'_> {
    fn begin(&mut self, meta: &Meta) {
        self.name.clear();
        self.name.push_str(&meta.name);
        self.meta = Some(meta.clone());
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        self.head();
        self.sample("", labels, None);
        match value {
            Number::Whole(value) => self.whole(value),
            Number::Float(value) => self.float(value),
        }
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        self.head();
        // What each bucket's line begins with, put together once.
        let start = self.out.len();
        self.sample("_bucket", labels, Some(("le", "")));
        let kept = self.out.len().saturating_sub(3);
        let line: Box<[u8]> = self.out.get(start..kept).unwrap_or_default().into();
        self.out.truncate(start);
        let mut count = 0;
        view.classic(|_, bucket, cumulative| {
            count = cumulative;
            self.out.extend_from_slice(&line);
            self.put(bucket.map_or("+Inf", |bucket| &bucket.le));
            self.put("\"} ");
            self.whole(cumulative);
        });
        self.sample("_sum", labels, None);
        self.float(view.sum());
        self.sample("_count", labels, None);
        self.whole(count);
    }

    fn foreign(&mut self, labels: &Labels, foreign: &Foreign<'_>) {
        self.head();
        for (at, value) in foreign.parts {
            let at = float(*at);
            match value {
                Number::Whole(value) => {
                    self.sample("_bucket", labels, Some(("le", &at)));
                    self.whole(*value);
                }
                Number::Float(value) => {
                    self.sample("", labels, Some(("quantile", &at)));
                    self.float(*value);
                }
            }
        }
        self.sample("_sum", labels, None);
        self.float(foreign.sum);
        self.sample("_count", labels, None);
        self.whole(foreign.count);
    }
}
