//! Protobuf: `io.prometheus.client.MetricFamily`, each with its length before it. The one format with native histograms.

use super::{Encoder, Foreign, HistogramView, Kind, Meta, Number};
use crate::{
    layout::{Native, to_f64},
    series::{Exemplar, Labels, Name},
};

pub(crate) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Writes protobuf messages field by field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn varint(&mut self, mut value: u64) {
        while let (low, true) = ((value & 0x7f) as u8, value > 0x7f) {
            self.0.push(low | 0x80);
            value >>= 7;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 127")]
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from((field << 3) | wire_type));
    }

    pub(crate) fn uint(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        self.varint(value);
    }

    #[expect(clippy::cast_sign_loss, reason = "zigzag: the sign goes into the lowest bit")]
    pub(crate) fn sint(&mut self, field: u32, value: i64) {
        self.uint(field, ((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn double(&mut self, field: u32, value: f64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    #[cfg(feature = "push")]
    pub(crate) fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Writes a message in place: its length is known only behind it, and mostly fits the byte that was left for it.
    pub(crate) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.tag(field, 2);
        let start = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len().saturating_sub(start).saturating_sub(1);
        if let (Ok(short @ ..=0x7f), Some(place)) = (u8::try_from(length), self.0.get_mut(start)) {
            *place = short;
        } else {
            let mut varint = Self::default();
            varint.varint(length as u64);
            drop(self.0.splice(start..=start, varint.0));
        }
    }
}

/// Writes families.
pub(crate) struct ProtobufEncoder<'a> {
    out: Message,
    family: Message,
    has_series: bool,
    is_counter: bool,
    common: &'a [(Name, Name)],
}

impl<'a> ProtobufEncoder<'a> {
    pub(crate) fn new(common: &'a [(Name, Name)]) -> Self {
        Self { out: Message::default(), family: Message::default(), has_series: false, is_counter: false, common }
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.finish_family();
        self.out.0
    }

    fn finish_family(&mut self) {
        if self.has_series {
            self.out.varint(self.family.0.len() as u64);
            self.out.0.append(&mut self.family.0);
        }
        self.family.0.clear();
        self.has_series = false;
    }

    fn metric(&mut self, labels: &Labels, write: impl FnOnce(&mut Message)) {
        self.has_series = true;
        let common = if labels.is_complete { &[] } else { self.common };
        self.family.message(4, |metric| {
            for (name, value) in labels.pairs.iter().chain(common) {
                metric.message(1, |pair| label(pair, name, value));
            }
            write(metric);
        });
    }
}

fn label(pair: &mut Message, name: &str, value: &str) {
    pair.bytes(1, name.as_bytes());
    pair.bytes(2, value.as_bytes());
}

fn timestamp(message: &mut Message, unix_ms: u64) {
    message.uint(1, unix_ms / 1000);
    message.uint(2, (unix_ms % 1000).wrapping_mul(1_000_000));
}

fn exemplar(message: &mut Message, exemplar: &Exemplar, per_unit: f64) {
    for (name, id) in [("trace_id", &exemplar.trace_id[..]), ("span_id", &exemplar.span_id[..])] {
        let mut text = Vec::new();
        super::text::hex(id, &mut text);
        message.message(1, |pair| {
            pair.bytes(1, name.as_bytes());
            pair.bytes(2, &text);
        });
    }
    message.double(2, to_f64(exemplar.value) / per_unit);
    message.message(3, |at| timestamp(at, exemplar.unix_ms));
}

impl Encoder for ProtobufEncoder<'_> {
    fn begin(&mut self, meta: &Meta) {
        self.finish_family();
        self.is_counter = meta.kind == Kind::Counter;
        self.family.bytes(1, meta.name.as_bytes());
        self.family.bytes(2, meta.help.as_bytes());
        self.family.uint(
            3,
            match meta.kind {
                Kind::Counter => 0,
                Kind::Gauge => 1,
                Kind::Summary => 2,
                Kind::Histogram => 4,
            },
        );
        if let Some(unit) = meta.unit {
            self.family.bytes(5, unit.as_bytes());
        }
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        let is_counter = self.is_counter;
        self.metric(labels, |metric| {
            metric.message(if is_counter { 3 } else { 2 }, |number| {
                number.double(1, value.to_f64());
                if is_counter && !labels.is_complete {
                    number.message(3, |at| timestamp(at, labels.created_ms));
                }
            });
        });
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        self.metric(labels, |metric| {
            metric.message(7, |histogram| {
                histogram.uint(1, view.counts.count());
                histogram.double(2, view.sum());
                view.classic(|place, bucket, count| {
                    // The one above the last bound follows from the count, unless it has an exemplar.
                    let found = view.exemplars.get(place).and_then(Option::as_ref);
                    if bucket.is_some() || found.is_some() {
                        histogram.message(3, |message| {
                            message.uint(1, count);
                            message.double(2, bucket.map_or(f64::INFINITY, |bucket| bucket.bound));
                            if let Some(found) = found {
                                message.message(3, |to| exemplar(to, found, view.layout.scale.per_unit()));
                            }
                        });
                    }
                });
                if let Some(native) = &view.layout.native {
                    native_buckets(native, &view.counts.cells, histogram);
                }
                histogram.message(15, |at| timestamp(at, labels.created_ms));
            });
        });
    }

    fn foreign(&mut self, labels: &Labels, foreign: &Foreign<'_>) {
        let is_histogram = matches!(foreign.parts.last(), Some((_, Number::Whole(_))));
        self.metric(labels, |metric| {
            metric.message(if is_histogram { 7 } else { 4 }, |message| {
                message.uint(1, foreign.count);
                message.double(2, foreign.sum);
                for (at, value) in foreign.parts {
                    message.message(3, |part| match value {
                        Number::Whole(count) => {
                            part.uint(1, *count);
                            part.double(2, *at);
                        }
                        Number::Float(value) => {
                            part.double(1, *at);
                            part.double(2, *value);
                        }
                    });
                }
            });
        });
    }
}

/// Empty buckets that are written rather than skipped: a new span costs as much.
const MAX_GAP: i64 = 2;

/// Adds cells up to native buckets, and writes those that are not empty: spans of neighbours, each count as the
/// difference to the one before.
fn native_buckets(native: &Native, cells: &[u64], to: &mut Message) {
    to.sint(5, i64::from(native.schema));
    to.double(6, native.zero_threshold);
    let count =
        |from: usize, up_to: usize| -> u64 { cells.get(from..up_to.min(cells.len())).unwrap_or_default().iter().sum() };
    to.uint(7, count(0, native.zero_cells));
    let mut spans: Vec<(i64, u64)> = Vec::new();
    let mut deltas = Vec::new();
    // The index after the last bucket that was written, and that bucket's count.
    let (mut next, mut before) = (0_i64, 0_i64);
    let mut below = native.zero_cells;
    // Values above the last bound go into the next bucket.
    let ends = native.cells.iter().copied().chain([cells.len()]);
    for (index, end) in (i64::from(native.first_index)..).zip(ends) {
        let here = i64::try_from(count(below, end)).unwrap_or(i64::MAX);
        below = end;
        if here == 0 {
            continue;
        }
        let gap = index.saturating_sub(next);
        match spans.last_mut() {
            Some((_, length)) if gap <= MAX_GAP => {
                for _ in 0..gap {
                    deltas.push(before.wrapping_neg());
                    before = 0;
                    *length = length.saturating_add(1);
                }
                *length = length.saturating_add(1);
            }
            _ => spans.push((gap, 1)),
        }
        deltas.push(here.wrapping_sub(before));
        before = here;
        next = index.saturating_add(1);
    }
    if spans.is_empty() {
        // Says that this is a native histogram without observations, and not a classic one.
        spans.push((0, 0));
    }
    for (offset, length) in spans {
        to.message(12, |span| {
            span.sint(1, offset);
            span.uint(2, length);
        });
    }
    for delta in deltas {
        to.sint(13, delta);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_length_before_it_be_it_short_or_long() {
        for length in [0, 1, 127, 128, 300, 20_000] {
            let (mut nested, mut plain) = (Message::default(), Message::default());
            nested.message(3, |inner| inner.0.extend(vec![7; length]));
            plain.bytes(3, &vec![7; length]);
            assert_eq!(nested.0, plain.0, "{length}");
        }
    }

    #[test]
    fn numbers_follow_the_wire_format() {
        let mut message = Message::default();
        message.varint(300);
        message.sint(5, -2);
        message.uint(1, 0);
        assert_eq!(message.0, [0xac, 0x02, 0x28, 0x03, 0x08, 0x00]);
    }
}
