//! The day's totals: from midnight to midnight, across instances.

use std::time::Duration;

use steeple_metrics::{
    Metrics,
    indicator::{Clock, HistoryOptions, Today},
    state::{State, StateOptions},
};

/// Half an hour before midnight.
const EVENING: Duration = Duration::from_secs(1_795_910_400 - 1_800);

fn metrics(clock: &Clock) -> (Metrics, Today) {
    let metrics = Metrics::new().unwrap();
    let _history = metrics.history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
    let today = metrics.today();
    (metrics, today)
}

fn step(metrics: &Metrics, clock: &Clock, seconds: u64) {
    clock.advance(Duration::from_secs(seconds));
    metrics.history().sample();
}

#[test]
fn a_day_begins_at_midnight_with_nothing() {
    let clock = Clock::manual(EVENING);
    let (metrics, today) = metrics(&clock);
    let payments = metrics.counter("payments_total", "Payments.", ["result"]).unwrap();
    payments.add(["failed"], 3);
    payments.add(["succeeded"], 40);
    assert_eq!(today.total("payments_total", &[]), 43.0);
    step(&metrics, &clock, 1_790);
    payments.add(["failed"], 1);
    step(&metrics, &clock, 20);
    // What came since the sample before midnight.
    assert_eq!(today.total("payments_total", &[("result", "failed")]), 1.0);
    assert_eq!(today.total("payments_total", &[("result", "succeeded")]), 0.0);
    payments.add(["failed"], 2);
    assert_eq!(today.total("payments_total", &[("result", "failed")]), 3.0);
    clock.set_unix(EVENING);
    assert_eq!(today.total("payments_total", &[("result", "failed")]), 3.0, "a clock that is set back changes nothing");
}

#[test]
fn families_of_a_teams_own_are_added_and_others_are_not_read() {
    let clock = Clock::manual(EVENING);
    let (metrics, today) = metrics(&clock);
    metrics.counter("orders_total", "Orders.", ["shop"]).unwrap().add(["a"], 5);
    assert!(today.totals().is_empty());
    assert!(today.family("orders_total") && today.family("orders_total"));
    let totals = today.totals();
    assert_eq!((totals.len(), totals[0].family.as_str(), totals[0].total), (1, "orders_total", 5.0));
    assert_eq!(totals[0].labels, [("shop".to_owned(), "a".to_owned())]);
    let others = (0..100).filter(|n| today.family(&format!("family_{n}_total"))).count();
    assert_eq!(others, 55, "64 families, 8 of them those of the business");
}

#[test]
fn totals_go_on_across_instances_and_end_with_their_day() {
    let directory = tempfile::tempdir().unwrap();
    let open = || State::open(StateOptions::new(directory.path(), "shop", "production")).unwrap();
    let clock = Clock::manual(EVENING);
    for (instance, want) in [(1, 2.0), (2, 4.0), (3, 6.0)] {
        let (metrics, today) = metrics(&clock);
        let payments = metrics.counter("payments_total", "Payments.", ["result"]).unwrap();
        payments.add(["failed"], 1);
        let state = open();
        today.keep_in(&state);
        payments.add(["failed"], 1);
        assert_eq!(today.total("payments_total", &[("result", "failed")]), want, "{instance}");
        state.save().unwrap();
    }
    clock.advance(Duration::from_secs(3_600));
    let (_metrics, today) = metrics(&clock);
    today.keep_in(&open());
    assert_eq!(today.total("payments_total", &[]), 0.0);
}
