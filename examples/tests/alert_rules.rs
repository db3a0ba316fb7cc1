//! A team's own alert rules as a unit test: a made-up service, time that passes at once, no network.

use std::time::Duration;

use steeple::{
    alerts::{Rule, Rules, Severity, scenario::Scenario},
    metrics::indicator::{Indicator, Selector},
};

const FAST: Duration = Duration::from_millis(80);

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

/// What the service gives to `builder.alerts(|alerts| alerts.rules(rules()))`.
fn rules() -> Rules {
    let queue = Indicator::gauge(Selector::new("queue_length"));
    Rules::mission().guarded().without("low_user_activity").with(
        Rule::new("queue_is_long", queue, minutes(5))
            .above(100.0)
            .clear(20.0)
            .hold(minutes(2))
            .severity(Severity::High),
    )
}

#[test]
fn a_failing_checkout_is_one_incident() {
    let mut shop = Scenario::new(rules()).unwrap();
    shop.traffic("POST", "/checkout", 10.0, 0.01, FAST);
    shop.pass(minutes(10));
    assert_eq!(shop.events(), [], "one in a hundred is an ordinary day");

    shop.traffic("POST", "/checkout", 10.0, 0.5, FAST);
    shop.pass(minutes(10));
    assert_eq!(shop.firing(), ["high_error_rate"]);

    shop.traffic("POST", "/checkout", 10.0, 0.0, FAST);
    shop.pass(minutes(10));
    let told: Vec<_> = shop.events().into_iter().map(|event| event.what).collect();
    assert_eq!(told, ["firing", "resolved"]);
}

#[test]
fn a_queue_that_is_long_for_a_moment_is_not_an_incident() {
    let mut shop = Scenario::new(rules()).unwrap();
    for (length, time, fires) in [(0.0, 10, false), (500.0, 1, false), (0.0, 10, false), (500.0, 10, true)] {
        shop.gauge("queue_length", &[], length);
        shop.pass(minutes(time));
        assert_eq!(shop.firing().contains(&"queue_is_long".to_owned()), fires, "{length} for {time} min");
    }
}
