//! Each of the six rules in a scenario, and the same scenario through Prometheus' own tool.

use std::time::Duration;

use steeple_alerts::{Rule, Rules, Severity, scenario::Scenario};
use steeple_metrics::{
    Names,
    indicator::{Indicator, Selector},
};

use crate::support::promtool;

const FAST: Duration = Duration::from_millis(80);

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// An ordinary day: all is well.
fn ordinary(rules: Rules) -> Scenario {
    let mut shop = Scenario::every(rules, minutes(1)).unwrap();
    shop.traffic("POST", "/pay/{id}", 4.0, 0.0, FAST);
    shop.traffic("", "shop.v1.Shop/Pay", 1.0, 0.0, FAST);
    shop.counter("payments_total", &[("result", "failed")], 0.0);
    shop
}

/// Exactly those alerts fire on a server that fired here.
#[track_caller]
fn agrees(scenario: &Scenario) {
    for names in [Names::Classic, Names::OpenTelemetry] {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        file("rules.yml", scenario.to_prometheus(names));
        let test = file("test.yml", scenario.to_promtool("rules.yml"));
        if promtool(&["test", "rules", test.to_str().unwrap()]).is_none() {
            return;
        }
    }
}

/// Bad for five hours, then good: fires once, reminds once, is resolved once.
#[track_caller]
fn fires_repeats_and_resolves(rule: &str, rules: Rules, bad: impl Fn(&mut Scenario), good: impl Fn(&mut Scenario)) {
    let mut shop = ordinary(rules);
    shop.pass(minutes(70));
    assert_eq!(shop.events(), []);
    for _ in 0..30 {
        bad(&mut shop);
        shop.pass(minutes(10));
    }
    assert_eq!(shop.firing(), [rule]);
    good(&mut shop);
    shop.pass(minutes(20));
    assert_eq!(shop.firing(), [""; 0]);
    let told: Vec<_> = shop.events().into_iter().map(|event| (event.rule, event.what)).collect();
    let want = ["firing", "reminder", "resolved"].map(|what| (rule.to_owned(), what));
    assert_eq!(told, want);
    agrees(&shop);
}

fn both(check: impl Fn(Rules)) {
    check(Rules::mission());
    check(Rules::mission().guarded());
}

#[test]
fn high_cpu_usage() {
    both(|rules| fires_repeats_and_resolves("high_cpu_usage", rules, |shop| shop.cpu(0.95), |shop| shop.cpu(0.1)));
}

#[test]
fn high_memory_usage() {
    let good = |shop: &mut Scenario| shop.memory(0.3);
    both(|rules| fires_repeats_and_resolves("high_memory_usage", rules, |shop| shop.memory(0.97), good));
}

#[test]
fn high_error_rate() {
    let bad = |shop: &mut Scenario| shop.traffic("POST", "/pay/{id}", 4.0, 0.5, FAST);
    let good = |shop: &mut Scenario| shop.traffic("POST", "/pay/{id}", 4.0, 0.0, FAST);
    both(|rules| fires_repeats_and_resolves("high_error_rate", rules, bad, good));
    let bad = |shop: &mut Scenario| shop.traffic("", "shop.v1.Shop/Pay", 1.0, 1.0, FAST);
    let good = |shop: &mut Scenario| shop.traffic("", "shop.v1.Shop/Pay", 1.0, 0.0, FAST);
    both(|rules| fires_repeats_and_resolves("high_error_rate", rules, bad, good));
}

#[test]
fn slow_response_time() {
    let bad = |shop: &mut Scenario| shop.traffic("POST", "/pay/{id}", 4.0, 0.0, Duration::from_secs(9));
    let good = |shop: &mut Scenario| shop.traffic("POST", "/pay/{id}", 4.0, 0.0, FAST);
    both(|rules| fires_repeats_and_resolves("slow_response_time", rules, bad, good));
}

#[test]
fn low_user_activity() {
    let good = |shop: &mut Scenario| shop.active_users(100.0);
    both(|rules| fires_repeats_and_resolves("low_user_activity", rules, |shop| shop.active_users(0.0), good));
}

#[test]
fn payment_failures() {
    let fail = |shop: &mut Scenario| {
        // Every 10 minutes is not often enough: within 5 there have to be more than 3, all the time.
        for _ in 0..10 {
            shop.counter("payments_total", &[("result", "failed")], 2.0);
            shop.pass(minutes(1));
        }
    };
    let mut shop = ordinary(Rules::mission().guarded());
    shop.pass(minutes(70));
    for _ in 0..30 {
        fail(&mut shop);
    }
    shop.pass(minutes(20));
    let told: Vec<_> = shop.events().into_iter().map(|event| (event.rule, event.what)).collect();
    assert_eq!(told, ["firing", "reminder", "resolved"].map(|what| ("payment_failures".to_owned(), what)));
    agrees(&shop);
}

