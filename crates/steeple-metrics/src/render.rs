use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError},
};

use bytes::Bytes;
use prometheus::proto;
use steeple_core::clock;

use crate::{
    Metrics,
    accept::{self, Format},
    append::{self, Appended},
    encode::{
        Encoder, Foreign, HistogramView, Kind, Meta, Number, Source,
        model::{meta_of, write_family},
        protobuf::{self, ProtobufEncoder},
        text::{self, TextEncoder},
    },
    idle::Showing,
    registry::{Naming, gather_others},
    series::{Labels, Name},
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
    ///
    /// Where a collector panics, its families are missing; see [`register`](Self::register).
    pub fn render(&self, accept: Option<&str>, accept_encoding: Option<&str>) -> Rendered {
        self.render_with(self.others(), accept, accept_encoding)
    }

    pub(crate) fn render_with(
        &self,
        mut others: Others,
        accept: Option<&str>,
        accept_encoding: Option<&str>,
    ) -> Rendered {
        let Naming { prefix, common } = std::mem::take(&mut others.naming);
        let common = Labels::new(common.into_iter().map(|(name, value)| (name.into(), value.into())));
        let (content_type, body) = match accept::format(accept) {
            Format::Text => {
                let mut encoder = TextEncoder::new(&common.text);
                self.write(&mut others, &prefix, &common, &mut encoder);
                (text::CONTENT_TYPE, encoder.finish())
            }
            Format::OpenMetrics { says_escaping } => {
                let taken = self.names_without_total(&others, &prefix);
                let mut encoder = TextEncoder::openmetrics(&common.text, taken);
                self.write(&mut others, &prefix, &common, &mut encoder);
                let content_type = if says_escaping { text::OPENMETRICS_ESCAPED } else { text::OPENMETRICS };
                (content_type, encoder.finish())
            }
            Format::Protobuf => {
                let mut encoder = ProtobufEncoder::new(&common.pairs);
                self.write(&mut others, &prefix, &common, &mut encoder);
                (protobuf::CONTENT_TYPE, encoder.finish())
            }
        };
        #[cfg(feature = "gzip")]
        if accept::takes_gzip(accept_encoding)
            && let Some(body) = gzip(&body)
        {
            return Rendered { content_type, content_encoding: Some("gzip"), body: body.into() };
        }
        #[cfg(not(feature = "gzip"))]
        let (Some(_) | None) = accept_encoding;
        Rendered { content_type, content_encoding: None, body: body.into() }
    }
}

#[cfg(feature = "gzip")]
fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write;
    let room = Vec::with_capacity(body.len() / 8);
    let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

impl Metrics {
    /// What others registered, by name: from our registry and from those that are merged.
    pub(crate) fn others(&self) -> Others {
        let mut others = Others::default();
        let core = &self.0.core;
        let gather = |registry| core.collector_panics.catch(|| gather_others(registry, core.id()));
        // A registry reads its collectors in one go: where one of them panics, only ours are left, which are not read by way
        // of it.
        let ours = gather(&self.0.registry);
        others.is_complete = ours.is_some();
        if let Some(ours) = ours {
            others.naming = self.0.naming.get_or_init(|| ours.naming).clone();
            others.add(ours.families);
        } else {
            others.naming = self.0.naming.get().cloned().unwrap_or_default();
        }
        for registry in &self.0.merged {
            let theirs = gather(registry);
            others.is_complete &= theirs.is_some();
            others.add(theirs.unwrap_or_default().families);
        }
        for Appended { name, render } in &self.0.appended {
            let page = core.collector_panics.catch(|| render());
            others.is_complete &= page.is_some();
            let (families, wrong) = append::parse(&page.unwrap_or_default());
            if wrong > 0 {
                self.warn_of(name, "lines of an appended page are not in Prometheus' format: they are not shown");
            }
            others.add(families);
        }
        others
    }

    /// Writes our families, and after them what else goes by the same names; then the families of others.
    pub(crate) fn write(&self, others: &mut Others, prefix: &str, common: &Labels, to: &mut dyn Encoder) {
        let sources = self.0.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
        match &self.0.core.idle {
            Some(idle) => {
                let now = clock::now();
                for source in &sources {
                    source.expire(idle.after, now);
                }
                let mut showing = Showing::new(idle, now, to);
                self.write_sources(sources, others, prefix, common, &mut showing);
                showing.end();
            }
            None => self.write_sources(sources, others, prefix, common, to),
        }
    }

    /// Our families but those about requests that were served.
    pub(crate) fn other_sources(&self) -> Vec<Arc<dyn Source>> {
        let sources = self.0.sources.read().unwrap_or_else(PoisonError::into_inner);
        // Those of requests are the first two, as they were built.
        sources.iter().skip(2).map(Arc::clone).collect()
    }

