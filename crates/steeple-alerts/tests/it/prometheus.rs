//! Rules as a file that Prometheus' own tool accepts.

use std::time::Duration;

use steeple_alerts::{Rule, Rules, Severity};
use steeple_core::Outcome;
use steeple_metrics::{
    Names,
    indicator::{Indicator, Promql, Selector},
};

use crate::support::promtool;

const WINDOW: Duration = Duration::from_secs(300);

/// Every indicator there is, with every setting of a rule.
fn every_rule() -> Rules {
    let orders = Selector::new("orders_total");
    let indicators = [
        Indicator::error_ratio().of("POST", "/pay/{id}"),
        Indicator::error_ratio().of("", "shop.v1.Shop/Pay"),
        Indicator::quantile(0.95),
        Indicator::quantile(0.99).of("GET", "/a"),
        Indicator::slow_ratio(Duration::from_millis(300)),
        Indicator::aborted_ratio(Outcome::Panicked),
        Indicator::cpu_throttled(),
        Indicator::disk(),
        Indicator::connections(),
        Indicator::cache_hit_ratio(),
        Indicator::counter_ratio(orders.clone().label("result", "failed"), orders.clone()),
        Indicator::counter_rate(orders.clone()),
        Indicator::gauge(Selector::new("queue_length")),
        Indicator::histogram_quantile(0.9, Selector::new("job_duration_seconds")),
    ];
    let rules = Rules::mission().guarded();
    indicators.into_iter().enumerate().fold(rules, |rules, (n, indicator)| {
        let rule = Rule::new(format!("rule_{n}"), indicator, WINDOW)
            .above(0.5)
            .clear(0.25)
            .hold(Duration::from_millis(1_500))
            .keep_firing(Duration::from_secs(120))
            .min_samples(20)
            .min_bad(3)
            .min_uptime(Duration::from_secs(60))
            .severity(Severity::High)
            .summary("A \"quote\", a {{ template }}, a \\ and\na line")
            .runbook("https://example.org/?a={{b}}");
        rules.with(rule)
    })
}

#[test]
fn promtool_accepts_every_rule_in_every_style() {
    for names in [Names::Classic, Names::OpenTelemetry] {
        for native in [false, true] {
            for matchers in ["", r#"job="shop",env=~"a|b""#] {
                let style = Promql::new().names(names).native(native).matchers(matchers).prefix("app_");
                let text = every_rule().to_prometheus(&style);
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), &text).unwrap();
                let Some(said) = promtool(&["check", "rules", file.path().to_str().unwrap()]) else { return };
                let count = 20 + usize::from(!matchers.is_empty());
                assert!(said.contains(&format!("SUCCESS: {count} rules found")), "{said}\n{text}");
            }
        }
    }
}

#[test]
fn a_file_has_the_rules_their_routes_and_their_service() {
    let style = Promql::new().matchers(r#"job="shop""#);
    let file = every_rule().to_prometheus(&style);
    // Routes that were never asked for are in it.
    assert!(file.contains(r#"route=\"/pay/{id}\""#) && file.contains(r#"grpc_method=\"Pay\""#), "{file}");
    assert!(file.contains("alert: metrics_absent") && file.contains("          job: \"shop\"\n"), "{file}");
    assert!(file.contains("max by (instance) "), "an instance's CPU is its own: {file}");
    assert_eq!(Rules::mission().of_service().of_instance().to_prometheus(&Promql::new()), "groups: []\n");
    let names = |rules: Rules| rules.iter().map(|rule| rule.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(Rules::mission().of_instance()), ["high_cpu_usage", "high_memory_usage"]);
    assert_eq!(
        names(Rules::mission().of_service()),
        ["high_error_rate", "slow_response_time", "low_user_activity", "payment_failures"]
    );
    let impossible = Rules::mission()
        .of_service()
        .of_instance()
        .with(Rule::new("never", Indicator::error_ratio(), WINDOW).above(2.0));
    assert_eq!(impossible.to_prometheus(&Promql::new()), "groups: []\n", "a rule that can never fire is left out");
}
