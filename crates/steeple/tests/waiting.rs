//! What waits on disk and what no receiver takes: on the page of the dashboard, by sink.
#![cfg(all(feature = "dashboard", feature = "events", feature = "elasticsearch", feature = "spool"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{process::Command, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use steeple::{Steeple, events::preset::UserRegistration};
use steeple_export::test_util::{Receiver, Reply};
use tower::ServiceExt;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const EVENTS: u64 = 5;

#[test]
fn backlog_losses_and_dead_letters_of_each_sink_are_on_the_page() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    // One sink takes everything, one refuses it for good, one cannot be reached; the receiver of the log cannot either.
    let refuses = Receiver::start(|_, _| Reply::status(StatusCode::BAD_REQUEST));
    let (webhook, nobody) = (format!("http://{}/hook", refuses.address()), "http://127.0.0.1:9".to_owned());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["shows_what_waits", "--exact", "--ignored"])
        .env_clear()
        .envs([("SERVICE_NAME", "shop"), ("EVENTS_WEBHOOK_SECRET", SECRET), ("MIXPANEL_TOKEN", "0123456789abcdef")])
        .envs([("EVENTS_DIR", path("events")), ("EVENTS_NDJSON", path("events.ndjson"))])
        .envs([("EVENTS_WEBHOOK_URL", webhook), ("MIXPANEL_ENDPOINT", nobody.clone())])
        .envs([("ELASTICSEARCH_URL", nobody), ("ELASTICSEARCH_LOGS_STREAM", "logs-shop-test".to_owned())])
        .env("ELASTICSEARCH_LOGS_SPOOL_DIR", path("lines"))
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{output:?}");
}

async fn ask(app: &Router, path: &str) -> Value {
    let mut request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 4711))));
    let answer = app.clone().oneshot(request).await.unwrap();
    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

/// Asks until this holds.
async fn until(app: &Router, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let asking = async {
        loop {
            last = ask(app, path).await;
            if holds(&last) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answered = tokio::time::timeout(Duration::from_secs(120), asking).await;
    assert!(answered.is_ok(), "{path}: {last:#}");
    last
}

fn named<'a>(rows: &'a Value, key: &str, name: &str) -> &'a Value {
    rows.as_array().unwrap().iter().find(|row| row[key] == name).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by another test, in a process with variables"]
async fn shows_what_waits() {
    let steeple = Steeple::from_env().unwrap();
    let app = Router::new().route("/", get(async || "hello")).merge(steeple.dashboard()).layer(steeple.layer());
    for _ in 0..EVENTS {
        steeple.events().track(UserRegistration { source: "ads" });
    }
    tracing::info!("a line that waits");
    let outbox = until(&app, "/steeple/outbox", |outbox| {
        let of = |name| named(&outbox["sinks"], "sink", name);
        of("ndjson")["delivered"] == EVENTS
            && of("webhook_events")["dead_letters"] == EVENTS
            && of("mixpanel")["waiting"] == EVENTS
            && ["ndjson", "webhook_events"].iter().all(|taken| of(taken)["waiting"] == 0)
    })
    .await;
    assert_eq!(outbox["is_durable"], true);
    let (takes, refuses, waits) = (
        named(&outbox["sinks"], "sink", "ndjson"),
        named(&outbox["sinks"], "sink", "webhook_events"),
        named(&outbox["sinks"], "sink", "mixpanel"),
    );
    assert_eq!((&takes["dead"], &refuses["dead"]), (&json!(0), &json!(EVENTS)), "{outbox:#}");
    assert!(waits["bytes"].as_u64().unwrap() > 0 && waits["oldest"].is_number() && waits["dead"] == 0, "{outbox:#}");
    let letters = outbox["dead_letters"].as_array().unwrap();
    assert_eq!(letters.len() as u64, EVENTS);
    for letter in letters {
        assert_eq!((&letter["sink"], &letter["event"]), (&json!("webhook_events"), &json!("sign_up")), "{letter}");
        assert!(letter["why"].as_str().unwrap().contains("400") && letter["id"] != "", "{letter}");
    }
    // The sinks of the log are there with those of the events: a line waits on disk.
    let frame = until(&app, "/steeple/frame", |frame| {
        named(&frame["slow"]["sinks"], "name", "elasticsearch_logs")["queued_items"].as_u64().is_some_and(|n| n > 0)
            && named(&frame["slow"]["sinks"], "name", "webhook_events")["dropped"] == EVENTS
            && named(&frame["slow"]["sinks"], "name", "mixpanel")["health"] == "failing"
    })
    .await;
    let rows = &frame["slow"]["sinks"];
    assert_eq!(frame["slow"]["has_outbox"], true);
    assert!(named(rows, "name", "elasticsearch_logs")["queued_bytes"].as_u64().unwrap() > 0, "{rows:#}");
    assert!(named(rows, "name", "log:console").is_object(), "{rows:#}");
    assert_eq!(named(rows, "name", "ndjson")["health"], "ok", "{rows:#}");
}