#[test]
fn three_payments_that_fail_are_no_alert_on_either_side() {
    let mut shop = ordinary(Rules::mission());
    shop.pass(minutes(65));
    shop.counter("payments_total", &[("result", "failed")], 3.0);
    shop.pass(minutes(10));
    assert_eq!(shop.events(), []);
    agrees(&shop);
}

#[test]
fn nineteen_requests_that_fail_are_no_alert_and_twenty_are() {
    for (per_second, fires) in [(19.0 / 300.0, false), (21.0 / 300.0, true)] {
        let mut shop = Scenario::new(Rules::mission().guarded()).unwrap();
        shop.pass(minutes(65));
        shop.traffic("POST", "/pay/{id}", per_second, 1.0, FAST);
        shop.pass(minutes(5));
        assert_eq!(shop.firing().contains(&"high_error_rate".to_owned()), fires);
    }
}

#[test]
fn a_value_between_the_thresholds_keeps_the_state_on_either_side() {
    let mut shop = ordinary(Rules::mission().guarded());
    shop.pass(minutes(65));
    // Never above 5 %: nothing begins.
    shop.traffic("POST", "/pay/{id}", 4.0, 0.05, FAST);
    shop.traffic("", "shop.v1.Shop/Pay", 1.0, 0.0, FAST);
    shop.pass(minutes(10));
    assert_eq!(shop.events(), []);
    // Above it, and back to the same: it goes on.
    shop.traffic("POST", "/pay/{id}", 4.0, 0.5, FAST);
    shop.pass(minutes(10));
    shop.traffic("POST", "/pay/{id}", 4.0, 0.05, FAST);
    shop.pass(minutes(10));
    assert_eq!(shop.firing(), ["high_error_rate"]);
    agrees(&shop);
}

#[test]
fn rules_of_a_teams_own_agree_as_well() {
    let window = minutes(5);
    let rules = Rules::mission()
        .of_service()
        .of_instance()
        .with(Rule::new("pay_slow", Indicator::quantile(0.95).of("POST", "/pay/{id}"), window).above(1.0).clear(0.5))
        .with(
            Rule::new("grpc_errors", Indicator::error_ratio().of("", "shop.v1.Shop/Pay"), window)
                .above(0.2)
                .hold(minutes(2))
                .keep_firing(minutes(3))
                .severity(Severity::High),
        )
        .with(Rule::new("queue_long", Indicator::gauge(Selector::new("queue_length")), window).above(50.0))
        .with(Rule::new("no_traffic", Indicator::rate(), window).below(1.0).min_uptime(minutes(6)));
    let mut shop = ordinary(rules);
    shop.gauge("queue_length", &[], 0.0);
    shop.pass(minutes(10));
    assert_eq!(shop.events(), []);
    shop.traffic("POST", "/pay/{id}", 4.0, 0.0, Duration::from_secs(3));
    shop.traffic("", "shop.v1.Shop/Pay", 1.0, 0.9, FAST);
    shop.gauge("queue_length", &[], 1_000.0);
    shop.pass(minutes(10));
    assert_eq!(shop.firing(), ["pay_slow", "grpc_errors", "queue_long"]);
    shop.traffic("POST", "/pay/{id}", 0.4, 0.0, FAST);
    shop.traffic("", "shop.v1.Shop/Pay", 0.4, 0.0, FAST);
    shop.gauge("queue_length", &[], 0.0);
    shop.pass(minutes(20));
    assert!(shop.firing().contains(&"no_traffic".to_owned()), "{:?}", shop.firing());
    agrees(&shop);
}

#[test]
fn the_recommended_rules_agree_with_a_server_in_calm_and_in_trouble() {
    let mut shop = ordinary(Rules::recommended());
    shop.pass(minutes(20));
    assert_eq!(shop.events(), []);
    shop.cpu(0.95);
    shop.memory(0.99);
    shop.traffic("POST", "/pay/{id}", 4.0, 0.5, Duration::from_secs(3));
    shop.pass(minutes(20));
    let want = ["high_cpu_usage", "high_memory_usage", "memory_nearly_full", "high_error_rate", "slow_response_time"];
    assert_eq!(shop.firing(), want);
    shop.cpu(0.1);
    shop.memory(0.3);
    shop.traffic("POST", "/pay/{id}", 4.0, 0.0, FAST);
    shop.pass(minutes(20));
    assert_eq!(shop.firing(), [""; 0]);
    agrees(&shop);
}

