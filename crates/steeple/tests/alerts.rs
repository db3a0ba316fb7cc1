//! Alerts through the facade: off without a channel, fed by requests and events, told once.
#![cfg(feature = "alerts")]

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use steeple::{
    Exchange, Steeple,
    alerts::{Rule, Rules, channel::Slack},
    metrics::indicator::{Indicator, Selector},
};
use tower::ServiceExt as _;

#[test]
fn without_a_channel_and_a_rule_nothing_is_started() {
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    assert!(steeple.alerts().is_none());
}

#[test]
fn a_channel_alone_brings_the_six_rules() {
    let slack = Slack::new("http://127.0.0.1:9/slack");
    let steeple = Steeple::builder().without_log_setup().alerts(|alerts| alerts.channel(slack)).build().unwrap();
    let names: Vec<_> = steeple.alerts().unwrap().rules().into_iter().map(|rule| rule.name).collect();
    let six = Rules::mission();
    assert_eq!(names, six.iter().map(Rule::name).collect::<Vec<_>>());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "guards against a hang")]
fn a_reload_as_at_sighup_reads_the_file_of_rules_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.toml");
    let rule = |above| format!("[rules.busy]\nindicator = 'cpu'\nabove = '{above}'\n");
    std::fs::write(&path, rule("90%")).unwrap();
    let an_hour = Duration::from_secs(3_600);
    let steeple = Steeple::builder()
        .without_log_setup()
        .alerts(|alerts| alerts.rules_file(&path).rules_interval(an_hour))
        .build()
        .unwrap();
    let alerts = steeple.alerts().unwrap();
    let has = |name: &str| alerts.rules().iter().any(|rule| rule.name == name);
    assert!(has("busy") && !has("full"));
    std::fs::write(&path, rule("90%") + "[rules.full]\nindicator = 'memory'\nabove = '90%'\n").unwrap();
    steeple.reload();
    let begun = std::time::Instant::now();
    while !has("full") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", alerts.file_error());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(alerts.reloads(), (1, 0));
}

#[tokio::test]
async fn failed_requests_are_grouped_and_reported_once() {
    let rule = Rule::new("orders", Indicator::counter_increase(Selector::new("orders_total")), Duration::from_secs(60));
    let steeple =
        Steeple::builder().without_log_setup().alerts(|alerts| alerts.rule(rule.above(1_000.0))).build().unwrap();
    let fail = async || {
        Exchange::current().unwrap().record_error(&std::io::Error::other("order 4711 failed, password=hunter2"));
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let app = Router::new().route("/orders/{id}", get(fail)).layer(steeple.layer());
    for id in 0..5 {
        let request = Request::get(format!("/orders/{id}")).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    let groups = steeple.alerts().unwrap().error_groups();
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((group.count, group.route.as_str()), (5, "GET /orders/{id}"));
    assert!(group.message.starts_with("order <int> failed") && !group.message.contains("hunter2"), "{group:?}");
}

#[cfg(feature = "sentry")]
#[test]
fn alerts_of_rules_are_events_in_sentry_and_groups_of_errors_are_not() {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        sync::{Arc, Mutex},
    };

    use serde_json::Value;
    use steeple::alerts::Failure;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let got = Arc::new(Mutex::new(Vec::new()));
    let posts = Arc::clone(&got);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut bytes, mut part) = (Vec::new(), [0; 4_096]);
            // One request a connection: head, and a body of this length.
            let body = loop {
                let read = stream.read(&mut part).unwrap();
                if read == 0 {
                    // Connected to see whether somebody answers.
                    break None;
                }
                bytes.extend_from_slice(&part[..read]);
                let text = String::from_utf8_lossy(&bytes);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length =
                    head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if length.is_some_and(|length: usize| body.len() >= length) {
                    break Some(body.to_owned());
                }
            };
            let Some(body) = body else { continue };
            posts.lock().unwrap().push(body);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").unwrap();
        }
    });
    let steeple = Steeple::builder()
        .without_log_setup()
        .service_name("shop")
        .sentry(|sentry| sentry.dsn(format!("http://public@{address}/1")))
        .alerts(|alerts| alerts.rules(Rules::mission().guarded()))
        .alerts_to_sentry()
        .build()
        .unwrap();
    let alerts = steeple.alerts().unwrap();
    alerts.ratio("high_error_rate", 50, 50);
    alerts.ratio("high_error_rate", 100, 0);
    alerts.error(&Failure { kind: "io::Error", route: "POST /pay", message: "broken", fingerprint: None });
    assert!(steeple.flush().is_complete());
    let posts = got.lock().unwrap().clone();
    let events: Vec<Value> = posts
        .iter()
        .flat_map(|post| post.lines())
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|item: &Value| item["fingerprint"].is_array())
        .collect();
    let told: Vec<_> =
        events.iter().map(|event| (event["level"].as_str().unwrap(), &event["tags"]["alert.status"])).collect();
    assert_eq!(told, [("fatal", &Value::from("firing")), ("info", &Value::from("resolved"))], "{posts:?}");
    for event in &events {
        assert_eq!(event["fingerprint"], serde_json::json!(["steeple.alert", "high_error_rate"]));
        assert_eq!(event["tags"]["alert.severity"], "critical");
    }
    assert_eq!(events[0]["message"], "[FIRING] high_error_rate: 50 % (threshold 5 %), shop");
    assert_eq!(events[0]["extra"]["Value"], "50 % (threshold 5 %)");
}

