//! All instances of the service, as a Prometheus knows them: the server asks it, the page never does.

mod backfill;
mod client;
mod options;
mod plan;
mod view;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use steeple_core::clock;
use steeple_export::Reason;
use tokio::sync::Mutex as Turn;

pub use self::options::PrometheusOptions;
pub(crate) use self::{backfill::backfill, client::Prometheus};
use self::{
    plan::{Question, questions},
    view::{Stale, View},
};
use crate::lock::lock;

/// Queries of one refresh at once. The client limits all of them together.
const AT_ONCE: usize = 4;
/// Views that are kept: ranges times replicas.
const MAX_VIEWS: usize = 32;
/// Longest range.
const MAX_RANGE: Duration = Duration::from_secs(7 * 86_400);
/// Points of a chart.
const POINTS: u64 = 240;

/// What a view is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    /// Up to now, in seconds; or from one time to another, in seconds since the Unix epoch.
    pub(crate) span: Span,
    /// One instance. `None`: all of them.
    pub(crate) replica: Option<String>,
}

/// What a chart shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Span {
    Last(u64),
    Between(u64, u64),
}

impl Wanted {
    /// `None`: not a range that is answered.
    pub(crate) fn new(
        range: Option<u64>,
        from_ms: Option<u64>,
        to_ms: Option<u64>,
        replica: Option<String>,
    ) -> Option<Self> {
        let span = match (range, from_ms, to_ms) {
            (_, Some(from), Some(to)) => Span::Between(from / 1000, to.div_ceil(1000)),
            (Some(range), ..) => Span::Last(range),
            _ => return None,
        };
        let length = match span {
            Span::Last(seconds) => seconds,
            Span::Between(from, to) => to.checked_sub(from)?,
        };
        let replica = replica.filter(|replica| !replica.is_empty());
        let is_short = replica.as_ref().is_none_or(|replica| replica.len() <= 256);
        ((10..=MAX_RANGE.as_secs()).contains(&length) && is_short).then_some(Self { span, replica })
    }
}

/// The times of a chart's points, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) step: u64,
}

impl Grid {
    /// Points at whole steps, so that two who ask one after the other get the same.
    fn new(span: Span, now: u64, scrape: u64) -> Self {
        let (from, to) = match span {
            Span::Last(seconds) => (now.saturating_sub(seconds), now),
            Span::Between(from, to) => (from, to.min(now.max(from))),
        };
        let fine = to.saturating_sub(from).div_ceil(POINTS).max(1);
        // Below the interval of the scrapes there is nothing to see.
        let step = if fine <= scrape { fine.max(scrape.min(5)) } else { fine.next_multiple_of(scrape.max(1)) };
        let floor = |time: u64| time.checked_div(step).unwrap_or(0).saturating_mul(step);
        Self { from: floor(from), to: floor(to), step }
    }

    pub(crate) fn points(&self) -> usize {
        let steps = self.to.saturating_sub(self.from).checked_div(self.step).unwrap_or(0);
        usize::try_from(steps.saturating_add(1)).unwrap_or(1)
    }

    /// Which point this time is.
    pub(crate) fn place(&self, seconds: f64) -> Option<usize> {
        #[expect(clippy::cast_precision_loss, reason = "seconds since the Unix epoch are far below 2^53")]
        let (place, points) = (((seconds - self.from as f64) / self.step as f64).round(), self.points() as f64);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be within the grid")]
        (place >= 0.0 && place < points).then_some(place as usize)
    }
}

/// The instances of the service.
pub(crate) struct Fleet {
    pub(crate) prometheus: Prometheus,
    pub(crate) options: PrometheusOptions,
    views: Mutex<BTreeMap<Wanted, Arc<Slot>>>,
}

/// One view, and whose turn it is to refresh it.
#[derive(Default)]
struct Slot {
    turn: Turn<()>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    /// The view, and when it was asked for, since the Unix epoch.
    view: Option<Arc<View>>,
    body: Bytes,
    /// Until when it is answered without asking again, since the Unix epoch.
    until: Duration,
    used: Duration,
}

impl Fleet {
    pub(crate) fn new(options: PrometheusOptions, prometheus: Prometheus) -> Self {
        Self { prometheus, options, views: Mutex::default() }
    }

