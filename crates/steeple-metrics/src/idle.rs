//! Series in which nothing has changed for long, left out of what is shown.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    encode::{Encoder, Foreign, HistogramView, Kind, Meta, Number, Source},
    series::Labels,
    table::hash,
};

/// What is known of series from one scrape to the next. Bounded by the series that there are: none of them goes.
pub(crate) struct Idle {
    after: Duration,
    seen: Mutex<HashMap<u64, Seen>>,
    expired: AtomicU64,
}

struct Seen {
    /// How many events the series had counted.
    count: u64,
    /// When it was first found to have counted as many.
    since: Instant,
    is_shown: bool,
}

impl Idle {
    pub(crate) fn new(after: Duration) -> Self {
        Self { after, seen: Mutex::default(), expired: AtomicU64::new(0) }
    }

    /// Whether a series that has counted so many is shown.
    fn shows(&self, series: u64, count: u64, now: Instant) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(series).or_insert(Seen { count, since: now, is_shown: true });
        if seen.count != count {
            *seen = Seen { count, since: now, is_shown: true };
        } else if seen.is_shown && now.saturating_duration_since(seen.since) >= self.after && now > seen.since {
            seen.is_shown = false;
            self.expired.fetch_add(1, Relaxed);
        }
        seen.is_shown
    }
}

impl Source for Idle {
    fn families(&self) -> Vec<Meta> {
        vec![Meta::new(
            Kind::Counter,
            "steeple_metrics_series_expired_total",
            "How often a series was left out from then on, since nothing had changed in it.",
            &[],
        )]
    }

    fn write(&self, to: &mut dyn Encoder) {
        for meta in self.families() {
            to.begin(&meta);
            to.value(&Labels::new([]), Number::Whole(self.expired.load(Relaxed)));
        }
    }
}

/// Leaves idle series out on their way to another encoder: counters and histograms that have labels. A gauge that does not
/// change says something, and what a registry hands out is not ours.
pub(crate) struct Showing<'a> {
    idle: &'a Idle,
    now: Instant,
    name: String,
    kind: Kind,
    to: &'a mut dyn Encoder,
}

impl<'a> Showing<'a> {
    pub(crate) fn new(idle: &'a Idle, now: Instant, to: &'a mut dyn Encoder) -> Self {
        Self { idle, now, name: String::new(), kind: Kind::Gauge, to }
    }

    fn shows(&self, labels: &Labels, count: u64) -> bool {
        let may_expire = matches!(self.kind, Kind::Counter | Kind::Histogram);
        if !may_expire || labels.is_complete || labels.pairs.is_empty() {
            return true;
        }
        self.idle.shows(hash([&*self.name, &*labels.text]), count, self.now)
    }
}

impl Encoder for Showing<'_> {
    fn begin(&mut self, meta: &Meta) {
        (self.name, self.kind) = (meta.name.clone().into_owned(), meta.kind);
        self.to.begin(meta);
    }

    fn value(&mut self, labels: &Labels, value: Number) {
        let count = match value {
            Number::Whole(count) => count,
            Number::Float(value) => value.to_bits(),
        };
        if self.shows(labels, count) {
            self.to.value(labels, value);
        }
    }

    fn histogram(&mut self, labels: &Labels, view: &HistogramView<'_>) {
        if self.shows(labels, view.counts.count()) {
            self.to.histogram(labels, view);
        }
    }

    fn foreign(&mut self, labels: &Labels, foreign: &Foreign<'_>) {
        self.to.foreign(labels, foreign);
    }
}

#[cfg(test)]
mod tests {
    use steeple_core::clock;

    use super::*;

    #[test]
    fn a_series_is_shown_until_nothing_has_changed_for_as_long_and_again_from_its_next_change_on() {
        let (idle, start) = (Idle::new(Duration::from_secs(60)), clock::now());
        let shows = |count, seconds| idle.shows(7, count, start + Duration::from_secs(seconds));
        assert_eq!(
            [(1, 0), (1, 59), (1, 60), (1, 500)].map(|(count, at)| shows(count, at)),
            [true, true, false, false]
        );
        assert_eq!([(2, 600), (2, 659), (2, 660)].map(|(count, at)| shows(count, at)), [true, true, false]);
        assert!(idle.shows(8, 1, start + Duration::from_secs(1000)), "another series has its own time");
        assert_eq!(idle.expired.load(Relaxed), 2);
    }
}
