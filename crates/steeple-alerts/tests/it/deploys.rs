//! Restarts: an announced alert is not announced again, and its end is.

use std::{path::Path, time::Duration};

use steeple_alerts::{Alerts, Failure, Rule, Rules};
use steeple_metrics::{
    CounterFamily, Metrics,
    indicator::{Clock, Indicator, Selector, Tier},
    state::{State, StateGuard, StateOptions},
};

use crate::{START, metrics, pass};

/// The state is saved before its sections are dropped.
struct Instance {
    _guard: StateGuard,
    metrics: Metrics,
    payments: CounterFamily<1>,
    alerts: Alerts,
}

fn rule() -> Rule {
    Rule::new("queue_is_long", Indicator::gauge(Selector::new("queue_length")), Duration::from_secs(60)).above(10.0)
}

/// An instance whose queue is as long as that.
fn start(directory: &Path, version: &str, clock: &Clock, queue: f64, rules: Rules) -> Instance {
    let metrics = metrics(clock);
    metrics.gauge("queue_length", "Jobs that wait.", []).unwrap().set([], queue);
    let payments = metrics.counter("payments_total", "Payments.", ["result"]).unwrap();
    payments.add(["success"], 0);
    let state = State::open(StateOptions::new(directory, "shop", "production").version(version)).unwrap();
    let alerts = Alerts::builder().version(version).rules(rules).build(&metrics).unwrap();
    metrics.history().keep_in(&state);
    metrics.today().keep_in(&state);
    alerts.keep_in(&state);
    let guard = state.spawn(Duration::from_secs(3_600)).unwrap();
    Instance { _guard: guard, metrics, payments, alerts }
}

fn told(alerts: &Alerts) -> Vec<(String, &'static str)> {
    alerts.notifications().iter().map(|told| (told.rule.clone(), told.status.as_str())).collect()
}

fn only(rule: Rule) -> Rules {
    Rules::mission().of_service().of_instance().with(rule)
}

fn fail(alerts: &Alerts, message: &str) {
    alerts.error(&Failure { kind: "io::Error", route: "POST /pay", message, fingerprint: None });
}

#[test]
fn an_alert_is_announced_once_and_resolved_once_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(START);
    let mut all = Vec::new();
    for (n, queue) in [50.0, 60.0, 70.0, 0.0, 0.0].into_iter().enumerate() {
        let instance = start(directory.path(), &format!("1.{n}"), &clock, queue, only(rule()));
        pass(&instance.metrics, &clock, Duration::from_secs(120));
        all.extend(told(&instance.alerts).into_iter().map(|(_, status)| (n, status)));
    }
    assert_eq!(all, [(0, "firing"), (3, "resolved")]);
}

#[test]
fn an_alert_whose_rule_is_gone_is_resolved() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(START);
    let first = start(directory.path(), "1", &clock, 50.0, only(rule()));
    pass(&first.metrics, &clock, Duration::from_secs(60));
    drop(first);
    let second = start(directory.path(), "2", &clock, 50.0, Rules::mission().of_service());
    assert_eq!(told(&second.alerts), [("queue_is_long".to_owned(), "resolved")]);
}

#[test]
fn without_a_state_an_alert_is_announced_again() {
    let clock = Clock::manual(START);
    for _ in 0..2 {
        let metrics = metrics(&clock);
        metrics.gauge("queue_length", "Jobs that wait.", []).unwrap().set([], 50.0);
        let alerts = Alerts::builder().rule(rule()).build(&metrics).unwrap();
        pass(&metrics, &clock, Duration::from_secs(60));
        assert_eq!(told(&alerts), [("queue_is_long".to_owned(), "firing")]);
    }
}