    /// The names of all families that are not counters: in OpenMetrics, a counter `jobs_total` is called `jobs`, which a gauge
    /// may be called as well.
    fn names_without_total(&self, others: &Others, prefix: &str) -> HashSet<String> {
        let sources = self.0.sources.read().unwrap_or_else(PoisonError::into_inner);
        let ours = sources.iter().flat_map(|source| source.families());
        let ours = ours.filter(|meta| meta.kind != Kind::Counter).map(|meta| format!("{prefix}{}", meta.name));
        let theirs = others.families.iter().filter_map(|(name, families)| {
            let meta = meta_of(families.first()?)?;
            (meta.kind != Kind::Counter).then(|| name.clone())
        });
        ours.chain(theirs).collect()
    }

    /// Logs once that a name is in two places.
    fn warn_of(&self, name: &str, what: &'static str) {
        let mut warned = self.0.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < MAX_WARNED && warned.insert(name.to_owned()) {
            tracing::warn!(metric = name, "{what}");
        }
    }

    pub(crate) fn write_sources(
        &self,
        sources: Vec<Arc<dyn Source>>,
        others: &mut Others,
        prefix: &str,
        common: &Labels,
        to: &mut dyn Encoder,
    ) {
        for name in std::mem::take(&mut others.refused) {
            self.warn_of(&name, "a metric is of two kinds in two registries: that of the second registry is not shown");
        }
        let mut merging = Merging { metrics: self, others, prefix, common, same: Vec::new(), seen: None, to };
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
    pub(crate) naming: Naming,
    /// Whether every registry could be read.
    pub(crate) is_complete: bool,
    /// Names of families that are of another kind in an earlier registry.
    refused: Vec<String>,
}

/// Most names that are warned of.
const MAX_WARNED: usize = 1000;

impl Others {
    fn add(&mut self, families: Vec<proto::MetricFamily>) {
        for family in families {
            let same = self.families.entry(family.name().to_owned()).or_default();
            // One name cannot be two kinds of metric. The first registry wins, as it would in a scrape.
            if same.first().is_none_or(|first| first.get_field_type() == family.get_field_type()) {
                same.push(family);
            } else {
                self.refused.push(family.name().to_owned());
            }
        }
    }
}

/// Puts the series of others behind ours, where both are of one family: a family is written in one piece, and each set
/// of labels once.
struct Merging<'a> {
    metrics: &'a Metrics,
    others: &'a mut Others,
    prefix: &'a str,
    common: &'a Labels,
    /// What others have of the family that is being written.
    same: Vec<proto::MetricFamily>,
    /// The label sets that were written, where a family comes from more than one place.
    seen: Option<HashSet<Vec<(Name, Name)>>>,
    to: &'a mut dyn Encoder,
}

impl Merging<'_> {
    fn finish_family(&mut self) {
        for family in std::mem::take(&mut self.same) {
            write_family(&family, self);
        }
        self.seen = None;
    }

    fn finish(mut self) {
        self.finish_family();
        for (_, families) in std::mem::take(&mut self.others.families) {
            let mut families = families.into_iter();
            let Some(first) = families.next() else { continue };
            let rest: Vec<_> = families.collect();
            if let Some(meta) = meta_of(&first) {
                self.seen = (!rest.is_empty()).then(HashSet::new);
                self.to.begin(&meta);
                self.same.push(first);
                self.same.extend(rest);
                self.finish_family();
            }
        }
    }

    /// Whether these labels were not written before.
    fn is_new(&mut self, labels: &Labels) -> bool {
        let Some(seen) = &mut self.seen else { return true };
        let common = if labels.is_complete { &[][..] } else { &self.common.pairs };
        let mut pairs: Vec<_> = labels.pairs.iter().chain(common).cloned().collect();
        pairs.sort_unstable();
        seen.insert(pairs)
    }
}

impl Encoder for Merging<'_> {
    fn begin(&mut self, meta: &Meta) {
        self.finish_family();
        let name = format!("{}{}", self.prefix, meta.name);
        let mut same = self.others.families.remove(&name).unwrap_or_default();
        let found = same.len();
        same.retain(|family| meta_of(family).is_some_and(|other| other.kind == meta.kind));
        if same.len() < found {
            self.metrics
                .warn_of(&name, "the application has a metric of this name and of another kind: it is not shown");
        } else if found > 0 {
            self.metrics.warn_of(
                &name,
                "the application counts under this name as well: its series are shown beside ours, and sums have both",
            );
        }
        self.seen = (!same.is_empty()).then(HashSet::new);
        self.same = same;
        self.to.begin(&Meta { name: name.into(), ..meta.clone() });
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        if self.is_new(labels) {
            self.to.value(labels, value);
        }
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        if self.is_new(labels) {
            self.to.histogram(labels, view);
        }
    }

    fn foreign(&mut self, labels: &Labels, foreign: &Foreign<'_>) {
        if self.is_new(labels) {
            self.to.foreign(labels, foreign);
        }
    }
}
