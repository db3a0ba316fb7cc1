//! What channels get, whatever the values are: an end for each beginning, and one word about what a cooldown kept back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use steeple_alerts::{
    Alerts, Rules, Severity,
    channel::{Forward, MAX_PER_HOUR, Payload, Slack, Webhook},
    message::Status,
};
use steeple_metrics::indicator::Clock;

use crate::{SECRET, START, bodies, flush, metrics, receiver, soon};

#[tokio::test(flavor = "multi_thread")]
async fn one_message_at_a_cooldowns_end_says_what_it_kept_back() {
    let (url, posts) = receiver().await;
    let clock = Clock::manual(START);
    let alertmanager = Webhook::new(format!("{url}/alertmanager"), SECRET).payload(Payload::Alertmanager);
    let alerts = Alerts::builder()
        .service("shop")
        .rules(Rules::mission())
        .channel(Slack::new(format!("{url}/slack")).http(soon))
        .channel(Webhook::new(format!("{url}/hook"), SECRET).http(soon))
        .channel(alertmanager.http(soon))
        .build(&metrics(&clock))
        .unwrap();
    let step = |seconds: u64, value: f64| {
        clock.advance(Duration::from_secs(seconds));
        alerts.check("high_error_rate", value);
    };
    // Fires and ends; comes and goes twice in the five minutes of its cooldown.
    for value in [0.5, 0.0, 0.3, 0.0, 0.4, 0.0] {
        step(10, value);
    }
    step(300, 0.0);
    // In the next one it comes and goes once, and fires at its end.
    for value in [0.5, 0.0, 0.3, 0.0, 0.6] {
        step(10, value);
    }
    step(300, 0.7);
    flush(&alerts).await;
    let told = |path: &str| -> Vec<_> {
        let field = |body: &serde_json::Value| {
            let data = &body["data"];
            (data["status"].as_str().unwrap().to_owned(), data["kept_back"].as_u64().unwrap_or_default())
        };
        bodies(&posts, path).iter().map(field).collect()
    };
    let want = [("firing", 0), ("resolved", 0), ("kept_back", 2), ("firing", 0), ("resolved", 0), ("firing", 1)];
    assert_eq!(told("/hook"), want.map(|(status, count)| (status.to_owned(), count)));
    let types: Vec<_> = bodies(&posts, "/hook").iter().map(|body| body["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(types[2], "alert.kept_back");
    let slack: Vec<_> =
        bodies(&posts, "/slack").iter().flat_map(|body| body["attachments"].as_array().unwrap().clone()).collect();
    assert_eq!(slack[2]["title"], "[KEPT BACK] high_error_rate: fired 2 times in the cooldown, and is over, shop");
    assert_eq!(slack[2]["color"], "good");
    assert!(slack[5].to_string().contains("1 more in the cooldown before"), "{}", slack[5]);
    // A receiver of Alertmanager's knows beginnings and ends alone.
    let others: Vec<_> =
        bodies(&posts, "/alertmanager").iter().map(|body| body["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(others, ["firing", "resolved", "firing", "resolved", "firing"]);
}

#[derive(Clone, Debug)]
enum Step {
    /// A rule's value, bad or good.
    Feed(usize, bool),
    Pass(u64),
    Silence(usize, u64),
    Acknowledge(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..RULES.len(), any::<bool>()).prop_map(|(rule, bad)| Step::Feed(rule, bad)),
        3 => (1..2_000_u64).prop_map(Step::Pass),
        1 => (0..RULES.len(), 1..4_000_u64).prop_map(|(rule, seconds)| Step::Silence(rule, seconds)),
        1 => (0..RULES.len()).prop_map(Step::Acknowledge),
    ]
}

const RULES: [&str; 3] = ["high_cpu_usage", "high_error_rate", "payment_failures"];

/// Channel, what it is about, the rule, when.
type Told = (&'static str, Status, String, Duration);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn in_every_channel_an_end_follows_each_beginning_and_an_hour_has_thirty_messages(
        steps in prop::collection::vec(step(), 0..400), cooldown in 0..1_200_u64,
    ) {
        let clock = Clock::manual(START);
        let seen: Arc<Mutex<Vec<Told>>> = Arc::default();
        let channel = |name: &'static str, severity: Severity| {
            let seen = Arc::clone(&seen);
            Forward::new(name, move |alert| {
                seen.lock().unwrap().push((name, alert.status, alert.rule.clone(), alert.at));
            })
            .at_least(severity)
        };
        let alerts = Alerts::builder()
            .rules(Rules::mission().map(|rule| rule.cooldown(Duration::from_secs(cooldown))))
            .channel(channel("all", Severity::Low))
            .channel(channel("critical", Severity::Critical))
            .build(&metrics(&clock))
            .unwrap();
        for step in steps {
            match step {
                Step::Feed(rule, bad) => _ = alerts.check(RULES[rule], if bad { 10.0 } else { 0.0 }),
                Step::Pass(seconds) => clock.advance(Duration::from_secs(seconds)),
                Step::Silence(rule, seconds) => {
                    alerts.silence(RULES[rule], Duration::from_secs(seconds), "ann");
                }
                Step::Acknowledge(rule) => _ = alerts.acknowledge(RULES[rule]),
            }
        }
        let seen = seen.lock().unwrap();
        let mut firing: HashMap<(&str, &str), bool> = HashMap::new();
        for (channel, status, rule, _) in seen.iter() {
            let fires = firing.entry((*channel, rule.as_str())).or_default();
            match status {
                Status::Firing => prop_assert!(!std::mem::replace(fires, true), "{channel} {rule}: fires twice"),
                Status::Reminder => prop_assert!(*fires, "{channel} {rule}: a reminder of nothing"),
                Status::Resolved => {
                    prop_assert!(std::mem::replace(fires, false), "{channel} {rule}: an end without a beginning");
                }
                Status::KeptBack | _ => prop_assert!(!*fires, "{channel} {rule}: kept back while it fires"),
            }
            prop_assert!(*channel == "all" || rule == "high_error_rate", "{rule} is not critical");
        }
        // Ends are not counted: people wait for them.
        let counted = |(channel, status, ..): &&Told| {
            *channel == "all" && *status != Status::Resolved
        };
        let times: Vec<_> = seen.iter().filter(counted).map(|(.., at)| *at).collect();
        for first in 0..times.len() {
            let within = times[first..].iter().filter(|at| at.saturating_sub(times[first]) < Duration::from_secs(3_600)).count();
            prop_assert!(within <= MAX_PER_HOUR, "{within} in an hour");
        }
    }
}
