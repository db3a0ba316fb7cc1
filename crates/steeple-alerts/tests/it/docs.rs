//! The page about alerts is true.

use std::time::Duration;

use steeple_alerts::{
    Alerts, Failure, MAX_RULES, Rule, Rules,
    channel::{MAX_PER_HOUR, Slack},
    engine::{MIN_REPEAT, Policy, Side},
    message::{ErrorGroup, Evidence, Example, Notification, Status, show},
    patterns::MAX_GROUPS,
};
use steeple_metrics::indicator::{Clock, Indicator};

use crate::{START, bodies, flush, metrics, receiver, soon};

const PAGE: &str = include_str!("data/alerts.md");

/// The first block in this language after a heading.
fn block(heading: &str, language: &str) -> &'static str {
    let (_, section) = PAGE.split_once(&format!("# {heading}\n")).unwrap();
    let (_, code) = section.split_once(&format!("\n```{language}\n")).unwrap();
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
    let rows = Rules::mission().iter().count() + Rules::recommended().iter().count();
    assert_eq!(PAGE.lines().filter(|line| line.starts_with("| `")).count(), rows);
}

#[test]
fn each_recommended_rule_is_on_the_page_with_its_numbers_and_why() {
    for rule in &Rules::recommended() {
        let (policy, unit) = (rule.policy(), rule.indicator().unit());
        let row = format!(
            "| `{}` | above {} | {} | {} min | {} | ",
            rule.name(),
            show(unit, policy.raise),
            show(unit, policy.clear),
            rule.window().as_secs() / 60,
            rule.get_severity(),
        );
        let why = PAGE.lines().find_map(|line| line.strip_prefix(&row));
        assert!(why.is_some_and(|why| why.len() > 20), "{row}");
    }
    let of_requests = ["high_error_rate", "slow_response_time", "requests_cancelled"];
    for rule in Rules::recommended().iter().filter(|rule| of_requests.contains(&rule.name())) {
        assert_eq!(rule.policy().min_samples, 20, "{}", rule.name());
    }
    let twice: Vec<_> = Rules::recommended().into_iter().filter(|rule| rule.second_window().is_some()).collect();
    assert_eq!((twice.len(), twice[0].name()), (1, "high_error_rate"));
    let objective = Rules::from_iter([]).with_objective("checkout", Indicator::error_ratio(), 0.999);
    let burns: Vec<_> = objective
        .iter()
        .map(|rule| {
            let minutes = |time: Duration| time.as_secs() / 60;
            let factor = (rule.policy().raise / 0.001 * 10.0).round() / 10.0;
            (factor, minutes(rule.window()), minutes(rule.second_window().unwrap()), rule.get_severity().as_str())
        })
        .collect();
    assert_eq!(burns, [(14.4, 60, 5, "critical"), (6.0, 360, 30, "high")]);
    for text in [
        "14.4 times as many as may be, over an hour and the last 5 minutes",
        "6 times as many, over 6 hours and the last 30",
    ] {
        assert!(PAGE.contains(text), "{text}");
    }
}

#[test]
fn the_file_of_rules_on_the_page_is_the_one_that_is_tested() {
    let example = include_str!("../../src/file/example.toml");
    assert_eq!(block("Own rules, in code or in a file", "toml"), example.trim_end());
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
        format!("| all rules | at most {MAX_RULES}, each over at most 24 h |"),
    ] {
        assert!(PAGE.contains(&row), "{row}");
    }
    assert!(PAGE.contains(&format!("{MAX_GROUPS} groups are kept")));
}

#[test]
fn the_defaults_on_the_page_that_have_no_name_are_those_that_hold() {
    for row in [
        "| errors of one group | 10 a minute are reported | once an hour for each group |",
        "| one message | 20 alerts that came within 10 s |",
        "| a sample | every 10 s, or a sixth of the shortest window |",
        "`response(name, duration)` reports what takes 5 seconds or longer",
        "when it is back\nafter 24 hours",
    ] {
        assert!(PAGE.contains(row), "{row}");
    }
    let clock = Clock::manual(START);
    let metrics = metrics(&clock);
    // A day at most; 64 rules.
    let day = Duration::from_secs(86_400);
    let rule = |name: String, window| Rule::new(name, Indicator::error_ratio(), window).above(0.5);
    assert!(Alerts::builder().rule(rule("a".to_owned(), day)).build(&metrics).is_ok());
    let longer = rule("a".to_owned(), day + Duration::from_secs(1));
    assert!(Alerts::builder().rule(longer).build(&metrics).unwrap_err().is_rule());
    let alerts = Alerts::builder().build(&metrics).unwrap();
    let told = || alerts.notifications().iter().map(|told| told.rule.clone()).collect::<Vec<_>>();
    alerts.response("query", Duration::from_millis(4_999));
    assert!(told().is_empty());
    alerts.response("query", Duration::from_secs(5));
    assert_eq!(told(), ["slow_response"]);
    let fail = |message: &str| {
        alerts.error(&Failure { kind: "io::Error", route: "POST /pay", message, fingerprint: None });
    };
    for _ in 0..10 {
        fail("broken pipe");
    }
    // New, the tenth failure, which is ten a minute as well: one message of each.
    let rules = told();
    assert_eq!(rules[1..3], ["new_error", "frequent_error"], "{rules:?}");
    // Fresh again a minute later: ten more in it.
    clock.advance(Duration::from_secs(60));
    for _ in 0..20 {
        fail("broken pipe");
    }
    assert_eq!(told().iter().filter(|rule| *rule == "error_rate").count(), 1, "once an hour: {:?}", told());
    clock.advance(day + Duration::from_secs(120));
    fail("broken pipe");
    assert_eq!(told().last().unwrap(), "error_is_back");
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
    let shown: serde_json::Value = serde_json::from_str(block("What Slack gets", "json")).unwrap();
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
    assert_eq!(block("What a mail contains", "text"), alert.text().trim_end(), "\n{}", alert.text());
}
