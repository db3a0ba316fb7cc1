//! The page about alerts says what is so.

use std::time::Duration;

use steeple_alerts::{
    Alerts, Rules,
    channel::{MAX_PER_HOUR, Slack},
    engine::{MIN_REPEAT, Policy, Side},
    message::{ErrorGroup, Evidence, Example, Notification, Status, show},
    patterns::MAX_GROUPS,
};
use steeple_metrics::indicator::Clock;

use crate::{START, bodies, flush, metrics, receiver, soon};

const PAGE: &str = include_str!("data/alerts.md");

/// The first block of code after a heading.
fn block(heading: &str) -> &'static str {
    let (_, section) = PAGE.split_once(&format!("# {heading}\n")).unwrap();
    let (_, code) = section.split_once("\n```").unwrap();
    let (_, code) = code.split_once('\n').unwrap();
    code.split_once("\n```").unwrap().0
}

#[test]
fn each_rule_is_on_the_page_with_its_numbers() {
    for rule in &Rules::mission().guarded() {
        let policy = rule.policy();
        let unit = rule.indicator().unit();
        let side = match policy.side {
            Side::Above => "above",
            Side::Below => "below",
        };
        let minutes = policy.cooldown.as_secs() / 60;
        let guard = match (policy.min_samples, policy.min_bad, policy.hold.as_secs(), policy.min_uptime.as_secs()) {
            (0, 0, 0, 0) => "none".to_owned(),
            (0, 0, hold, 0) => format!("after {hold} s"),
            (0, 0, 0, uptime) => format!("after {uptime} s of uptime"),
            (samples, 0, 0, 0) => format!("{samples} requests"),
            (samples, bad, ..) => format!("{samples} requests, {bad} of them failed"),
        };
        let row = format!(
            "| `{}` | {side} {} | {} | {} | {minutes} min | {guard} |",
            rule.name(),
            show(unit, policy.raise),
            show(unit, if policy.clear.is_finite() { policy.clear } else { policy.raise }),
            rule.get_severity(),
        );
        assert!(PAGE.contains(&row), "{row}");
    }
    assert_eq!(PAGE.lines().filter(|line| line.starts_with("| `")).count(), Rules::mission().iter().count());
}

#[test]
fn the_file_of_rules_on_the_page_is_the_one_that_is_tested() {
    let example = include_str!("../../src/file/example.toml");
    assert_eq!(block("Own rules, in code or in a file"), example.trim_end());
}

#[test]
fn the_defaults_on_the_page_are_those_of_the_code() {
    let policy = Policy::new(Side::Above, 1.0);
    let hours = |duration: Duration| duration.as_secs() / 3_600;
    let minutes = |duration: Duration| duration.as_secs() / 60;
    for row in [
        format!("| reminders | not within {} min |", minutes(MIN_REPEAT)),
        format!("| first reminder | {} h |", hours(policy.repeat)),
        format!("| later reminders | twice as long each, at most {} h |", hours(policy.max_repeat)),
        format!("| without data | the state stays for {} min |", minutes(policy.no_data_timeout)),
        format!("| cooldown | {} min |", minutes(policy.cooldown)),
        format!("| one channel | {MAX_PER_HOUR} notifications an hour |"),
    ] {
        assert!(PAGE.contains(&row), "{row}");
    }
    assert!(PAGE.contains(&format!("{MAX_GROUPS} groups are kept")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slack_message_on_the_page_is_a_real_one() {
    let (url, posts) = receiver().await;
    let slack = Slack::new(format!("{url}/slack")).http(soon);
    let builder = Alerts::builder().service("shop").environment("production").rules(Rules::mission().guarded());
    let builder = builder.dashboard("https://shop.example.org/steeple").channel(slack);
    let alerts = builder.build(&metrics(&Clock::manual(START))).unwrap();
    assert!(alerts.ratio("high_error_rate", 88, 12));
    flush(&alerts).await;
    let sent = &bodies(&posts, "/slack")[0];
    let shown: serde_json::Value = serde_json::from_str(block("What Slack gets")).unwrap();
    assert_eq!(&shown, sent, "{}", serde_json::to_string_pretty(sent).unwrap());
}

#[test]
fn the_mail_on_the_page_is_a_real_one() {
    let rules = Rules::mission().guarded();
    let rule = rules.iter().find(|rule| rule.name() == "high_error_rate").unwrap();
    let (severity, unit) = (rule.get_severity(), rule.indicator().unit());
    let mut alert = Notification::new(Status::Firing, rule.name(), severity, unit, rule.policy().raise);
    "More than 5 % of the requests failed.".clone_into(&mut alert.summary);
    (alert.service, alert.environment) = (Some("shop".to_owned()), Some("production".to_owned()));
    (alert.value, alert.since) = (Some(0.12), START);
    alert.at = START + Duration::from_secs(240);
    let mut evidence = Evidence::default();
    let trace = |digits: &str| Some(digits.repeat(4));
    evidence.requests = vec![
        Example::new("slowest", trace("6c90a215"), None),
        Example::new("first failed", trace("00f067aa"), Some("01JDXA5Z9Q".to_owned())),
        Example::new("latest failed", trace("b7ad6b71"), Some("01JDXA7M2T".to_owned())),
    ];
    evidence.routes = vec![("POST /pay/{id}".to_owned(), 0.9), ("GET /cart".to_owned(), 0.1)];
    evidence.error = Some(ErrorGroup::new("io::Error", "payment <int> failed: connection reset", 41));
    evidence.outcomes = vec![("5xx".to_owned(), 40), ("panicked".to_owned(), 1)];
    evidence.users = Some(17);
    evidence.deploy = Some(("1.8.2".to_owned(), Duration::from_secs(240)));
    alert.evidence = evidence;
    alert.link = Some("https://shop.example.org/steeple#from=1795984584&to=1795985724".to_owned());
    assert_eq!(block("What a mail says"), alert.text().trim_end(), "\n{}", alert.text());
}
