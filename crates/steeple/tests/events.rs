//! Events through the facade: counted in its metrics, sent to what the environment names, flushed with the other sinks.
#![cfg(feature = "events")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, routing::post};
use http::{Request, StatusCode};
use steeple::{
    Exchange, Steeple, User,
    core::clock,
    events::{
        BuildError, Events, EventsBuilder, IntoOutlet, Outgoing, Outlet, SinkContext, Takes, Tracked,
        preset::{FeatureUsed, Payment, UserRegistration},
        sink::Ndjson,
    },
    export::{Answer, Exporter, Pipeline},
    scrub::{Scrubbed, Scrubber},
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

/// A sink with something that is dropped with it.
struct Held(Arc<()>);

impl IntoOutlet for Held {
    fn into_outlet(self: Box<Self>, _: &SinkContext) -> Result<Outlet, BuildError> {
        let pipeline = Pipeline::builder("held").build(move || Ok(Self(Arc::clone(&self.0))));
        Ok(Outlet::new(pipeline.map_err(|error| BuildError::sink("held", error))?, Takes::All))
    }
}

impl Exporter for Held {
    type Item = Tracked;
    type Ready = Outgoing;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&Scrubber::default())
    }

    async fn export(&mut self, _: &[Scrubbed<Outgoing>], _: Instant) -> Answer {
        Answer::Accepted
    }
}

/// Metrics, what they count of the events and the events themselves refer to each other; no two of them keep each other.
#[test]
fn a_dropped_steeple_drops_its_events_and_takes_them_back_from_the_process() {
    let token = Arc::new(());
    let held = Held(Arc::clone(&token));
    let steeple = Steeple::builder().without_log_setup().events(|events| events.sink(held)).build().unwrap();
    let app: Router = Router::new().merge(steeple.routes()).layer(steeple.layer());
    steeple.events().track(UserRegistration { source: "ads" });
    drop(steeple.metrics().database().start("select", "users"));
    assert!(page(&steeple).contains("user_registrations_total"), "the counters are made");
    drop((app, steeple));
    // The exporter is dropped by its own thread.
    let begin = clock::now();
    while Arc::strong_count(&token) > 1 {
        assert!(clock::now() - begin < Duration::from_secs(60), "something keeps the events");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_environment_names_the_sinks() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let store = directory.path().join("events");
    let mut variables = vec![("EVENTS_NDJSON", file.to_str().unwrap()), ("SERVICE_NAME", "shop")];
    if cfg!(feature = "spool") {
        variables.push(("EVENTS_DIR", store.to_str().unwrap()));
    }
    alone("tracks_a_registration_to_a_file", &variables);
    // With a store it went through it: the key is left, and an empty database.
    assert_eq!(store.join("key").exists(), cfg!(feature = "spool"));
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
fn queries_and_cache_operations_that_the_metrics_measure_become_events_where_that_is_turned_on() {
    let tracked = |steeple: &Steeple| {
        drop(steeple.metrics().database().start("select", "users"));
        steeple.metrics().database().record_statement("DELETE FROM tasks", std::time::Duration::from_millis(3));
        steeple.metrics().cache().start("get").hit();
        steeple.metrics().cache().lookup(Some(1));
        steeple.events().stats().tracked_total()
    };
    let build = |change: fn(EventsBuilder) -> EventsBuilder| {
        Steeple::builder().without_log_setup().events(change).build().unwrap()
    };
    assert_eq!(tracked(&build(|events| events)), 0, "off by default");
    assert_eq!(tracked(&build(|events| events.database_queries(1.0))), 2);
    assert_eq!(tracked(&build(|events| events.cache_operations(1.0))), 2);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let sink = Ndjson::new(&file);
    let steeple = Steeple::builder()
        .without_log_setup()
        .events(|events| events.database_queries(1.0).cache_operations(1.0).sink(sink))
        .build()
        .unwrap();
    assert_eq!(tracked(&steeple), 4);
    assert!(steeple.flush().is_complete());
    let lines: Vec<serde_json::Value> =
        std::fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["database_query", "database_query", "cache_operation", "cache_operation"]);
    let query = &lines[1]["data"]["properties"];
    assert_eq!((&query["operation"], &query["table"]), (&"delete".into(), &"tasks".into()));
    assert_eq!(lines[3]["data"]["properties"], serde_json::json!({"operation": "get", "result": "hit"}));
}

#[cfg(feature = "spool")]
#[test]
fn the_wait_for_a_store_is_on_the_line_and_not_in_the_latency() {
    use std::{sync::Arc, time::Duration};
    use steeple::{
        events::{AtTimeout, HoldResponseLayer},
        export::store::{NewRow, spool::ToRow},
        testing::Recorder,
    };

    /// A row that takes a while, so that what comes behind it waits.
    struct Slow(Duration);
    impl ToRow for Slow {
        fn row(&self) -> Option<NewRow> {
            std::thread::sleep(self.0);
            None
        }
    }

    let directory = tempfile::tempdir().unwrap();
    let (store, file) = (directory.path().join("events"), directory.path().join("events.ndjson"));
    let recorder = Recorder::with(|steeple| {
        steeple
            .events(|events| events.sink(Ndjson::new(file)).directory(store).receipt_timeout(Duration::from_secs(60)))
    })
    .unwrap();
    let events = recorder.steeple().events();
    let wait = Duration::from_millis(700);
    let register = async move || {
        events.spool().unwrap().append(Arc::new(Slow(wait)), 3, 100);
        events.track(UserRegistration { source: "ads" });
        StatusCode::CREATED
    };
    let layer = HoldResponseLayer::new().at_timeout(AtTimeout::Unavailable);
    let app = Router::new().route("/users", post(register)).route_layer(layer).layer(recorder.layer());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let request = Request::post("/users").body(Body::empty()).unwrap();
    assert_eq!(runtime.block_on(app.oneshot(request)).unwrap().status(), StatusCode::CREATED);
    let line = recorder.lines().into_iter().find(|line| line.number("attributes.events.wait_ms").is_some()).unwrap();
    let number = |name: &str| line.number(name).unwrap();
    let (waited, took) = (number("attributes.events.wait_ms"), number("duration_ms"));
    assert!(waited >= 600.0 && took >= waited, "{waited} of {took}");
    let route = [("route", "/users")];
    let latency = recorder.metric("http_request_duration_seconds_sum", &route).unwrap();
    assert!((latency - (took - waited) / 1_000.0).abs() < 0.001, "{latency}: {waited} of {took}");
    let head = recorder.metric("http_response_head_duration_seconds_sum", &route);
    assert!(head.is_none_or(|head| head <= latency), "{head:?}");
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

#[cfg(not(feature = "spool"))]
#[test]
fn a_directory_without_the_feature_that_keeps_events_is_an_error_that_names_it() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["prints_what_is_wrong", "--exact", "--nocapture", "--ignored"])
        .env("EVENTS_DIR", "/var/lib/shop/events")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("EVENTS_DIR") && stdout.contains("feature `spool`"), "{stdout}");
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
