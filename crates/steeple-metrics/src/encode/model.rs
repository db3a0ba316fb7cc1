//! The `prometheus` crate's model of metrics: ours into it, and other collectors' out of it.

use prometheus::proto;

use super::{Encoder, Foreign, HistogramView, Kind, Meta, Number};
use crate::series::{Labels, Name};

/// Makes metric families for a `prometheus::Registry`.
#[derive(Default)]
pub(crate) struct ModelEncoder {
    families: Vec<proto::MetricFamily>,
    kind: Option<Kind>,
}

impl ModelEncoder {
    pub(crate) fn finish(self) -> Vec<proto::MetricFamily> {
        self.families
    }

    fn push(&mut self, metric: proto::Metric) {
        if let Some(family) = self.families.last_mut() {
            family.mut_metric().push(metric);
        }
    }
}

fn pairs(labels: &Labels) -> Vec<proto::LabelPair> {
    let pair = |(name, value): &(Name, Name)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(name.clone().into_owned());
        pair.set_value(value.clone().into_owned());
        pair
    };
    labels.pairs.iter().map(pair).collect()
}

impl Encoder for ModelEncoder {
    fn begin(&mut self, meta: &Meta) {
        let mut family = proto::MetricFamily::default();
        family.set_name(meta.name.clone().into_owned());
        family.set_help(meta.help.clone().into_owned());
        family.set_field_type(match meta.kind {
            Kind::Counter => proto::MetricType::COUNTER,
            Kind::Gauge => proto::MetricType::GAUGE,
            Kind::Histogram => proto::MetricType::HISTOGRAM,
            Kind::Summary => proto::MetricType::SUMMARY,
        });
        self.families.push(family);
        self.kind = Some(meta.kind);
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        let mut metric = proto::Metric::from_label(pairs(labels));
        if self.kind == Some(Kind::Counter) {
            let mut counter = proto::Counter::default();
            counter.set_value(value.to_f64());
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value.to_f64());
            metric.set_gauge(gauge);
        }
        self.push(metric);
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        let mut histogram = proto::Histogram::default();
        let mut buckets = Vec::new();
        view.classic(|_, bucket, count| match bucket {
            Some(bucket) => {
                let mut made = proto::Bucket::default();
                made.set_upper_bound(bucket.bound);
                made.set_cumulative_count(count);
                buckets.push(made);
            }
            None => histogram.set_sample_count(count),
        });
        histogram.set_bucket(buckets);
        histogram.set_sample_sum(view.sum());
        let mut metric = proto::Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.push(metric);
    }

    fn foreign(&mut self, _labels: &Labels, _foreign: &Foreign<'_>) {
        // Families of others are in the registry already.
    }
}

/// Writes the series of a family that another collector made, after the family was begun.
pub(crate) fn write_family(family: &proto::MetricFamily, to: &mut dyn Encoder) {
    let Some(meta) = meta_of(family) else { return };
    for metric in family.get_metric() {
        let labels = Labels::complete(
            metric.get_label().iter().map(|pair| (pair.name().to_owned().into(), pair.value().to_owned().into())),
        );
        match meta.kind {
            Kind::Counter => to.value(&labels, Number::Float(counter_value(metric.get_counter()))),
            Kind::Gauge => to.value(&labels, Number::Float(gauge_value(metric.get_gauge()))),
            Kind::Histogram => {
                let histogram = metric.get_histogram();
                let (count, sum) = (histogram.get_sample_count(), histogram.get_sample_sum());
                let mut parts: Vec<_> = histogram
                    .get_bucket()
                    .iter()
                    .map(|bucket| (bucket.upper_bound(), Number::Whole(bucket.cumulative_count())))
                    .collect();
                if parts.last().is_none_or(|(bound, _)| *bound < f64::INFINITY) {
                    parts.push((f64::INFINITY, Number::Whole(count)));
                }
                to.foreign(&labels, &Foreign { parts: &parts, count, sum });
            }
            Kind::Summary => {
                let summary = metric.get_summary();
                let parts: Vec<_> = summary
                    .get_quantile()
                    .iter()
                    .map(|quantile| (quantile.quantile(), Number::Float(quantile.value())))
                    .collect();
                let (count, sum) = (summary.sample_count(), summary.sample_sum());
                to.foreign(&labels, &Foreign { parts: &parts, count, sum });
            }
        }
    }
}

/// What such a family is. `None`: a kind that no format of ours has a word for.
pub(crate) fn meta_of(family: &proto::MetricFamily) -> Option<Meta> {
    let kind = match family.get_field_type() {
        proto::MetricType::COUNTER => Kind::Counter,
        proto::MetricType::GAUGE => Kind::Gauge,
        proto::MetricType::HISTOGRAM => Kind::Histogram,
        proto::MetricType::SUMMARY => Kind::Summary,
        proto::MetricType::UNTYPED => return None,
    };
    Some(Meta::new(kind, family.name().to_owned(), family.help().to_owned(), &[]))
}

fn counter_value(counter: &proto::Counter) -> f64 {
    PlainNumber::get_value(counter)
}

fn gauge_value(gauge: &proto::Gauge) -> f64 {
    GeneratedNumber::value(gauge)
}

/// The model comes in two kinds, after the `prometheus` crate's feature `protobuf`, which any crate in a build can
/// switch on. One has `get_value`, the other has `value`, and a method of the type itself goes before one of a trait.
/// So each of these traits calls what the type has, by way of the other if need be, and both compile with both.
trait PlainNumber {
    fn get_value(&self) -> f64;
}

/// See [`PlainNumber`].
trait GeneratedNumber {
    fn value(&self) -> f64;
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl PlainNumber for $number {
            fn get_value(&self) -> f64 {
                self.value()
            }
        }

        impl GeneratedNumber for $number {
            fn value(&self) -> f64 {
                self.get_value()
            }
        }
    )+};
}

numbers!(proto::Counter, proto::Gauge);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_whichever_model_the_prometheus_crate_was_built_with() {
        let counter = prometheus::Counter::new("seen_total", "Seen.").unwrap();
        counter.inc_by(2.5);
        let gauge = prometheus::Gauge::new("level", "Level.").unwrap();
        gauge.set(-3.0);
        let registry = prometheus::Registry::new();
        registry.register(Box::new(counter)).unwrap();
        registry.register(Box::new(gauge)).unwrap();
        let mut text = crate::encode::text::TextEncoder::new("");
        for family in registry.gather() {
            text.begin(&meta_of(&family).unwrap());
            write_family(&family, &mut text);
        }
        let text = String::from_utf8(text.finish()).unwrap();
        assert!(text.contains("\nlevel -3\n") && text.contains("\nseen_total 2.5\n"), "{text}");
    }
}
