use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use bytes::Bytes;
use prometheus::proto;

use crate::{
    Metrics,
    encode::{
        Encoder, Foreign, HistogramView, Meta, Number, Source,
        model::{meta_of, write_family},
        text::{CONTENT_TYPE, TextEncoder},
    },
    registry::gather_others,
    series::Labels,
};

/// An answer to a scrape.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rendered {
    /// The value for `content-type`.
    pub content_type: &'static str,
    /// The value for `content-encoding`, if there is one.
    pub content_encoding: Option<&'static str>,
    /// The page.
    pub body: Bytes,
}

impl Metrics {
    /// Writes down every metric, in the format that the scraper's `accept` header asks for.
    ///
    /// What the team's own code registered in the same registry, or in one that is [merged](crate::MetricsBuilder::merge),
    /// is in the same answer. Runs in one go on the calling thread.
    pub fn render(&self, accept: Option<&str>, accept_encoding: Option<&str>) -> Rendered {
        let _ = (accept, accept_encoding);
        let mut others = self.others();
        let common = Labels::new(others.common.drain(..).map(|(name, value)| (name.into(), value.into())));
        let prefix = std::mem::take(&mut others.prefix);
        let mut encoder = TextEncoder::new(&common.text);
        self.write(&mut others.families, &prefix, &mut encoder);
        Rendered { content_type: CONTENT_TYPE, content_encoding: None, body: encoder.finish().into() }
    }
}

impl Metrics {
    /// What others registered, by name: from our registry and from those that are merged.
    pub(crate) fn others(&self) -> Others {
        let mut others = Others::default();
        let ours = gather_others(&self.0.registry, self.0.core.id());
        others.prefix = ours.prefix;
        others.common = ours.common;
        others.add(ours.families);
        for registry in &self.0.merged {
            others.add(gather_others(registry, self.0.core.id()).families);
        }
        others
    }

    /// Writes our families, and after them what else goes by the same names; then the families of others.
    pub(crate) fn write(
        &self,
        others: &mut BTreeMap<String, Vec<proto::MetricFamily>>,
        prefix: &str,
        to: &mut dyn Encoder,
    ) {
        let sources: Vec<Arc<dyn Source>> = self.0.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut merging = Merging { others, prefix, same: Vec::new(), to };
        for source in sources {
            source.write(&mut merging);
        }
        merging.finish();
    }
}

/// Families of others, those of one name together.
#[derive(Default)]
pub(crate) struct Others {
    pub(crate) families: BTreeMap<String, Vec<proto::MetricFamily>>,
    pub(crate) prefix: String,
    pub(crate) common: Vec<(String, String)>,
}

impl Others {
    fn add(&mut self, families: Vec<proto::MetricFamily>) {
        for family in families {
            let same = self.families.entry(family.name().to_owned()).or_default();
            // One name cannot be two kinds of metric. The first registry wins, as it would in a scrape.
            if same.first().is_none_or(|first| first.get_field_type() == family.get_field_type()) {
                same.push(family);
            }
        }
    }
}

/// Puts the series of others behind ours, where both are of one family: a family is written in one piece.
struct Merging<'a> {
    others: &'a mut BTreeMap<String, Vec<proto::MetricFamily>>,
    prefix: &'a str,
    /// What others have of the family that is being written.
    same: Vec<proto::MetricFamily>,
    to: &'a mut dyn Encoder,
}

impl Merging<'_> {
    fn finish_family(&mut self) {
        for family in std::mem::take(&mut self.same) {
            write_family(&family, false, self.to);
        }
    }

    fn finish(mut self) {
        self.finish_family();
        for families in self.others.values() {
            for (place, family) in families.iter().enumerate() {
                write_family(family, place == 0, self.to);
            }
        }
    }
}

impl Encoder for Merging<'_> {
    fn begin(&mut self, meta: &Meta) {
        self.finish_family();
        let name = format!("{}{}", self.prefix, meta.name);
        let mut same = self.others.remove(&name).unwrap_or_default();
        same.retain(|family| meta_of(family).is_some_and(|other| other.kind == meta.kind));
        self.same = same;
        self.to.begin(&Meta { name: name.into(), ..meta.clone() });
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        self.to.value(labels, value);
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        self.to.histogram(labels, view);
    }

    fn foreign(&mut self, labels: &Labels, foreign: &Foreign<'_>) {
        self.to.foreign(labels, foreign);
    }
}
