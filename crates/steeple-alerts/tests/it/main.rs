//! Alerts over real HTTP and real metrics: each of the six rules fires, is told once, and is resolved once.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "a test that cannot go on fails"
)]

mod container;
mod cooldown;
mod deploys;
mod docs;
mod file;
mod fleet;
mod mail;
mod prometheus;
mod quantile;
mod receivers;
mod scenario;
mod storms;
mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{OriginalUri, State},
    http::{HeaderMap, StatusCode},
};
use serde_json::{Value, json};
use steeple_alerts::{
    Alerts, Failure, Rule, Rules, Severity,
    channel::{Forward, Slack, Webhook},
    engine::Phase,
};
use steeple_export::{HttpOptions, protocol::webhook::Keys};
use steeple_metrics::{
    Metrics,
    indicator::{Clock, HistoryOptions, Indicator, Selector},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const START: Duration = Duration::from_secs(1_795_985_484);

type Posts = Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>;

/// Plays Slack and a webhook's receiver.
async fn receiver() -> (String, Posts) {
    let posts = Posts::default();
    let answer = async |State(posts): State<Posts>, OriginalUri(uri): OriginalUri, headers: HeaderMap, body: Bytes| {
        posts.lock().unwrap().push((uri.path().to_owned(), headers, body));
        (StatusCode::OK, "ok")
    };
    let app = Router::new().fallback(answer).with_state(Arc::clone(&posts));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, posts)
}

fn metrics(clock: &Clock) -> Metrics {
    let metrics = Metrics::builder().build().unwrap();
    let _history = metrics.history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
    metrics
}

/// Lets time pass, with a sample every 10 seconds.
fn pass(metrics: &Metrics, clock: &Clock, time: Duration) {
    for _ in 0..time.as_secs() / 10 {
        clock.advance(Duration::from_secs(10));
        metrics.history().sample();
    }
}

async fn flush(alerts: &Alerts) {
    let alerts = alerts.clone();
    let flush = move || {
        let deadline = steeple_core::clock::now() + Duration::from_secs(30);
        steeple_export::flush_all(&alerts.sinks(), deadline)
    };
    for report in tokio::task::spawn_blocking(flush).await.unwrap() {
        assert!(report.is_complete(), "{report:?}");
    }
}

fn bodies(posts: &Posts, path: &str) -> Vec<Value> {
    let posts = posts.lock().unwrap();
    posts.iter().filter(|post| post.0 == path).map(|post| serde_json::from_slice(&post.2).unwrap()).collect()
}

