use std::{borrow::Cow, collections::HashMap, sync::Arc};

use super::latency::{Latency, Parts};
use crate::{
    Metrics,
    encode::{Encoder, Foreign, HistogramView, Kind, Meta, Number, Source},
    layout::to_f64,
    render::Others,
    series::{Labels, Name},
};

/// One family of metrics.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FamilyReading {
    /// Its name, with `_total` for counters, without the registry's prefix.
    pub name: Cow<'static, str>,
    /// What it means.
    pub help: Cow<'static, str>,
    /// What kind of metric it is.
    pub kind: FamilyKind,
    /// Its unit, where the name has it: `seconds`, `bytes`, `ratio`.
    pub unit: Option<&'static str>,
    /// Its series.
    pub series: Vec<SeriesReading>,
}

/// What kind of metric a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FamilyKind {
    /// Only ever goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
    /// Quantiles that someone else computed.
    Summary,
}

/// One series of a family.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SeriesReading {
    /// Its labels, without those that the registry adds to all.
    pub labels: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// Its value.
    pub value: SeriesValue,
}

/// The value of a series.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SeriesValue {
    /// Of a counter or a gauge.
    Number(f64),
    /// Of a histogram.
    Histogram(HistogramReading),
    /// Of a summary.
    Summary {
        /// Quantile, from 0 to 1, and value.
        quantiles: Vec<(f64, f64)>,
        /// How many values there were.
        count: u64,
        /// Their sum.
        sum: f64,
    },
}

/// The value of a histogram.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HistogramReading {
    /// How many values were recorded.
    pub count: u64,
    /// Their sum, in the unit of the family.
    pub sum: f64,
    /// Upper bounds, the last of them infinite, and how many values were at most so large.
    pub buckets: Vec<(f64, u64)>,
    /// Finer than the buckets, for histograms of ours.
    fine: Option<Latency>,
}

/// What a sink dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The sink: `sentry`, `spans`, `log_lines`.
    pub sink: Cow<'static, str>,
    /// Why; empty where the sink has one reason only.
    pub reason: Cow<'static, str>,
    /// How many items.
    pub count: u64,
}

impl HistogramReading {
    /// The value that this part of all values did not exceed. `None` without values. From native buckets where the histogram
    /// is ours, else by linear interpolation within a bucket, as `histogram_quantile` of `PromQL` has it.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if let Some(fine) = &self.fine {
            return fine.quantile_shown(q);
        }
        interpolated(&self.buckets, self.count, q)
    }

    /// A value for each bucket that is not empty, in the unit of the family, and its count; ascending. The middle of native
    /// buckets where the histogram is ours; else the middle of the bucket, and the lower bound of the infinite one.
    pub fn cells(&self) -> Vec<(f64, u64)> {
        if let Some((layout, cells)) = self.fine() {
            return cells.iter().map(|(cell, count)| (layout.middle_of(*cell), *count)).collect();
        }
        let (mut lower, mut below) = (0.0, 0);
        let mut cells = Vec::new();
        for (upper, cumulative) in &self.buckets {
            let count = cumulative.saturating_sub(below);
            if count > 0 {
                let middle = if upper.is_finite() { f64::midpoint(lower, *upper) } else { lower };
                cells.push((middle, count));
            }
            (lower, below) = (if upper.is_finite() { *upper } else { lower }, *cumulative);
        }
        cells
    }

    /// The cells of a histogram of ours.
    pub(super) fn fine(&self) -> Option<Parts<'_>> {
        self.fine.as_ref().and_then(Latency::parts)
    }

    fn since(&self, older: &Self) -> Self {
        let same = self.buckets.len() == older.buckets.len() && self.count >= older.count;
        if !same {
            return self.clone();
        }
        let buckets = self.buckets.iter().zip(&older.buckets);
        Self {
            count: self.count.saturating_sub(older.count),
            sum: self.sum - older.sum,
            buckets: buckets.map(|((bound, now), (_, then))| (*bound, now.saturating_sub(*then))).collect(),
            fine: self.fine.as_ref().zip(older.fine.as_ref()).map(|(now, then)| now.since(then)),
        }
    }
}

