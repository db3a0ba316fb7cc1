//! The past of this process, from the Prometheus that scraped its predecessor.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use steeple_core::clock;
use steeple_export::Reason;
use steeple_metrics::indicator::{Frame, History, Tier};

use super::{
    Fleet, Grid,
    plan::{Of, past, replicas},
    view::numbers,
};

/// How often it is tried, and how long apart.
const ATTEMPTS: u32 = 6;
const APART: Duration = Duration::from_secs(10);

/// Fills the frames of 10 seconds and of a minute with earlier numbers.
pub(crate) async fn backfill(fleet: Arc<Fleet>, history: History) {
    for _ in 0..ATTEMPTS {
        let Err(why) = fill(&fleet, &history).await else { return };
        tracing::debug!(target: "steeple::dashboard", %why, "the past is not known from Prometheus yet");
        steeple_export::sleep(APART).await;
    }
}

async fn fill(fleet: &Fleet, history: &History) -> Result<(), Reason> {
    let now = clock::unix_now();
    let none = Grid { from: 0, to: 0, step: 1 };
    let replica = if let Some(instance) = &fleet.options.instance {
        instance.clone()
    } else {
        let question = replicas(&fleet.options);
        let series = fleet.prometheus.ask(&question, none, now, Duration::MAX).await?;
        let [one] = series.as_slice() else {
            // Which of them this process continues, only a setting knows.
            return Err(Reason::from("there is not exactly one instance, and none is set"));
        };
        one.label("instance").to_owned()
    };
    for tier in [Tier::TenSeconds, Tier::Minute] {
        let step = tier.length().as_secs();
        let room = u64::try_from(tier.capacity()).unwrap_or_default();
        let to = now.as_secs().checked_div(step).unwrap_or_default().saturating_mul(step);
        let grid = Grid { from: to.saturating_sub(step.saturating_mul(room)), to, step };
        let mut columns: BTreeMap<&'static str, Vec<Option<f64>>> = BTreeMap::new();
        for question in past(&fleet.options, &replica, grid) {
            let series = fleet.prometheus.ask(&question, grid, now, Duration::MAX).await?;
            if let Of::Column(name, factor) = question.of {
                let column = numbers(grid, &series).into_iter().map(|value| value.map(|value| value * factor));
                columns.insert(name, column.collect());
            }
        }
        history.prepend(tier, frames(grid, &columns));
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "counts of a minute, and numbers that are drawn"
)]
fn frames(grid: Grid, columns: &BTreeMap<&'static str, Vec<Option<f64>>>) -> Vec<Frame> {
    let seconds = grid.step as f64;
    let frame = |point: usize| {
        let number = |name: &str| columns.get(name)?.get(point).copied().flatten();
        let count = |name: &str| number(name).map_or(0, |rate| (rate * seconds).round() as u32);
        let short = |name: &str| number(name).map_or(f32::NAN, |value| value as f32);
        let requests = number("requests")?;
        let at = grid.from.saturating_add((point as u64).saturating_mul(grid.step));
        let mut frame = Frame::ended(Duration::from_secs(at), seconds as f32);
        frame.requests = count("requests");
        // Prometheus is asked for 2xx and 3xx together.
        frame.successes = count("ok");
        frame.client_errors = count("client_errors");
        frame.server_errors = count("server_errors");
        frame.cancelled = count("aborted");
        frame.errors = (number("error_ratio").unwrap_or_default() * requests * seconds).round() as u32;
        frame.in_flight = number("in_flight").map_or(0, |value| value as u32);
        frame.active_users = short("users");
        (frame.mean, frame.p50, frame.p95, frame.p99) = (short("mean"), short("p50"), short("p95"), short("p99"));
        (frame.cpu, frame.throttled) = (short("cpu"), short("throttled"));
        (frame.memory, frame.disk) = (short("memory"), short("disk"));
        frame.cache_hit_ratio = short("cache");
        Some(frame)
    };
    (0..grid.points()).filter_map(frame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_counts_of_their_length_and_unknown_values_are_nan() {
        let grid = Grid { from: 60, to: 180, step: 60 };
        let columns = BTreeMap::from([
            ("requests", vec![Some(2.0), None, Some(0.5)]),
            ("ok", vec![Some(1.5), None, Some(0.5)]),
            ("error_ratio", vec![Some(0.25), None, None]),
            ("p95", vec![Some(0.125), None, None]),
        ]);
        let frames = frames(grid, &columns);
        assert_eq!(frames.len(), 2, "unscraped times are gaps");
        let [first, last] = [&frames[0], &frames[1]];
        assert_eq!((first.requests, first.successes, first.errors), (120, 90, 30));
        assert!((first.p95 - 0.125).abs() < 1e-6 && first.cpu.is_nan());
        assert_eq!((last.unix, last.requests, last.errors), (Duration::from_secs(180), 30, 0));
        assert!(last.p95.is_nan());
    }
}
