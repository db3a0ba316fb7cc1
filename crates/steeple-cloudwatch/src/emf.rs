//! The embedded metric format: lines from which CloudWatch makes metrics.
//!
//! # Source
//! CloudWatch user guide, "Specification: Embedded Metric Format".

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use steeple_export::{Answer, DropReason, Exporter, Reason};
use steeple_scrub::{Scrubbed, Scrubber};

use crate::{
    datum::{Datum, Dimensions, Unit, rounded},
    limits::{MAX_EMF_LINE, MAX_EMF_METRICS, MAX_EMF_VALUES},
    source::{Source, admit, scrub},
};

/// Writes lines.
pub(crate) struct Emf<W> {
    namespace: Arc<str>,
    source: Source,
    scrubber: Scrubber,
    writer: Arc<Mutex<W>>,
    lines: Vec<u8>,
    /// How much of them is written: an attempt that failed goes on where it was.
    written: usize,
}

impl<W: Write + Send + 'static> Emf<W> {
    pub(crate) fn new(namespace: Arc<str>, source: Source, scrubber: Scrubber, writer: Arc<Mutex<W>>) -> Self {
        Self { namespace, source, scrubber, writer, lines: Vec::new(), written: 0 }
    }
}

impl<W: Write + Send + 'static> Exporter for Emf<W> {
    type Item = Datum;
    type Ready = Datum;

    fn size(item: &Datum) -> usize {
        item.bytes()
    }

    fn scrub(&mut self, item: Datum) -> Scrubbed<Datum> {
        scrub(&self.scrubber, item)
    }

    fn admit(&mut self, ready: &Datum) -> Result<(), DropReason> {
        admit(ready.at)
    }

    fn prepare(&mut self, batch: &[Scrubbed<Datum>]) -> Result<(), Reason> {
        self.lines = lines(&self.namespace, batch.iter().map(|datum| &**datum));
        self.written = 0;
        Ok(())
    }

    async fn export(&mut self, _batch: &[Scrubbed<Datum>], _deadline: Instant) -> Answer {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // A line at a time, so that others can write between them.
        while let Some(rest) =
            self.lines.get(self.written..).and_then(|rest| rest.split_inclusive(|byte| *byte == b'\n').next())
        {
            match writer.write(rest) {
                Ok(0) => return Answer::retry(DropReason::Unavailable, "nothing more can be written"),
                Ok(written) => self.written = self.written.saturating_add(written),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
                Err(error) => return Answer::retry(DropReason::Unavailable, Reason::of_error(&error)),
            }
        }
        // What a buffer holds back is written with the next lines.
        let _later = writer.flush();
        Answer::Accepted
    }

    fn tick(&mut self) -> Vec<Datum> {
        self.source.take()
    }
}

/// One document each time and dimension set, in more than one line where it is too long.
pub(crate) fn lines<'a>(namespace: &str, data: impl IntoIterator<Item = &'a Datum>) -> Vec<u8> {
    let mut sets: BTreeMap<_, Vec<&Datum>> = BTreeMap::new();
    for datum in data {
        sets.entry((datum.at, &datum.dimensions)).or_default().push(datum);
    }
    let mut out = Vec::new();
    for ((at, dimensions), data) in sets {
        let mut document = Document::new(namespace, dimensions);
        // Data of more values than fit in one of `PutMetricData`'s come as two: here they are one.
        let mut merged: BTreeMap<(&str, Unit), Vec<(f64, f64)>> = BTreeMap::new();
        for datum in data {
            merged.entry((&datum.name, datum.unit)).or_default().extend(&datum.values);
        }
        for ((name, unit), values) in merged {
            // A name can stand for one thing in a document.
            if name == "_aws" || dimensions.iter().any(|(dimension, _)| dimension == name) {
                continue;
            }
            let value = numbers(&values);
            let bytes = value.to_string().len().saturating_add(name.len().saturating_mul(2)).saturating_add(40);
            let is_there = document.members.contains_key(name);
            if document.metrics.len() >= MAX_EMF_METRICS
                || is_there
                || document.bytes.saturating_add(bytes) > MAX_EMF_LINE
            {
                document.write(at, dimensions, &mut out);
                document = Document::new(namespace, dimensions);
            }
            document.bytes = document.bytes.saturating_add(bytes);
            document.metrics.push(json!({"Name": name, "Unit": unit.as_str()}));
            document.members.insert(name.to_owned(), value);
        }
        document.write(at, dimensions, &mut out);
    }
    out
}

struct Document<'a> {
    namespace: &'a str,
    metrics: Vec<Value>,
    members: Map<String, Value>,
    bytes: usize,
}

impl<'a> Document<'a> {
    fn new(namespace: &'a str, dimensions: &Dimensions) -> Self {
        let of = |(name, value): &(std::borrow::Cow<'_, str>, String)| {
            name.len().saturating_mul(2).saturating_add(value.len()).saturating_add(10)
        };
        // What every document has besides.
        let bytes = dimensions.iter().map(of).fold(namespace.len().saturating_add(150), usize::saturating_add);
        Self { namespace, metrics: Vec::new(), members: Map::new(), bytes }
    }

    fn write(self, at: Duration, dimensions: &Dimensions, out: &mut Vec<u8>) {
        if self.metrics.is_empty() {
            return;
        }
        let names: Vec<_> = dimensions.iter().map(|(name, _)| name).collect();
        let millis = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let mut document = Map::new();
        document.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": millis,
                "CloudWatchMetrics": [{"Namespace": self.namespace, "Dimensions": [names], "Metrics": self.metrics}],
            }),
        );
        for (name, value) in dimensions.iter() {
            document.insert(name.clone().into_owned(), value.as_str().into());
        }
        document.extend(self.members);
        out.extend_from_slice(Value::Object(document).to_string().as_bytes());
        out.push(b'\n');
    }
}

