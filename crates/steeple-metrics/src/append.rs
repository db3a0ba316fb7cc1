//! The page of another recorder, such as that of the `metrics` crate, as a part of ours.
//!
//! It is read as text, so that no crate of its kind becomes a dependency, and becomes families like those of a merged registry:
//! they are in every format and every push, and a name that is in two places is noticed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use prometheus::proto;

/// Most bytes of a page that are read.
const MAX_BYTES: usize = 32 << 20;

/// A page of text in Prometheus' format 0.0.4, and what to call it in the log.
#[derive(Clone)]
pub(crate) struct Appended {
    pub(crate) name: String,
    pub(crate) render: Arc<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Appended").field(&self.name).finish()
    }
}

/// A family while it is read.
#[derive(Default)]
struct Read {
    help: String,
    kind: Option<proto::MetricType>,
    series: BTreeMap<Vec<(String, String)>, Series>,
    /// In the order in which they came.
    order: Vec<Vec<(String, String)>>,
}

#[derive(Default)]
struct Series {
    value: f64,
    count: u64,
    sum: f64,
    /// Upper bound and cumulative count, or quantile and value.
    parts: Vec<(f64, f64)>,
}

/// The families of a page, and how many of its lines are not in the format.
pub(crate) fn parse(page: &str) -> (Vec<proto::MetricFamily>, usize) {
    let page = steeple_core::text::cut(page, MAX_BYTES);
    let mut families = BTreeMap::<String, Read>::new();
    let mut wrong = 0_usize;
    for line in page.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let is_read = match line.strip_prefix('#') {
            Some(comment) => read_comment(comment.trim_start(), &mut families),
            None => read_sample(line, &mut families),
        };
        if is_read.is_none() {
            wrong = wrong.saturating_add(1);
        }
    }
    (families.into_iter().filter_map(|(name, read)| finish(name, read)).collect(), wrong)
}

fn read_comment(comment: &str, families: &mut BTreeMap<String, Read>) -> Option<()> {
    let (word, rest) = comment.split_once(' ').unwrap_or((comment, ""));
    let (name, text) = rest.trim_start().split_once(' ').unwrap_or((rest, ""));
    match word {
        "HELP" if is_name(name) => {
            families.entry(name.to_owned()).or_default().help = unescape(text);
        }
        "TYPE" if is_name(name) => {
            let kind = match text.trim() {
                "counter" => proto::MetricType::COUNTER,
                "gauge" | "untyped" | "unknown" => proto::MetricType::GAUGE,
                "histogram" => proto::MetricType::HISTOGRAM,
                "summary" => proto::MetricType::SUMMARY,
                _ => return None,
            };
            families.entry(name.to_owned()).or_default().kind = Some(kind);
        }
        "HELP" | "TYPE" => return None,
        _ => {}
    }
    Some(())
}

fn read_sample(line: &str, families: &mut BTreeMap<String, Read>) -> Option<()> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    if !is_name(name) {
        return None;
    }
    let (mut labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = number(rest.split_whitespace().next()?)?;
    let (family, part) = family_of(name, families);
    let within = match part {
        "_bucket" => Some(take(&mut labels, "le")?),
        "" => take(&mut labels, "quantile"),
        _ => None,
    };
    let read = families.entry(family.to_owned()).or_default();
    let is_summary = matches!(read.kind, Some(proto::MetricType::SUMMARY));
    if !read.series.contains_key(&labels) {
        read.order.push(labels.clone());
    }
    let series = read.series.entry(labels).or_default();
    match (part, within) {
        ("_sum", _) => series.sum = value,
        ("_count", _) => series.count = whole(value),
        ("_bucket", Some(bound)) => series.parts.push((number(&bound)?, value)),
        ("", Some(quantile)) if is_summary => series.parts.push((number(&quantile)?, value)),
        _ => series.value = value,
    }
    Some(())
}

/// The family of a sample, and which part of it: `_bucket`, `_sum` and `_count` belong to a histogram or summary of that name.
fn family_of<'a>(name: &'a str, families: &BTreeMap<String, Read>) -> (&'a str, &'static str) {
    for part in ["_bucket", "_sum", "_count"] {
        if let Some(family) = name.strip_suffix(part)
            && let Some(Read { kind: Some(kind), .. }) = families.get(family)
            && (*kind == proto::MetricType::HISTOGRAM || (*kind == proto::MetricType::SUMMARY && part != "_bucket"))
        {
            return (family, part);
        }
    }
    (name, "")
}

/// `a="x",b="y"} rest`.
fn read_labels(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start().strip_prefix('"')?;
        let end = end_of_value(after)?;
        let (value, after) = (after.get(..end)?, after.get(end.checked_add(1)?..)?);
        let name = name.trim();
        if !is_name(name) || name.contains(':') {
            return None;
        }
        labels.push((name.to_owned(), unescape(value)));
        let after = after.trim_start();
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
    }
}

/// Where the quote is that ends a value.
fn end_of_value(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(escaped)) => out.push(escaped),
            (c, _) => out.push(c),
        }
    }
    out
}

fn take(labels: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let place = labels.iter().position(|(label, _)| label == name)?;
    Some(labels.remove(place).1)
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(is_letter) && bytes.all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

/// A count, which the format writes as any number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of another recorder; negative ones are invalid"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

fn finish(name: String, mut read: Read) -> Option<proto::MetricFamily> {
    let kind = read.kind.unwrap_or(proto::MetricType::GAUGE);
    let order = std::mem::take(&mut read.order);
    let metrics = order.into_iter().filter_map(|labels| {
        let series = read.series.remove(&labels)?;
        Some(metric(kind, labels, series))
    });
    let metrics: Vec<_> = metrics.collect();
    if metrics.is_empty() {
        return None;
    }
    let mut family = proto::MetricFamily::default();
    family.set_name(name);
    family.set_help(read.help);
    family.set_field_type(kind);
    family.set_metric(metrics);
    Some(family)
}

fn metric(kind: proto::MetricType, labels: Vec<(String, String)>, mut series: Series) -> proto::Metric {
    let pair = |(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(name);
        pair.set_value(value);
        pair
    };
    let mut metric = proto::Metric::from_label(labels.into_iter().map(pair).collect());
    series.parts.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    match kind {
        proto::MetricType::COUNTER => {
            let mut counter = proto::Counter::default();
            counter.set_value(series.value);
            metric.set_counter(counter);
        }
        proto::MetricType::HISTOGRAM => {
            let mut histogram = proto::Histogram::default();
            histogram.set_sample_count(series.count);
            histogram.set_sample_sum(series.sum);
            let bucket = |(bound, count): (f64, f64)| {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(whole(count));
                bucket
            };
            histogram.set_bucket(series.parts.into_iter().map(bucket).collect());
            metric.set_histogram(histogram);
        }
        proto::MetricType::SUMMARY => {
            let mut summary = proto::Summary::default();
            summary.set_sample_count(series.count);
            summary.set_sample_sum(series.sum);
            let quantile = |(quantile, value): (f64, f64)| {
                let mut made = proto::Quantile::default();
                made.set_quantile(quantile);
                made.set_value(value);
                made
            };
            summary.set_quantile(series.parts.into_iter().map(quantile).collect());
            metric.set_summary(summary);
        }
        proto::MetricType::GAUGE | proto::MetricType::UNTYPED => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(series.value);
            metric.set_gauge(gauge);
        }
    }
    metric
}
