//! Events through the facade: counted in its metrics, sent to what the environment names, flushed with the other sinks.
#![cfg(feature = "events")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{path::Path, process::Command};

use axum::{Router, body::Body, routing::post};
use http::{Request, StatusCode};
use steeple::{
    Exchange, Steeple, User,
    events::{
        Events,
        preset::{FeatureUsed, Payment, UserRegistration},
    },
};
use tower::ServiceExt as _;

fn page(steeple: &Steeple) -> String {
    String::from_utf8(steeple.metrics().render(None, None).body.to_vec()).unwrap()
}

#[test]
fn without_a_sink_events_are_counted_and_go_nowhere() {
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    let events = steeple.events();
    events.track(UserRegistration { source: "ads" });
    events.track(FeatureUsed { feature: "export" });
    events.track(Payment { failed: true, minor_units: 500, currency: "EUR" });
    assert!(events.sinks().is_empty());
    let page = page(&steeple);
    for line in [
        r#"user_registrations_total{source="ads"} 1"#,
        r#"features_used_total{feature="export"} 1"#,
        r#"payments_total{result="failed"} 1"#,
        // There before the first one, so that the first one is an increase.
        r#"payments_total{result="succeeded"} 0"#,
        r#"steeple_events_tracked_total{class="identity"} 1"#,
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
}

#[test]
fn the_environment_names_the_sinks() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let store = directory.path().join("events");
    let variables =
        [("EVENTS_NDJSON", file.to_str().unwrap()), ("EVENTS_DIR", store.to_str().unwrap()), ("SERVICE_NAME", "shop")];
    alone("tracks_a_registration_to_a_file", &variables);
    // It went through the store, of which the key is left and an empty database.
    assert!(store.join("key").exists());
    let line: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!((&line["type"], &line["data"]["service_name"]), (&"sign_up".into(), &"shop".into()));
    assert_eq!((&line["data"]["user_id"], &line["data"]["route"]), (&"u-42".into(), &"/users".into()));
}

#[test]
#[ignore = "run by another test, in a process with variables"]
fn tracks_a_registration_to_a_file() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let steeple = Steeple::builder_from_env().unwrap().without_log_setup().build().unwrap();
    let register = async |events: Events| {
        Exchange::current().unwrap().set_user(User::new("u-42"));
        events.track(UserRegistration { source: "ads" });
        StatusCode::CREATED
    };
    let app = Router::new().route("/users", post(register)).layer(steeple.layer());
    let request = Request::post("/users").body(Body::empty()).unwrap();
    assert_eq!(runtime.block_on(app.oneshot(request)).unwrap().status(), StatusCode::CREATED);
    assert!(steeple.flush().is_complete());
}

#[test]
fn half_a_setting_is_an_error_that_names_the_other_half() {
    for (variable, value, other) in [
        ("GA4_MEASUREMENT_ID", "G-ABC", "GA4_API_SECRET"),
        ("EVENTS_WEBHOOK_URL", "http://127.0.0.1:9/hook", "EVENTS_WEBHOOK_SECRET"),
        ("ELASTICSEARCH_EVENTS_STREAM", "logs-events", "ELASTICSEARCH_URL"),
        ("NEW_RELIC_ACCOUNT_ID", "12345", "NEW_RELIC_LICENSE_KEY"),
        ("EVENTS_NDJSON", "/nowhere/at/all.ndjson", "ndjson"),
        ("MIXPANEL_TOKEN", "no token", "mixpanel.token"),
    ] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["prints_what_is_wrong", "--exact", "--nocapture", "--ignored"])
            .env(variable, value)
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains("error: ") && stdout.contains(other), "{variable}: {stdout}");
    }
}

#[test]
#[ignore = "run by another test, in a process with variables"]
#[expect(clippy::print_stdout, reason = "the other test reads it")]
fn prints_what_is_wrong() {
    let error = Steeple::builder_from_env().and_then(|builder| builder.without_log_setup().build()).unwrap_err();
    println!("error: {error}");
}

/// Runs a test of this file in a process with these variables.
fn alone(test: &str, variables: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--ignored"])
        .envs(variables.iter().copied())
        .current_dir(Path::new("/"))
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{test}: {output:?}");
}