/// A number, or up to 100: where there were more, as many that have the same percentiles and the same mean.
fn numbers(values: &[(f64, f64)]) -> Value {
    let mut values = values.to_vec();
    values.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let count: f64 = values.iter().map(|(_, count)| count).sum();
    if let [(value, count)] = &*values
        && crate::datum::is_one(*count)
    {
        return json!(value);
    }
    let most = crate::collect::to_f64(MAX_EMF_VALUES as u64);
    let steps = count.min(most).round();
    let mut chosen = Vec::new();
    let (mut seen, mut rest) = (0.0, values.iter());
    let mut current = rest.next();
    let mut step = 0.5;
    while step < steps {
        let rank = step * count / steps;
        while let Some((_, count)) = current
            && seen + count < rank
        {
            seen += count;
            current = rest.next();
        }
        let Some((value, _)) = current.or(values.last()) else { break };
        chosen.push(*value);
        step += 1.0;
    }
    let exact: f64 = values.iter().map(|(value, count)| value * count).sum::<f64>() / count;
    let mean = chosen.iter().sum::<f64>() / steps;
    let by = if count > most && (0.5..=2.0).contains(&(exact / mean)) { exact / mean } else { 1.0 };
    chosen.into_iter().map(|value| if count > most { rounded(value * by, 6) } else { value }).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_VALUES;

    fn datum(name: &str, unit: Unit, values: Vec<(f64, f64)>) -> Datum {
        let dimensions = vec![("Service".into(), "api".to_owned()), ("Environment".into(), "production".to_owned())];
        let at = Duration::from_millis(1_795_985_484_007);
        Datum { name: name.to_owned().into(), dimensions: Arc::new(dimensions), unit, at, values }
    }

    fn documents(lines: &[u8]) -> Vec<Value> {
        str::from_utf8(lines).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_document_is_as_the_documentation_shows_it() {
        let data = [
            datum("Requests", Unit::Count, vec![(2.0, 1.0)]),
            datum("Latency", Unit::Seconds, vec![(0.012, 1.0), (0.034, 1.0)]),
        ];
        let lines = lines("shop", &data);
        let page = include_str!("../tests/data/aws.md");
        assert!(page.contains(str::from_utf8(&lines).unwrap()), "{}", str::from_utf8(&lines).unwrap());
    }

    #[test]
    fn documents_keep_every_limit_of_the_format() {
        let data: Vec<_> = (0..350_u16)
            .map(|number| {
                let values =
                    (0..u16::try_from(MAX_VALUES).unwrap()).map(|value| (f64::from(value) * 1.001, f64::from(number)));
                datum(&format!("metric{number}"), Unit::Count, values.filter(|(_, count)| *count > 0.0).collect())
            })
            .filter(|datum| !datum.values.is_empty())
            .chain([datum("Service", Unit::Count, vec![(1.0, 1.0)]), datum("_aws", Unit::Count, vec![(1.0, 1.0)])])
            .collect();
        let lines = lines("shop", &data);
        assert!(lines.split(|byte| *byte == b'\n').all(|line| line.len() < 16 * 1024));
        let mut seen = 0_usize;
        for document in documents(&lines) {
            let directive = &document["_aws"]["CloudWatchMetrics"][0];
            assert!(document["_aws"]["Timestamp"].is_u64() && directive["Namespace"] == "shop");
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!((1..=MAX_EMF_METRICS).contains(&metrics.len()));
            seen = seen.saturating_add(metrics.len());
            for metric in metrics {
                let value = &document[metric["Name"].as_str().unwrap()];
                let numbers = value.as_array().map_or(1, Vec::len);
                assert!(numbers <= MAX_EMF_VALUES && (value.is_number() || value.is_array()), "{value}");
            }
            for key in directive["Dimensions"][0].as_array().unwrap() {
                assert!(document[key.as_str().unwrap()].is_string());
            }
        }
        assert_eq!(seen, 349, "names that stand for something else are left out");
    }

    #[test]
    fn a_hundred_values_have_the_percentiles_and_the_mean_of_all() {
        let values: Vec<_> = (1..=150_u16).map(|value| (f64::from(value), f64::from(value % 7) * 11.0 + 1.0)).collect();
        let chosen = numbers(&values);
        let chosen: Vec<f64> = chosen.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(chosen.len(), 100);
        let count: f64 = values.iter().map(|(_, count)| count).sum();
        let mean = values.iter().map(|(value, count)| value * count).sum::<f64>() / count;
        assert!((chosen.iter().sum::<f64>() / 100.0 - mean).abs() < 0.01);
        for percent in [50_u8, 90, 99] {
            let mut seen = 0.0;
            let exact = values.iter().find(|(_, times)| {
                seen += times;
                seen >= count * f64::from(percent) / 100.0
            });
            let exact = exact.unwrap().0;
            let ours = chosen[usize::from(percent)];
            assert!((ours - exact).abs() <= exact * 0.05, "p{percent}: {ours}, not {exact}");
        }
        assert_eq!(numbers(&[(2.0, 3.0), (1.0, 1.0)]), json!([1.0, 2.0, 2.0, 2.0]));
        assert_eq!(numbers(&[(2.0, 1.0)]), json!(2.0));
    }
}
