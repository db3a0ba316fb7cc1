//! From series to the formats that scrapers read.

pub(crate) mod model;
pub(crate) mod protobuf;
pub(crate) mod text;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    layout::Layout,
    series::{Exemplar, HistogramCounts, Labels, Name},
};

/// What kind of metric a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Only from collectors that are not ours.
    Summary,
}

/// What a family is called and what it means.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    /// The full name: with `_total` for counters.
    pub(crate) name: Name,
    pub(crate) help: Name,
    pub(crate) kind: Kind,
    /// The unit, a suffix of the name.
    pub(crate) unit: Option<&'static str>,
    /// The labels that vary.
    pub(crate) labels: Vec<Name>,
}

impl Meta {
    pub(crate) fn new(kind: Kind, name: impl Into<Name>, help: impl Into<Name>, labels: &[&'static str]) -> Self {
        let labels = labels.iter().map(|label| Name::from(*label)).collect();
        Self { name: name.into(), help: help.into(), kind, unit: None, labels }.with_unit_of_name()
    }

    /// Whether OpenMetrics calls both the same, although they are called differently.
    pub(crate) fn is_called_like(&self, other: &Self) -> bool {
        let bare = |meta: &Self| match meta.kind {
            Kind::Counter => meta.name.strip_suffix("_total").unwrap_or(&meta.name).to_owned(),
            Kind::Gauge | Kind::Histogram | Kind::Summary => meta.name.clone().into_owned(),
        };
        bare(self) == bare(other)
    }

    /// With one more label.
    pub(crate) fn and_label(mut self, label: Name) -> Self {
        self.labels.push(label);
        self
    }

    pub(crate) fn with_unit_of_name(mut self) -> Self {
        let base = self.name.strip_suffix("_total").unwrap_or(&self.name);
        self.unit = ["seconds", "bytes", "ratio"]
            .into_iter()
            .find(|unit| base.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')));
        self
    }
}

/// A number, whole where it can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Whole(u64),
    Float(f64),
}

impl Number {
    pub(crate) fn to_f64(self) -> f64 {
        match self {
            Self::Whole(number) => crate::layout::to_f64(number),
            Self::Float(number) => number,
        }
    }
}

/// One series of a histogram, as it is read for a scrape.
pub(crate) struct HistogramView<'a> {
    pub(crate) layout: &'a Arc<Layout>,
    pub(crate) counts: &'a HistogramCounts,
    /// One per classic bucket and one above, or none at all.
    pub(crate) exemplars: &'a [Option<Exemplar>],
}

impl HistogramView<'_> {
    pub(crate) fn sum(&self) -> f64 {
        crate::layout::to_f64(self.counts.sum) / self.layout.scale.per_unit()
    }

    /// Calls `each` with every classic bucket, its place and its cumulative count; then the one above the last bound.
    pub(crate) fn classic(&self, mut each: impl FnMut(usize, Option<&crate::layout::Classic>, u64)) {
        let mut cells = self.counts.cells.iter();
        let (mut sum, mut seen) = (0_u64, 0_usize);
        for (place, bucket) in self.layout.classic.iter().enumerate() {
            sum = sum.wrapping_add(cells.by_ref().take(bucket.cells.saturating_sub(seen)).sum());
            seen = bucket.cells;
            each(place, Some(bucket), sum);
        }
        sum = sum.wrapping_add(cells.sum());
        each(self.layout.classic.len(), None, sum);
    }
}

/// A histogram or summary that someone else collected.
pub(crate) struct Foreign<'a> {
    /// Upper bound and cumulative count, or quantile and value.
    pub(crate) parts: &'a [(f64, Number)],
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

/// Writes one format.
///
/// `begin` starts a family; nothing is written of a family without series.
pub(crate) trait Encoder {
    fn begin(&mut self, meta: &Meta);
    fn value(&mut self, labels: &Labels, value: Number);
    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>);
    fn foreign(&mut self, labels: &Labels, parts: &Foreign<'_>);
}

/// Something that has families to write.
pub(crate) trait Source: Send + Sync {
    /// Every family that it may ever write.
    fn families(&self) -> Vec<Meta>;

    /// Writes its families, each in one piece.
    fn write(&self, to: &mut dyn Encoder);

    /// Removes series that may be removed and have counted nothing for so long.
    fn expire(&self, _after: Duration, _now: Instant) {}
}
