//! Label values that found no room, or that could not be shown as they are: counted, and logged once.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use steeple_scrub::Scrubber;

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
    /// Labels of the application's own on request metrics.
    Own = 5,
}

const LABELS: [(Label, &str); 6] = [
    (Label::Route, "route"),
    (Label::StatusCode, "status_code"),
    (Label::GrpcMethod, "grpc_method"),
    (Label::Other, "other"),
    (Label::ServerAddress, "server_address"),
    (Label::Own, "own"),
];

/// The longest label value, in bytes, unless another limit is set; the longest name of a metric.
pub(crate) const MAX_VALUE: usize = 128;

/// How much of a value is scrubbed before it is cut: more than any secret that begins before the cut.
const MAX_SCRUBBED: usize = 4096;

/// The highest limit that can be set: half of the bytes that are scrubbed, so that a secret at the cut is still seen as a whole.
pub(crate) const HIGHEST_MAX_VALUE: usize = MAX_SCRUBBED / 2;

/// Why a label value is not shown as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    TooLong = 0,
    Secret = 1,
}

const CHANGES: [(Change, &str); 2] = [(Change::TooLong, "too_long"), (Change::Secret, "secret")];

pub(crate) struct Folded {
    count: Cells,
    said: [AtomicBool; LABELS.len()],
    changed: Cells,
    scrubber: Scrubber,
    max_value: usize,
}

impl Folded {
    pub(crate) fn new(scrubber: Scrubber, max_value: usize) -> Self {
        Self {
            count: Cells::new(LABELS.len()),
            said: [const { AtomicBool::new(false) }; LABELS.len()],
            changed: Cells::new(CHANGES.len()),
            scrubber,
            max_value,
        }
    }

    /// The longest label value, in bytes.
    pub(crate) fn max_value(&self) -> usize {
        self.max_value
    }

    /// The beginning of a value that the application's author wrote.
    pub(crate) fn cut<'t>(&self, value: &'t str) -> &'t str {
        steeple_core::text::cut(value, self.max_value)
    }

    /// A label value as it may be shown: scrubbed, and at most [`max_value`](Self::max_value) bytes. Asked when a series is made; a value
    /// that is borrowed is the one that was given.
    #[cold]
    pub(crate) fn shown<'t>(&self, value: &'t str) -> Cow<'t, str> {
        let begin = steeple_core::text::cut(value, MAX_SCRUBBED);
        let scrubbed = self.scrubber.repeated_text(begin);
        let is_secret = !scrubbed.is_clean();
        if is_secret {
            self.changed.add(Change::Secret as usize, 1);
        }
        if !is_secret && value.len() <= self.max_value {
            return Cow::Borrowed(value);
        }
        if scrubbed.len() > self.max_value || begin.len() < value.len() {
            self.changed.add(Change::TooLong as usize, 1);
        }
        Cow::Owned(scrubbed.cut(self.max_value, "").into_inner().into_owned())
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
                 steeple_metrics_label_overflow_total"
            );
        }
    }
}

fn families() -> [Meta; 2] {
    [
        Meta::new(
            Kind::Counter,
            "steeple_metrics_label_overflow_total",
            "Recordings whose label value found no room and became _OTHER.",
            &["label", "reason"],
        ),
        Meta::new(
            Kind::Counter,
            "steeple_metrics_label_values_changed_total",
            "Label values that were cut, to 128 bytes by default, or had a secret removed.",
            &["reason"],
        ),
    ]
}

impl Source for Folded {
    fn families(&self) -> Vec<Meta> {
        families().into()
    }

    fn write(&self, to: &mut dyn Encoder) {
        let [folded, changed] = families();
        to.begin(&folded);
        for (label, name) in LABELS {
            let labels = Labels::of_process([("label".into(), name.into()), ("reason".into(), "limit".into())]);
            to.value(&labels, Number::Whole(self.count.sum(label as usize)));
        }
        to.begin(&changed);
        for (change, name) in CHANGES {
            let labels = Labels::of_process([("reason".into(), name.into())]);
            to.value(&labels, Number::Whole(self.changed.sum(change as usize)));
        }
    }
}