/// A quantile by linear interpolation within a bucket, as `histogram_quantile` of `PromQL` has it.
pub(super) fn interpolated(buckets: &[(f64, u64)], count: u64, q: f64) -> Option<f64> {
    if count == 0 || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let rank = q * to_f64(count);
    let (mut lower, mut below) = (0.0, 0.0);
    for (upper, count) in buckets {
        let count = to_f64(*count);
        if count >= rank && count > below {
            let whole = upper.is_finite();
            return Some(if whole { lower + (upper - lower) * (rank - below) / (count - below) } else { lower });
        }
        (lower, below) = (if upper.is_finite() { *upper } else { lower }, count);
    }
    Some(lower)
}

impl SeriesReading {
    /// The value of a label; empty where it has none of that name.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }

    /// Its number; of a histogram or summary, how many values it has.
    pub fn number(&self) -> f64 {
        match &self.value {
            SeriesValue::Number(number) => *number,
            SeriesValue::Histogram(histogram) => to_f64(histogram.count),
            SeriesValue::Summary { count, .. } => to_f64(*count),
        }
    }
}

impl FamilyReading {
    /// What came since an older reading. A counter that is lower than it was began anew, and counts whole.
    pub(super) fn since(&self, older: &Self) -> Self {
        let before: HashMap<_, _> = older.series.iter().map(|series| (&series.labels, &series.value)).collect();
        let since = |series: &SeriesReading| {
            let value = match (&series.value, before.get(&series.labels)) {
                (SeriesValue::Number(now), Some(SeriesValue::Number(then)))
                    if self.kind == FamilyKind::Counter && now >= then =>
                {
                    SeriesValue::Number(now - then)
                }
                (SeriesValue::Histogram(now), Some(SeriesValue::Histogram(then))) => {
                    SeriesValue::Histogram(now.since(then))
                }
                (
                    SeriesValue::Summary { quantiles, count, sum },
                    Some(SeriesValue::Summary { count: count_then, sum: sum_then, .. }),
                ) if count >= count_then => SeriesValue::Summary {
                    quantiles: quantiles.clone(),
                    count: count.saturating_sub(*count_then),
                    sum: sum - sum_then,
                },
                (value, _) => value.clone(),
            };
            SeriesReading { labels: series.labels.clone(), value }
        };
        Self { series: self.series.iter().map(since).collect(), ..self.clone() }
    }
}

/// Makes readings of families.
struct Reader<'a> {
    families: Vec<FamilyReading>,
    prefix: &'a str,
    common: &'a [(Name, Name)],
}

impl Reader<'_> {
    fn push(&mut self, labels: &Labels, value: SeriesValue) {
        let is_own = |pair: &&(Name, Name)| !labels.is_complete || !self.common.contains(pair);
        let labels = labels.pairs.iter().filter(is_own).cloned().collect();
        if let Some(family) = self.families.last_mut() {
            family.series.push(SeriesReading { labels, value });
        }
    }
}