fn soon(http: HttpOptions) -> HttpOptions {
    http.batch_delay(Duration::from_millis(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_that_fail_fire_once_and_are_resolved_once_in_each_channel() {
    let (url, posts) = receiver().await;
    let clock = Clock::manual(START);
    let metrics = metrics(&clock);
    let payments = metrics.counter("payments_total", "Payments.", ["result"]).unwrap();
    payments.add(["failed"], 0);
    let alerts = Alerts::builder()
        .service("shop")
        .environment("production")
        .rules(Rules::mission().without("low_user_activity"))
        .channel(Slack::new(format!("{url}/slack")).http(soon))
        .channel(Webhook::new(format!("{url}/hook"), SECRET).http(soon))
        .build(&metrics)
        .unwrap();
    pass(&metrics, &clock, Duration::from_secs(360));
    payments.add(["failed"], 4);
    pass(&metrics, &clock, Duration::from_secs(120));
    let firing: Vec<_> =
        alerts.firing().iter().map(|rule| rule.name.clone()).filter(|name| name.contains("pay")).collect();
    assert_eq!(firing, ["payment_failures"]);
    pass(&metrics, &clock, Duration::from_secs(600));
    flush(&alerts).await;

    let hook: Vec<_> =
        bodies(&posts, "/hook").into_iter().filter(|body| body["data"]["rule"] == "payment_failures").collect();
    let told: Vec<_> = hook.iter().map(|body| body["type"].as_str().unwrap()).collect();
    assert_eq!(told, ["alert.firing", "alert.resolved"]);
    assert_eq!((&hook[0]["data"]["value"], &hook[0]["data"]["threshold"]), (&json!(4.0), &json!(3.0)));
    assert_eq!((&hook[0]["data"]["severity"], &hook[1]["data"]["status"]), (&json!("high"), &json!("resolved")));

    let slack = bodies(&posts, "/slack");
    let attachments: Vec<_> = slack
        .iter()
        .flat_map(|body| body["attachments"].as_array().unwrap())
        .filter(|attachment| attachment["title"].as_str().unwrap().contains("payment_failures"))
        .collect();
    assert_eq!(attachments.len(), 2);
    assert_eq!((&attachments[0]["color"], &attachments[1]["color"]), (&json!("warning"), &json!("good")));
    assert_eq!(attachments[0]["title"], "[FIRING] payment_failures: 4 (threshold 3), shop in production");

    let posts = posts.lock().unwrap();
    let (_, headers, body) = posts.iter().find(|post| post.0 == "/hook").unwrap();
    let text = |name: &str| headers[name].to_str().unwrap();
    let timestamp = text("webhook-timestamp").parse().unwrap();
    let signature = Keys::parse(SECRET).unwrap().signature(text("webhook-id"), timestamp, body);
    assert_eq!(text("webhook-signature"), signature);
}

#[test]
fn each_rule_of_the_mission_fires_and_is_resolved_by_hand() {
    for (rule, bad, good) in [
        ("high_cpu_usage", 0.81, 0.5),
        ("high_memory_usage", 0.86, 0.5),
        ("high_error_rate", 0.051, 0.01),
        ("slow_response_time", 2.1, 0.5),
        ("low_user_activity", 9.0, 20.0),
        ("payment_failures", 4.0, 0.0),
    ] {
        let alerts = Alerts::builder().rules(Rules::mission()).build(&metrics(&Clock::manual(START))).unwrap();
        assert!(alerts.check(rule, bad));
        assert!(alerts.firing().iter().any(|firing| firing.name == rule), "{rule} fires");
        assert!(alerts.check(rule, good));
        assert!(!alerts.firing().iter().any(|firing| firing.name == rule), "{rule} is over");
        assert!(!alerts.check("no_such_rule", 1.0));
        let told = alerts.notifications();
        let told: Vec<_> = told.iter().filter(|told| told.rule == rule).map(|told| told.status.as_str()).collect();
        assert_eq!(told, ["firing", "resolved"], "{rule}");
    }
}

#[test]
fn a_silence_keeps_a_rule_quiet_and_its_end_tells_what_still_fires() {
    let clock = Clock::manual(START);
    let metrics = metrics(&clock);
    let gauge = metrics.gauge("queue_length", "Jobs that wait.", []).unwrap();
    let indicator = Indicator::gauge(Selector::new("queue_length"));
    let rule = Rule::new("queue_is_long", indicator, Duration::from_secs(60)).above(10.0);
    let alerts = Alerts::builder().rule(rule).build(&metrics).unwrap();
    assert!(alerts.silence("queue_is_long", Duration::from_secs(1800), "ann"));
    gauge.set([], 50.0);
    pass(&metrics, &clock, Duration::from_secs(1200));
    assert_eq!((alerts.firing().len(), alerts.notifications().len(), alerts.silences().len()), (1, 0, 1));
    pass(&metrics, &clock, Duration::from_secs(900));
    assert_eq!((alerts.notifications().len(), alerts.silences().len()), (1, 0));
    assert!(alerts.acknowledge("queue_is_long"));
    assert!(alerts.rules()[0].is_acknowledged && alerts.rules()[0].phase == Phase::Firing);
    pass(&metrics, &clock, Duration::from_secs(36_000));
    assert_eq!(alerts.notifications().len(), 1, "no reminder of an acknowledged alert");
}

#[tokio::test]
async fn a_latency_rule_names_the_routes_with_the_greatest_part_in_the_time() {
    use axum::{body::Body, http::Request, routing::get};
    use tower::ServiceExt as _;

    let clock = Clock::manual(START);
    let metrics = metrics(&clock);
    let minute = Duration::from_secs(60);
    let rules = Rules::from_iter([
        Rule::new("slow", Indicator::mean(), minute).above(0.02),
        Rule::new("busy", Indicator::rate(), minute).above(0.1),
    ]);
    let alerts = Alerts::builder().rules(rules).build(&metrics).unwrap();
    let wait = async |ms: u64| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        "ok"
    };
    let app = Router::new()
        .route("/slow", get(async move || wait(200).await))
        .route("/fast", get(async move || wait(0).await))
        .layer(metrics.layer());
    pass(&metrics, &clock, Duration::from_secs(20));
    for path in ["/slow", "/fast", "/fast", "/fast", "/slow", "/fast", "/fast"] {
        let response = app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let _body = axum::body::to_bytes(response.into_body(), 1_024).await.unwrap();
    }
    pass(&metrics, &clock, Duration::from_secs(20));
    let told = alerts.notifications();
    let routes = |rule: &str| told.iter().find(|told| told.rule == rule).unwrap().evidence.routes.clone();
    let slow = routes("slow");
    assert_eq!(slow[0].0, "GET /slow");
    assert!(slow[0].1 > 0.6, "{slow:?}");
    let busy = routes("busy");
    assert_eq!(busy.iter().map(|(route, _)| route.as_str()).collect::<Vec<_>>(), ["GET /fast", "GET /slow"]);
    assert!((busy[0].1 - 5.0 / 7.0).abs() < 1e-6, "{busy:?}");
    assert!(told.iter().all(|told| told.evidence.error.is_none() && told.evidence.users.is_none()), "nothing failed");
}

#[test]
fn a_stopped_engine_tells_nothing() {
    let alerts = Alerts::builder().rules(Rules::mission()).build(&metrics(&Clock::manual(START))).unwrap();
    alerts.stop();
    alerts.check("high_cpu_usage", 1.0);
    assert!(alerts.notifications().is_empty() && alerts.firing().is_empty());
}

#[test]
fn rules_that_can_never_fire_are_refused_with_their_name() {
    let start = || Rule::new("bad_rule", Indicator::error_ratio(), Duration::from_secs(300));
    let named = |name: &str, minutes: u64| {
        Rule::new(name, Indicator::error_ratio(), Duration::from_secs(minutes.saturating_mul(60))).above(0.5)
    };
    for rule in [
        start(),
        start().above(5.0),
        start().above(f64::NAN),
        start().above(0.5).clear(0.6),
        start().below(0.0),
        named("Bad Rule\n", 5),
        named("bad_window", 25 * 60),
    ] {
        let error = Alerts::builder().rule(rule).build(&Metrics::builder().build().unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(error.is_rule() && text.to_lowercase().contains("bad") && !text.contains('\n'), "{text}");
    }
    let twice = Alerts::builder().rules(Rules::mission()).rules(Rules::mission());
    assert!(twice.build(&Metrics::builder().build().unwrap()).unwrap_err().is_rule());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_errors_is_notified_once_without_its_secrets() {
    let (url, posts) = receiver().await;
    let metrics = metrics(&Clock::manual(START));
    let slack = Slack::new(format!("{url}/slack")).http(soon);
    let alerts = Alerts::builder().channel(slack).build(&metrics).unwrap();
    for n in 0..9 {
        let message = format!("order {n} failed, password=hunter2 <!channel>");
        alerts.error(&Failure { kind: "io::Error", route: "POST /pay", message: &message, fingerprint: None });
    }
    flush(&alerts).await;
    let told = bodies(&posts, "/slack");
    assert_eq!(told.len(), 1);
    let text = told[0].to_string();
    assert!(text.contains("order &lt;int&gt; failed"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("<!channel>"), "{text}");
}

#[test]
fn another_part_of_the_process_gets_alerts_by_the_rules_of_a_channel() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&got);
    let forward = Forward::new("pager", move |alert| {
        seen.lock().unwrap().push((alert.subject(), alert.text()));
        assert!(alert.severity != Severity::Low, "a panic of the receiver's");
    });
    let alerts = Alerts::builder()
        .rules(Rules::mission())
        .channel(forward.rules_only())
        .build(&metrics(&Clock::manual(START)))
        .unwrap();
    alerts.check("low_user_activity", 1.0);
    alerts.check("low_user_activity", 100.0);
    alerts.check("high_cpu_usage", 0.9);
    alerts.error(&Failure { kind: "io::Error", route: "POST /pay", message: "password=hunter2", fingerprint: None });
    assert!(alerts.test("pager") && alerts.sinks().is_empty());
    assert_eq!(alerts.channels().collect::<Vec<_>>(), ["pager"]);
    let subjects: Vec<_> = got.lock().unwrap().iter().map(|(subject, _)| subject.clone()).collect();
    assert_eq!(
        subjects,
        [
            "[FIRING] low_user_activity: 1 (threshold 10)",
            "[RESOLVED] low_user_activity: 100 (threshold 10)",
            "[FIRING] high_cpu_usage: 90 % (threshold 80 %)",
            "[FIRING] test",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_takes_alerts_of_its_severity_and_a_test() {
    let (url, posts) = receiver().await;
    let metrics = metrics(&Clock::manual(START));
    let slack = Slack::new(format!("{url}/slack")).at_least(Severity::Critical).http(soon);
    let alerts = Alerts::builder().rules(Rules::mission()).channel(slack).build(&metrics).unwrap();
    alerts.check("high_cpu_usage", 1.0);
    flush(&alerts).await;
    assert!(bodies(&posts, "/slack").is_empty());
    assert!(alerts.test("slack") && !alerts.test("mail"));
    flush(&alerts).await;
    assert!(bodies(&posts, "/slack")[0].to_string().contains("This is a test"));
}