    /// The view as JSON. Never an error: what could not be asked is stale, with its age and the reason.
    pub(crate) async fn json(&self, wanted: Wanted) -> Bytes {
        let slot = self.slot(&wanted);
        let known = |now: Duration| {
            let mut last = lock(&slot.last);
            last.used = now;
            (!last.body.is_empty()).then(|| (last.body.clone(), now < last.until))
        };
        let turn = match known(clock::unix_now()) {
            Some((body, true)) => return body,
            // Somebody asks already: what there is will do.
            Some((body, false)) => match slot.turn.try_lock() {
                Ok(turn) => turn,
                Err(_taken) => return body,
            },
            None => slot.turn.lock().await,
        };
        if let Some((body, true)) = known(clock::unix_now()) {
            return body;
        }
        let asked = self.ask(&wanted).await;
        let now = clock::unix_now();
        let mut last = lock(&slot.last);
        match asked {
            Ok(view) => {
                let step = Duration::from_secs(view.grid.step.max(5));
                (last.until, last.body) = (now.saturating_add(step), view.json(None));
                last.view = Some(Arc::new(view));
            }
            Err(why) => {
                tracing::debug!(target: "steeple::dashboard", %why, "Prometheus could not be asked");
                last.until = now.saturating_add(self.options.retry_after);
                last.body = last.view.as_ref().map_or_else(|| Stale::json(&why), |view| view.json(Some(&why)));
            }
        }
        let body = last.body.clone();
        drop(last);
        drop(turn);
        body
    }

    fn slot(&self, wanted: &Wanted) -> Arc<Slot> {
        let mut views = lock(&self.views);
        if let Some(slot) = views.get(wanted) {
            return Arc::clone(slot);
        }
        while views.len() >= MAX_VIEWS {
            let oldest = views.iter().min_by_key(|(_, slot)| lock(&slot.last).used).map(|(wanted, _)| wanted.clone());
            let Some(oldest) = oldest else { break };
            views.remove(&oldest);
        }
        let slot = Arc::new(Slot::default());
        lock(&slot.last).used = clock::unix_now();
        views.insert(wanted.clone(), Arc::clone(&slot));
        slot
    }

    async fn ask(&self, wanted: &Wanted) -> Result<View, Reason> {
        let asked = clock::unix_now();
        let deadline = clock::now().checked_add(self.options.refresh_timeout);
        let grid = Grid::new(wanted.span, asked.as_secs(), self.options.scrape_seconds());
        let questions: Vec<Question> = questions(&self.options, wanted.replica.as_deref(), grid);
        let answers = stream::iter(questions).map(|question| async move {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(clock::now()));
            let series = self.prometheus.ask(&question, grid, asked, left.unwrap_or_default()).await?;
            Ok::<_, Reason>((question.of, series))
        });
        let answers = answers.buffered(AT_ONCE).try_collect().await?;
        Ok(View::new(grid, asked, answers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_at_whole_steps_and_few_enough() {
        for (span, now, scrape, step) in [
            (Span::Last(300), 1_790_000_007, 15, 5),
            (Span::Last(3600), 1_790_000_007, 15, 15),
            (Span::Last(86_400), 1_790_000_007, 15, 360),
            (Span::Last(7 * 86_400), 1_790_000_007, 60, 2520),
            (Span::Between(1_789_000_000, 1_789_000_600), 1_790_000_007, 1, 3),
        ] {
            let grid = Grid::new(span, now, scrape);
            assert_eq!(grid.step, step, "{span:?}");
            assert_eq!((grid.from % step, grid.to % step), (0, 0));
            assert!(grid.points() <= 242 && grid.to <= now, "{grid:?}");
            let seconds = |time: u64| u32::try_from(time).unwrap().into();
            assert_eq!(grid.place(seconds(grid.from)), Some(0));
            assert_eq!(grid.place(seconds(grid.to)), Some(grid.points() - 1));
            let outside = [grid.from - step, grid.to + step].map(|time| grid.place(seconds(time)));
            assert_eq!(outside, [None, None]);
        }
    }

    #[test]
    fn ranges_that_are_too_long_or_turned_around_are_refused() {
        for (range, from, to) in [
            (None, None, None),
            (Some(0), None, None),
            (Some(8 * 86_400), None, None),
            (None, Some(2_000_000), Some(1_000_000)),
            (None, Some(0), Some(u64::MAX)),
        ] {
            assert_eq!(Wanted::new(range, from, to, None), None, "{range:?} {from:?} {to:?}");
        }
        assert_eq!(Wanted::new(Some(3600), None, None, Some("a".repeat(300))), None);
        let one = Wanted::new(Some(3600), None, None, Some(String::new())).unwrap();
        assert_eq!(one.replica, None);
    }
}
