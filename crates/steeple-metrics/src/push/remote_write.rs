//! Remote write 1.0: protobuf in a snappy block.

use bytes::Bytes;

use crate::{
    encode::{Encoder, Foreign, HistogramView, Meta, Number, protobuf::Message, text::hex},
    layout::to_f64,
    series::{Exemplar, Labels, Name},
};

/// Series of one request: about 300 KiB before compression.
const SERIES_PER_REQUEST: usize = 2_000;

/// The samples of each series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Samples {
    Values,
    /// That it ends here.
    Stale,
}

/// The number that says so: one of many that are not a number, chosen by Prometheus.
const STALE: u64 = 0x7ff0_0000_0000_0002;

pub(super) struct RemoteWriteEncoder<'a> {
    /// What the registry adds to each series of ours.
    common: &'a [(Name, Name)],
    /// What this process adds to every series.
    own: &'a [(String, String)],
    now_ms: i64,
    samples: Samples,
    name: String,
    is_summary: bool,
    requests: Vec<Message>,
    room: usize,
}

impl<'a> RemoteWriteEncoder<'a> {
    pub(super) fn new(common: &'a [(Name, Name)], own: &'a [(String, String)], now_ms: i64, samples: Samples) -> Self {
        Self { common, own, now_ms, samples, name: String::new(), is_summary: false, requests: Vec::new(), room: 0 }
    }

    pub(super) fn finish(self) -> Vec<Bytes> {
        let compress = |request: Message| snap::raw::Encoder::new().compress_vec(&request.0).ok().map(Bytes::from);
        self.requests.into_iter().filter_map(compress).collect()
    }

    fn series(
        &mut self,
        suffix: &str,
        labels: &Labels,
        extra: Option<(&str, &str)>,
        value: f64,
        exemplar: Option<(&Exemplar, f64)>,
    ) {
        if self.room == 0 {
            self.requests.push(Message::default());
            self.room = SERIES_PER_REQUEST;
        }
        self.room = self.room.saturating_sub(1);
        let name = format!("{}{suffix}", self.name);
        let common = if labels.is_complete { &[] } else { self.common };
        let mut pairs: Vec<(&str, &str)> = vec![("__name__", &name)];
        pairs.extend(labels.pairs.iter().chain(common).map(|(name, value)| (&**name, &**value)));
        pairs.extend(extra);
        // The series' own label wins over the process's. Sorted, once each, and none that is empty.
        pairs.extend(self.own.iter().map(|(name, value)| (&**name, &**value)));
        pairs.sort_by_key(|(name, _)| *name);
        pairs.dedup_by_key(|(name, _)| *name);
        pairs.retain(|(_, value)| !value.is_empty());
        let now_ms = self.now_ms;
        let (value, exemplar) = match self.samples {
            Samples::Values => (value, exemplar),
            Samples::Stale => (f64::from_bits(STALE), None),
        };
        let Some(request) = self.requests.last_mut() else { return };
        request.message(1, |series| {
            for pair in pairs {
                label(series, pair.0, pair.1.as_bytes());
            }
            series.message(2, |sample| {
                sample.double(1, value);
                timestamp(sample, 2, now_ms);
            });
            if let Some((exemplar, per_unit)) = exemplar {
                series.message(3, |message| {
                    for (name, id) in [("span_id", &exemplar.span_id[..]), ("trace_id", &exemplar.trace_id[..])] {
                        let mut text = Vec::new();
                        hex(id, &mut text);
                        label(message, name, &text);
                    }
                    message.double(2, to_f64(exemplar.value) / per_unit);
                    timestamp(message, 3, i64::try_from(exemplar.unix_ms).unwrap_or(i64::MAX));
                });
            }
        });
    }
}

fn label(message: &mut Message, name: &str, value: &[u8]) {
    message.message(1, |pair| {
        pair.bytes(1, name.as_bytes());
        pair.bytes(2, value);
    });
}

#[expect(clippy::cast_sign_loss, reason = "a negative int64 is written as its bits")]
fn timestamp(message: &mut Message, field: u32, unix_ms: i64) {
    message.uint(field, unix_ms as u64);
}

impl Encoder for RemoteWriteEncoder<'_> {
    fn begin(&mut self, meta: &Meta) {
        meta.name.as_ref().clone_into(&mut self.name);
        self.is_summary = meta.kind == crate::encode::Kind::Summary;
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        self.series("", labels, None, value.to_f64(), None);
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        let per_unit = view.layout.scale.per_unit();
        let mut count = 0;
        view.classic(|place, bucket, cumulative| {
            count = cumulative;
            let le = bucket.map_or("+Inf", |bucket| &bucket.le_canonical);
            let exemplar = view.exemplars.get(place).and_then(Option::as_ref).map(|exemplar| (exemplar, per_unit));
            self.series("_bucket", labels, Some(("le", le)), to_f64(cumulative), exemplar);
        });
        self.series("_sum", labels, None, view.sum(), None);
        self.series("_count", labels, None, to_f64(count), None);
    }

    fn foreign(&mut self, labels: &Labels, foreign: &Foreign<'_>) {
        for (at, value) in foreign.parts {
            let at = if at.is_finite() { format!("{at:?}") } else { crate::encode::text::float(*at) };
            let (suffix, name) = if self.is_summary { ("", "quantile") } else { ("_bucket", "le") };
            self.series(suffix, labels, Some((name, &at)), value.to_f64(), None);
        }
        self.series("_sum", labels, None, foreign.sum, None);
        self.series("_count", labels, None, to_f64(foreign.count), None);
    }
}
