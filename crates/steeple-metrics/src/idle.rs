//! Series that have not changed for long, which are not shown. Those with label values of the application's own are
//! removed as well, so that others have their room: see `Source::expire`.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    encode::{Encoder, Foreign, HistogramView, Kind, Meta, Number, Source},
    series::Labels,
    table::hash,
};

/// The state of series from one scrape to the next. Bounded by the series that there are.
pub(crate) struct Idle {
    pub(crate) after: Duration,
    seen: Mutex<HashMap<u64, Seen>>,
    expired: AtomicU64,
}

struct Seen {
    /// How many events the series had counted.
    count: u64,
    /// When it was first found to have counted as many.
    since: Instant,
    is_shown: bool,
    /// Whether this scrape has come to it.
    is_there: bool,
}

impl Idle {
    pub(crate) fn new(after: Duration) -> Self {
        Self { after, seen: Mutex::default(), expired: AtomicU64::new(0) }
    }

    /// One look at all series. Another one waits for its end: neither takes a series for gone that the other has not come to.
    fn look(&self, now: Instant) -> Look<'_> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.values_mut().for_each(|seen| seen.is_there = false);
        Look { idle: self, now, seen }
    }
}

/// Since when something has counted as much as it has.
#[derive(Default)]
pub(crate) struct Since(Mutex<Option<(u64, Instant)>>);

impl Since {
    /// Whether it has counted nothing for so long, as far as it was asked.
    pub(crate) fn is_idle(&self, count: u64, after: Duration, now: Instant) -> bool {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *since {
            Some((known, since)) if known == count => now.saturating_duration_since(since) >= after && now > since,
            _ => {
                *since = Some((count, now));
                false
            }
        }
    }
}

struct Look<'a> {
    idle: &'a Idle,
    now: Instant,
    seen: MutexGuard<'a, HashMap<u64, Seen>>,
}

impl Look<'_> {
    /// Whether a series that has counted so many is shown.
    fn shows(&mut self, series: u64, count: u64) -> bool {
        let Self { idle, now, seen } = self;
        let new = Seen { count, since: *now, is_shown: true, is_there: true };
        let seen = seen.entry(series).or_insert(new);
        seen.is_there = true;
        if seen.count != count {
            *seen = Seen { count, since: *now, is_shown: true, is_there: true };
        } else if seen.is_shown && now.saturating_duration_since(seen.since) >= idle.after && *now > seen.since {
            seen.is_shown = false;
            idle.expired.fetch_add(1, Relaxed);
        }
        seen.is_shown
    }

    /// Forgets the series that are not there any more.
    fn end(mut self) {
        let idle = self.idle;
        self.seen.retain(|_, seen| {
            if !seen.is_there && seen.is_shown {
                idle.expired.fetch_add(1, Relaxed);
            }
            seen.is_there
        });
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
            to.value(&Labels::of_process([]), Number::Whole(self.expired.load(Relaxed)));
        }
    }
}

/// Leaves idle series out on their way to another encoder: counters and histograms that have labels. A gauge that does not
/// change says something, and what a registry hands out is not ours.
pub(crate) struct Showing<'a> {
    look: Look<'a>,
    name: String,
    kind: Kind,
    to: &'a mut dyn Encoder,
}

impl<'a> Showing<'a> {
    pub(crate) fn new(idle: &'a Idle, now: Instant, to: &'a mut dyn Encoder) -> Self {
        Self { look: idle.look(now), name: String::new(), kind: Kind::Gauge, to }
    }

    /// All series have come.
    pub(crate) fn end(self) {
        self.look.end();
    }

    fn shows(&mut self, labels: &Labels, count: u64) -> bool {
        let may_expire = matches!(self.kind, Kind::Counter | Kind::Histogram);
        if !may_expire || labels.is_complete || labels.pairs.is_empty() {
            return true;
        }
        self.look.shows(hash([&*self.name, &*labels.text]), count)
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
        let shows = |series, count, seconds| {
            let mut look = idle.look(start + Duration::from_secs(seconds));
            let shows = look.shows(series, count);
            look.end();
            shows
        };
        assert_eq!(
            [(1, 0), (1, 59), (1, 60), (1, 500)].map(|(count, at)| shows(7, count, at)),
            [true, true, false, false]
        );
        assert_eq!([(2, 600), (2, 659), (2, 660)].map(|(count, at)| shows(7, count, at)), [true, true, false]);
        assert_eq!(idle.expired.load(Relaxed), 2);
        assert!(shows(8, 1, 700), "another series has its own time");
        assert_eq!(
            (idle.seen.lock().unwrap().len(), idle.expired.load(Relaxed)),
            (1, 2),
            "hidden ones that go count once"
        );
        assert!(shows(9, 1, 701));
        assert_eq!((idle.seen.lock().unwrap().len(), idle.expired.load(Relaxed)), (1, 3), "what has gone is forgotten");
    }
}