impl Encoder for Reader<'_> {
    fn begin(&mut self, meta: &Meta) {
        if self.families.last().is_some_and(|family| family.series.is_empty()) {
            self.families.pop();
        }
        let name = match meta.name.strip_prefix(self.prefix) {
            Some(own) if !self.prefix.is_empty() => own.to_owned().into(),
            _ => meta.name.clone(),
        };
        let kind = match meta.kind {
            Kind::Counter => FamilyKind::Counter,
            Kind::Gauge => FamilyKind::Gauge,
            Kind::Histogram => FamilyKind::Histogram,
            Kind::Summary => FamilyKind::Summary,
        };
        let (help, unit) = (meta.help.clone(), meta.unit);
        self.families.push(FamilyReading { name, help, kind, unit, series: Vec::new() });
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        self.push(labels, SeriesValue::Number(value.to_f64()));
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        let mut buckets = Vec::new();
        let mut count = 0;
        view.classic(|_, bucket, cumulative| {
            count = cumulative;
            buckets.push((bucket.map_or(f64::INFINITY, |bucket| bucket.bound), cumulative));
        });
        let fine = Some(Latency::from((view.layout, view.counts)));
        self.push(labels, SeriesValue::Histogram(HistogramReading { count, sum: view.sum(), buckets, fine }));
    }

    fn foreign(&mut self, labels: &Labels, foreign: &Foreign<'_>) {
        let (count, sum) = (foreign.count, foreign.sum);
        let numbers = |(at, number): &(f64, Number)| match number {
            Number::Whole(count) => Ok((*at, *count)),
            Number::Float(value) => Err((*at, *value)),
        };
        let buckets: Result<Vec<_>, _> = foreign.parts.iter().map(numbers).collect();
        let value = match buckets {
            Ok(buckets) if !buckets.is_empty() => {
                SeriesValue::Histogram(HistogramReading { count, sum, buckets, fine: None })
            }
            _ => {
                let quantiles = foreign.parts.iter().filter_map(|part| numbers(part).err()).collect();
                SeriesValue::Summary { quantiles, count, sum }
            }
        };
        self.push(labels, value);
    }
}

impl Metrics {
    /// Reads every family but those about requests that were served.
    pub(super) fn read_families(&self) -> Vec<FamilyReading> {
        self.read_sources(self.other_sources(), self.others())
    }

    /// Reads the families of these names, and those that [`dropped`] reads. The application's registries are read
    /// only where one of them is not ours.
    pub(super) fn read_families_of(&self, names: &[Box<str>], with_dropped: bool) -> Vec<FamilyReading> {
        let wanted = |name: &str| names.iter().any(|other| **other == *name) || (with_dropped && is_of_dropped(name));
        let mut found = 0_usize;
        let mut is_wanted = |meta: &Meta| {
            let is_wanted = wanted(&meta.name);
            found = found.saturating_add(usize::from(is_wanted));
            is_wanted
        };
        let mut sources = self.other_sources();
        sources.retain(|source| source.families().iter().filter(|meta| is_wanted(meta)).count() > 0);
        let others = if with_dropped || found < names.len() { self.others() } else { Others::default() };
        let mut families = self.read_sources(sources, others);
        families.retain(|family| wanted(&family.name));
        families
    }

    fn read_sources(&self, sources: Vec<Arc<dyn Source>>, mut others: Others) -> Vec<FamilyReading> {
        let crate::registry::Naming { prefix, common } = std::mem::take(&mut others.naming);
        let common = Labels::new(common.into_iter().map(|(name, value)| (name.into(), value.into())));
        let mut reader = Reader { families: Vec::new(), prefix: &prefix, common: &common.pairs };
        self.write_sources(sources, &mut others, &prefix, &common, &mut reader);
        reader.families.retain(|family| !family.series.is_empty());
        reader.families
    }
}

fn is_of_dropped(name: &str) -> bool {
    name.starts_with("steeple_") && name.ends_with("_dropped_total")
}

/// What sinks dropped: the families that are called `steeple_…_dropped_total`.
pub(super) fn dropped(families: &[FamilyReading]) -> Vec<Dropped> {
    let mut dropped = Vec::new();
    for family in families {
        let sink = family.name.strip_prefix("steeple_").and_then(|name| name.strip_suffix("_dropped_total"));
        for series in sink.iter().flat_map(|_| &family.series) {
            let named = [series.label("sink"), series.label("output")].into_iter().find(|name| !name.is_empty());
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, of less than 2^53")]
            let count = series.number() as u64;
            dropped.push(Dropped {
                sink: named.or(sink).unwrap_or_default().to_owned().into(),
                reason: series.label("reason").to_owned().into(),
                count,
            });
        }
    }
    dropped
}