/// Requests of users, of which some fail and one is slow; then what the alert says of them.
#[tokio::test]
async fn a_message_has_what_is_known_of_real_requests_and_leaves_out_the_rest() {
    use steeple::{User, alerts::Severity};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e47";
    let minute = Duration::from_secs(60);
    let rules = Rules::from_iter([
        // A sample may be taken between two requests: they fire when all are there.
        Rule::new("errors", Indicator::error_ratio(), minute).above(0.05).min_samples(40).severity(Severity::Critical),
        Rule::new("slow", Indicator::mean(), minute).above(0.01).min_samples(40),
        Rule::new("busy", Indicator::rate(), minute).above(0.001),
        Rule::new("queue", Indicator::gauge(Selector::new("queue_length")), minute).above(10.0),
    ]);
    let steeple = Steeple::builder()
        .without_log_setup()
        .service_name("shop")
        .environment("production")
        .alerts(|alerts| alerts.rules(rules).dashboard("https://shop.example.org/steeple"))
        .build()
        .unwrap();
    steeple.metrics().gauge("queue_length", "Jobs that wait.", []).unwrap().set([], 50.0);
    let pay = async |axum::extract::Path(id): axum::extract::Path<u32>| {
        let exchange = Exchange::current().unwrap();
        exchange.set_user(User::new(format!("u-{}", id % 3)));
        if id == 7 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if id % 2 == 0 {
            exchange.record_error(&std::io::Error::other(format!("payment {id} failed: card 4111111111111111")));
            return StatusCode::BAD_GATEWAY;
        }
        StatusCode::OK
    };
    let app = Router::new().route("/pay/{id}", get(pay)).route("/fine", get(async || "fine")).layer(steeple.layer());
    let history = steeple.metrics().history();
    history.sample();
    for id in 0..20 {
        let traceparent = format!("00-{TRACE}{id:02}-00f067aa0ba902b7-01");
        let request = Request::get(format!("/pay/{id}?token=hunter2")).header("traceparent", traceparent);
        for request in [request, Request::get("/fine")] {
            let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            // A client that does not read the answer has hung up.
            let _body = axum::body::to_bytes(response.into_body(), 1_024).await.unwrap();
        }
    }
    // What single routes did is known every 10 seconds.
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    history.sample();
    let told = steeple.alerts().unwrap().notifications();
    let of = |rule: &str| told.iter().find(|told| told.rule == rule).unwrap_or_else(|| panic!("{rule}: {told:#?}"));

    let errors = of("errors");
    let evidence = &errors.evidence;
    let failed: Vec<_> = evidence.requests.iter().filter(|example| example.which != "slowest").collect();
    assert_eq!(failed.iter().map(|example| example.which).collect::<Vec<_>>(), ["first failed", "latest failed"]);
    for (example, trace) in failed.iter().zip(["00", "18"]) {
        assert!(
            example.trace_id.as_deref().is_some_and(|id| id.starts_with(TRACE) && id.ends_with(trace)),
            "{example:?}"
        );
        assert_eq!(example.request_id.as_deref().map(str::len), Some(36), "{example:?}");
    }
    assert_eq!(evidence.routes, [("GET /pay/{id}".to_owned(), 1.0)]);
    let error = evidence.error.as_ref().unwrap();
    assert!(error.message.starts_with("payment <int> failed") && error.count == 10, "{error:?}");
    assert_eq!((evidence.users, &evidence.outcomes[..]), (Some(3), &[("5xx".to_owned(), 10)][..]));
    assert_eq!(evidence.deploy, None, "without a state, no deploy is known");
    let link = errors.link.as_deref().unwrap();
    let (from, to) = (errors.since.as_secs() - 900, errors.at.as_secs());
    assert_eq!(link, format!("https://shop.example.org/steeple#from={from}&to={to}"));

    let slow = of("slow");
    assert_eq!((&slow.evidence.error, slow.evidence.users), (&None, None), "a slow request is not a failure");
    let slowest = slow.evidence.requests.iter().find(|example| example.which == "slowest");
    if let Some(slowest) = slowest {
        assert!(slowest.trace_id.as_deref().is_some_and(|id| id == format!("{TRACE}07")), "{slowest:?}");
    }
    assert!(of("busy").evidence.error.is_none());
    // Alerts without a request have none of it.
    let queue = of("queue");
    assert!(queue.evidence.requests.is_empty() && queue.evidence.routes.is_empty() && queue.evidence.users.is_none());
    for alert in &told {
        let text = alert.text();
        assert!(!text.contains("hunter2") && !text.contains("41111111") && !text.contains("u-1"), "{text}");
        assert!(text.lines().all(|line| !line.ends_with(": ")), "nothing is blank: {text}");
    }
}