#[test]
fn silences_and_acknowledgements_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(START);
    let first = start(directory.path(), "1", &clock, 50.0, only(rule()));
    pass(&first.metrics, &clock, Duration::from_secs(60));
    assert!(first.alerts.acknowledge("queue_is_long"));
    assert!(first.alerts.silence("queue_is_long", Duration::from_secs(3_600), "ann"));
    drop(first);
    clock.advance(Duration::from_secs(600));
    let second = start(directory.path(), "1", &clock, 50.0, only(rule()));
    let silences = second.alerts.silences();
    assert_eq!((silences.len(), silences[0].author.as_str()), (1, "ann"));
    assert!(second.alerts.rules()[0].is_acknowledged);
}

/// The events over all processes: payments, failures of a handler, and for how long something ran at all.
#[derive(Default)]
struct Ledger {
    payments: f64,
    failures: u64,
    seconds: u64,
}

#[test]
fn over_twenty_overlapping_deploys_nothing_is_announced_twice_and_totals_and_charts_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(START);
    let mut announced = Vec::new();
    let mut ledger = Ledger::default();
    let pay = |instance: &Instance, ledger: &mut Ledger, count: u64| {
        instance.payments.add(["success"], count);
        ledger.payments += count as f64;
    };
    let mut running = start(directory.path(), "1.0", &clock, 50.0, only(rule()));
    for deploy in 1..=20_u64 {
        pay(&running, &mut ledger, deploy);
        pass(&running.metrics, &clock, Duration::from_secs(60));
        fail(&running.alerts, "order 17 failed");
        let next = start(directory.path(), &format!("1.{deploy}"), &clock, 50.0, only(rule()));
        // Both serve for a while, and each is paid.
        pay(&running, &mut ledger, 1);
        pay(&next, &mut ledger, 2);
        for _ in 0..6 {
            clock.advance(Duration::from_secs(10));
            running.metrics.history().sample();
            next.metrics.history().sample();
        }
        fail(&next.alerts, "order 18 failed");
        ledger.failures += 2;
        ledger.seconds += 120;
        assert!(told(&next.alerts).is_empty(), "nothing is announced that the one before has announced");
        announced.extend(told(&running.alerts));
        drop(running);
        // It looks each second.
        for _ in 0..6_000 {
            if next.alerts.error_groups()[0].count >= ledger.failures {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        running = next;
    }
    pass(&running.metrics, &clock, Duration::from_secs(60));
    ledger.seconds += 60;
    announced.extend(told(&running.alerts));
    let want = [("queue_is_long", "firing"), ("new_error", "firing"), ("frequent_error", "firing")];
    assert_eq!(announced, want.map(|(rule, status)| (rule.to_owned(), status)));
    let group = &running.alerts.error_groups()[0];
    assert_eq!((group.count, group.first_version.as_str()), (ledger.failures, "1.0"));

    let today = running.metrics.today();
    let paid = today.total("payments_total", &[("result", "success")]);
    assert_eq!(paid, ledger.payments, "the day's total is the sum of the payments");

    // The chart of the hour: a frame for each 10 seconds of the run, in order, without a gap.
    let frames = running.metrics.history().frames(Tier::TenSeconds, 0);
    let ends: Vec<_> = frames.iter().map(|frame| frame.unix.as_secs()).collect();
    assert!(ends.windows(2).all(|pair| pair[1] - pair[0] == 10), "{ends:?}");
    // The very first sample is where everything begins.
    let wanted = (ledger.seconds / 10 - 1).min(Tier::TenSeconds.capacity() as u64);
    assert_eq!(ends.len() as u64, wanted, "of {} s", ledger.seconds);
}

#[test]
fn a_group_says_after_which_deploy_it_began() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(START);
    let first = start(directory.path(), "1.8.1", &clock, 0.0, only(rule()));
    fail(&first.alerts, "an old error");
    drop(first);
    let second = start(directory.path(), "1.8.2", &clock, 0.0, only(rule()));
    clock.advance(Duration::from_secs(240));
    fail(&second.alerts, "a new error");
    let told = second.alerts.notifications();
    let facts = told[0].facts();
    assert!(facts.contains(&("Deploy", "first seen 4 min after the deploy of 1.8.2".to_owned())), "{facts:?}");
    assert_eq!(told.len(), 1, "the old one is known");
}
