//! What found no room: counted per label, and said once.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::{
    encode::{Encoder, Kind, Meta, Number, Source},
    series::Labels,
    shard::Cells,
};

/// A label whose values are capped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Route = 0,
    StatusCode = 1,
    GrpcMethod = 2,
    /// The labels of every other family.
    Other = 3,
    ServerAddress = 4,
}

const LABELS: [(Label, &str); 5] = [
    (Label::Route, "route"),
    (Label::StatusCode, "status_code"),
    (Label::GrpcMethod, "grpc_method"),
    (Label::Other, "other"),
    (Label::ServerAddress, "server_address"),
];

pub(crate) struct Folded {
    count: Cells,
    said: [AtomicBool; LABELS.len()],
}

impl Folded {
    pub(crate) fn new() -> Self {
        Self { count: Cells::new(LABELS.len()), said: [const { AtomicBool::new(false) }; LABELS.len()] }
    }

    /// A value of this label was recorded as `_OTHER`.
    pub(crate) fn fold(&self, label: Label) {
        self.count.add(label as usize, 1);
        if let (Some(said), Some((_, name))) = (self.said.get(label as usize), LABELS.get(label as usize))
            && !said.load(Relaxed)
            && !said.swap(true, Relaxed)
        {
            tracing::warn!(
                label = name,
                "metric series are at their cap: further values are recorded as `_OTHER` and counted in \
                 steeple_metrics_series_folded_total"
            );
        }
    }
}

impl Source for Folded {
    fn families(&self) -> Vec<Meta> {
        vec![Meta::new(
            Kind::Counter,
            "steeple_metrics_series_folded_total",
            "Recordings whose label value found no room and became _OTHER.",
            &["label"],
        )]
    }

    fn write(&self, to: &mut dyn Encoder) {
        for meta in self.families() {
            to.begin(&meta);
            for (label, name) in LABELS {
                let labels = Labels::new([("label".into(), name.into())]);
                to.value(&labels, Number::Whole(self.count.sum(label as usize)));
            }
        }
    }
}