#[test]
fn around_the_threshold_for_an_hour_is_one_alert_at_most_on_either_side() {
    let mut shop = ordinary(Rules::mission().guarded());
    shop.pass(minutes(65));
    shop.traffic("", "shop.v1.Shop/Pay", 0.0, 0.0, FAST);
    for minute in 0..60 {
        // 4 % and 7 % in turn: over five minutes it is now below 5 %, now above.
        let ratio = if minute / 5 % 2 == 0 { 0.07 } else { 0.04 };
        shop.traffic("POST", "/pay/{id}", 4.0, ratio, FAST);
        shop.pass(minutes(1));
    }
    let told: Vec<_> = shop.events().into_iter().map(|event| (event.rule, event.what)).collect();
    assert_eq!(told, [("high_error_rate".to_owned(), "firing")]);
    agrees(&shop);
}

#[test]
fn an_old_failure_does_not_fire_where_a_second_window_is_good_and_a_server_agrees() {
    let rule = Rule::new("errors", Indicator::error_ratio(), minutes(30)).also_over(minutes(3)).above(0.05).clear(0.03);
    let mut shop = ordinary(Rules::from_iter([rule]));
    shop.pass(minutes(40));
    // A minute in which all fail: 30 minutes are below the threshold, 3 are above.
    shop.traffic("POST", "/pay/{id}", 4.0, 1.0, FAST);
    shop.pass(minutes(1));
    shop.traffic("POST", "/pay/{id}", 4.0, 0.0, FAST);
    shop.pass(minutes(40));
    assert_eq!(shop.events(), []);
    // Ten minutes: both are above. It is over when the last three are good, and stays over.
    shop.traffic("POST", "/pay/{id}", 4.0, 0.5, FAST);
    shop.pass(minutes(10));
    assert_eq!(shop.firing(), ["errors"]);
    shop.traffic("POST", "/pay/{id}", 4.0, 0.0, FAST);
    shop.pass(minutes(4));
    assert_eq!(shop.firing(), [""; 0]);
    shop.pass(minutes(20));
    let told: Vec<_> = shop.events().into_iter().map(|event| event.what).collect();
    assert_eq!(told, ["firing", "resolved"]);
    agrees(&shop);
}

#[test]
fn an_objective_is_two_rules_and_a_server_agrees() {
    let rules = Rules::from_iter([]).with_objective("pay", Indicator::error_ratio().of("POST", "/pay/{id}"), 0.999);
    let mut shop = ordinary(rules);
    shop.pass(minutes(7 * 60));
    assert_eq!(shop.events(), []);
    // 1 % is ten times as many as may be: for hours that is an alert, and not at once.
    shop.traffic("POST", "/pay/{id}", 4.0, 0.01, FAST);
    shop.pass(minutes(60));
    assert_eq!(shop.firing(), [""; 0]);
    shop.pass(minutes(4 * 60));
    assert_eq!(shop.firing(), ["pay_slow_burn"]);
    shop.traffic("POST", "/pay/{id}", 4.0, 0.05, FAST);
    shop.pass(minutes(60));
    assert_eq!(shop.firing(), ["pay_fast_burn", "pay_slow_burn"]);
    shop.traffic("POST", "/pay/{id}", 4.0, 0.0, FAST);
    shop.pass(minutes(40));
    assert_eq!(shop.firing(), [""; 0]);
    agrees(&shop);
    let told = shop.alerts().notifications();
    assert_eq!(told[0].summary, "The objective of 99.9 % for pay is missed 6 times as fast as it may be.");
    // Ten percent may fail: 14.4 times as many are more than all.
    let impossible = Rules::from_iter([]).with_objective("pay", Indicator::error_ratio(), 0.9);
    assert!(Scenario::new(impossible).unwrap_err().is_rule());
}

#[test]
fn alerts_that_came_and_went_in_a_cooldown_are_notified_at_its_end() {
    let rule = Rule::new("errors", Indicator::error_ratio(), minutes(1)).above(0.05).cooldown(minutes(20));
    let mut shop = ordinary(Rules::from_iter([rule]));
    for _ in 0..3 {
        shop.traffic("POST", "/pay/{id}", 4.0, 0.5, FAST);
        shop.pass(minutes(2));
        shop.traffic("POST", "/pay/{id}", 4.0, 0.0, FAST);
        shop.pass(minutes(3));
    }
    shop.pass(minutes(30));
    let told: Vec<_> = shop.events().into_iter().map(|event| (event.after.as_secs() / 60, event.what)).collect();
    assert_eq!(told, [(1, "firing"), (3, "resolved"), (23, "kept_back")]);
    let note = shop.alerts().notifications().pop().unwrap();
    assert_eq!((note.suppressed, note.since.as_secs() % 86_400 / 60), (2, 12 * 60 + 6), "{note:?}");
}
