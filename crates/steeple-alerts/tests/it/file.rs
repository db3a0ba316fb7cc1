//! Rules in a file: read again while the service runs.

use std::{path::Path, time::Duration};

use steeple_alerts::{Alerts, MAX_RULES, Rule, Rules, Severity};
use steeple_metrics::{
    Metrics,
    indicator::{Clock, Indicator, Selector},
};

use crate::{START, metrics, pass};

const QUEUE: &str = "start_from = 'none'\n[rules.queue_is_long]\nindicator = 'gauge'\nfamily = 'queue_length'\n\
                     window = '1m'\nabove = 10\n";

fn start(path: &Path, clock: &Clock) -> (Metrics, Alerts) {
    let metrics = metrics(clock);
    metrics.gauge("queue_length", "Jobs that wait.", []).unwrap().set([], 50.0);
    let alerts = Alerts::builder().rules_file(path).build(&metrics).unwrap();
    (metrics, alerts)
}

fn told(alerts: &Alerts) -> Vec<(String, &'static str)> {
    alerts.notifications().iter().map(|told| (told.rule.clone(), told.status.as_str())).collect()
}

#[track_caller]
fn wait(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}");
}

#[test]
fn a_changed_file_is_taken_and_what_fires_and_is_silenced_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.toml");
    std::fs::write(&path, QUEUE).unwrap();
    let clock = Clock::manual(START);
    let (metrics, alerts) = start(&path, &clock);
    pass(&metrics, &clock, Duration::from_secs(120));
    assert_eq!(told(&alerts), [("queue_is_long".to_owned(), "firing")]);
    assert!(alerts.silence("queue_is_long", Duration::from_secs(3_600), "ann"));
    assert!(alerts.acknowledge("queue_is_long"));

    // Without a call of `reload`: the file is looked at.
    std::fs::write(&path, format!("{QUEUE}severity = 'critical'\n[rules.more]\nindicator = 'cpu'\nabove = '90%'\n"))
        .unwrap();
    wait("the file is read again", || alerts.rules().len() == 2);
    let rule = &alerts.rules()[0];
    assert_eq!((rule.severity, rule.is_acknowledged), (Severity::Critical, true));
    assert!(rule.firing_since.is_some() && alerts.silences().len() == 1);
    pass(&metrics, &clock, Duration::from_secs(120));
    assert_eq!(told(&alerts).len(), 1, "it is not announced again");
    assert_eq!((alerts.reloads(), alerts.file_error()), ((1, 0), None));

    // Another threshold is the same alert, and so is its end.
    std::fs::write(&path, QUEUE.replace("above = 10", "above = 100")).unwrap();
    alerts.reload();
    wait("the file is read again", || alerts.rules().len() == 1);
    pass(&metrics, &clock, Duration::from_secs(60));
    assert_eq!(told(&alerts).last().unwrap().1, "resolved");
}

#[test]
fn an_invalid_file_changes_nothing_and_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.toml");
    std::fs::write(&path, QUEUE).unwrap();
    let clock = Clock::manual(START);
    let (metrics, alerts) = start(&path, &clock);
    pass(&metrics, &clock, Duration::from_secs(120));
    for (n, (text, says)) in [
        (format!("{QUEUE}abov = 11\n"), "line 7, `rules.queue_is_long.abov`: unknown key"),
        (format!("{QUEUE}{}", "#".repeat(70_000)), "larger than 65536 bytes"),
        ("[rules".to_owned(), "line 1"),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(&path, text).unwrap();
        alerts.reload();
        wait("it is read", || alerts.reloads().1 == n as u64 + 1);
        let error = alerts.file_error().unwrap().to_string();
        assert!(error.starts_with(path.to_str().unwrap()) && error.contains(says), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert_eq!(alerts.firing().len(), 1, "the rules before stay");
    }
    std::fs::remove_file(&path).unwrap();
    alerts.reload();
    wait("it is gone", || alerts.reloads().1 == 4);
    assert!(alerts.file_error().unwrap().to_string().contains("cannot be read"));
    std::fs::write(&path, QUEUE).unwrap();
    alerts.reload();
    wait("it is back", || alerts.file_error().is_none());
    assert_eq!(told(&alerts), [("queue_is_long".to_owned(), "firing")]);
}

#[test]
fn alerts_are_not_built_with_an_invalid_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.toml");
    let build = || Alerts::builder().rules_file(&path).build(&metrics(&Clock::manual(START)));
    assert!(build().unwrap_err().is_file(), "it is not there");
    std::fs::write(&path, "[rules.slow]\nindicator = 'mean'\n").unwrap();
    let error = build().unwrap_err();
    assert!(error.is_file() && error.to_string().contains("line 1, `rules.slow`"), "{error}");
}

#[test]
fn a_file_starts_from_the_rules_in_code() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.toml");
    std::fs::write(&path, "[rules.high_cpu_usage]\nenabled = false\n").unwrap();
    let names = |builder: steeple_alerts::AlertsBuilder| -> usize {
        builder.rules_file(&path).build(&metrics(&Clock::manual(START))).unwrap().rules().len()
    };
    assert_eq!(names(Alerts::builder()), 5);
    assert_eq!(names(Alerts::builder().rules(Rules::recommended())), Rules::recommended().iter().len() - 1);
}

#[test]
fn an_alert_whose_rule_is_gone_is_resolved() {
    let clock = Clock::manual(START);
    let metrics = metrics(&clock);
    metrics.gauge("queue_length", "Jobs that wait.", []).unwrap().set([], 50.0);
    let queue = |name: &str| {
        Rule::new(name, Indicator::gauge(Selector::new("queue_length")), Duration::from_secs(60)).above(10.0)
    };
    let alerts = Alerts::builder().rule(queue("a")).rule(queue("b")).build(&metrics).unwrap();
    pass(&metrics, &clock, Duration::from_secs(120));
    alerts.set_rules(Rules::from_iter([queue("b")])).unwrap();
    let want = [("a", "firing"), ("b", "firing"), ("a", "resolved")];
    assert_eq!(told(&alerts), want.map(|(rule, status)| (rule.to_owned(), status)));
}

#[test]
fn sixty_four_rules_can_all_be_replaced_and_one_more_is_refused() {
    let metrics = metrics(&Clock::manual(START));
    let rules = |count: usize, seconds: u64| -> Rules {
        let rule = |n| Rule::new(format!("r{n}"), Indicator::mean(), Duration::from_secs(seconds)).above(1.0);
        (0..count).map(rule).collect()
    };
    let alerts = Alerts::builder().rules(rules(MAX_RULES, 60)).build(&metrics).unwrap();
    alerts.set_rules(rules(MAX_RULES, 120)).unwrap();
    let error = alerts.set_rules(rules(MAX_RULES + 1, 180)).unwrap_err();
    assert!(error.is_rule() && error.to_string().contains("at most 64"), "{error}");
    assert!(alerts.definitions().iter().all(|rule| rule.window() == Duration::from_secs(120)));
    let day = Rule::new("long", Indicator::mean(), Duration::from_secs(86_401)).above(1.0);
    assert!(alerts.set_rules(Rules::from_iter([day])).unwrap_err().to_string().contains("24 hours"));
    // The places are those of the metrics: what others watch counts.
    let watched = metrics.history().watch(Indicator::cpu(), steeple_metrics::indicator::Window::MINUTE);
    assert!(watched.is_err(), "64 are watched");
}
