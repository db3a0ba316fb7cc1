//! Proxies, certificates and plain HTTP: the same variables for every integration that sends.
#![cfg(all(feature = "alerts", feature = "events", feature = "sentry", feature = "trace"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Output};

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use steeple::{
    Steeple,
    alerts::Rules,
    events::preset::FeatureUsed,
    export::test_util::{Received, Receiver, Reply},
};
use tower::ServiceExt;

/// What turns on each integration, at hosts that exist behind the proxy only.
const RECEIVERS: [(&str, &str); 6] = [
    ("SENTRY_DSN", "http://public@sentry.test/1"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.test:4318"),
    ("OTEL_BSP_SCHEDULE_DELAY", "10"),
    ("EVENTS_WEBHOOK_URL", "http://events.test/hook"),
    ("EVENTS_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("ALERTS_SLACK_WEBHOOK_URL", "http://alerts.test/services/1"),
];

/// Runs a test of this file in another process: variables and the TLS provider belong to a process.
fn alone(test: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--ignored"]);
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn every_integration_sends_through_the_proxy_of_the_environment() {
    // Slack accepts with a word, the collector without one.
    let proxy = Receiver::start(|request: &Received, _number| {
        Reply::ok(if request.line.contains("alerts.test") { "ok" } else { "" })
    });
    let address = format!("http://{}", proxy.address());
    let mut variables = RECEIVERS.to_vec();
    variables.push(("HTTP_PROXY", &address));
    variables.extend(["SENTRY", "EVENTS", "ALERTS"].map(|name| match name {
        "SENTRY" => ("SENTRY_ALLOW_PLAIN_HTTP", "true"),
        "EVENTS" => ("EVENTS_ALLOW_PLAIN_HTTP", "1"),
        _ => ("ALERTS_ALLOW_PLAIN_HTTP", "true"),
    }));
    let output = alone("sends_something_of_each_kind", &variables);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let lines: Vec<_> = proxy.received().into_iter().map(|request| request.line).collect();
    for host in ["http://sentry.test", "http://collector.test:4318", "http://events.test", "http://alerts.test"] {
        assert!(lines.iter().any(|line| line.contains(host)), "{host} in {lines:?}");
    }
}

#[test]
fn every_integration_refuses_plain_http_to_another_machine_unless_it_is_allowed() {
    for (at, name) in [(0, "SENTRY"), (3, "EVENTS"), (5, "ALERTS")] {
        let mut variables = vec![RECEIVERS[at]];
        if name == "EVENTS" {
            variables.push(RECEIVERS[4]);
        }
        let output = alone("shows_why_it_does_not_start", &variables);
        let shown = text(&output.stderr);
        assert!(output.status.success() && shown.contains("in the clear"), "{name}: {shown}");
    }
}

#[test]
fn every_integration_has_a_file_of_certificates() {
    for (turned_on, file) in [
        (vec![("SENTRY_DSN", "https://public@127.0.0.1:9/1")], "SENTRY_CA_FILE"),
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:9")], "TRACE_CA_FILE"),
        (vec![("EVENTS_WEBHOOK_URL", "https://127.0.0.1:9/hook"), RECEIVERS[4]], "EVENTS_CA_FILE"),
        (vec![("ALERTS_SLACK_WEBHOOK_URL", "https://127.0.0.1:9/hook")], "ALERTS_CA_FILE"),
    ] {
        let mut variables = turned_on;
        variables.push((file, "/does/not/exist.pem"));
        let output = alone("shows_why_it_does_not_start", &variables);
        let shown = text(&output.stderr);
        assert!(output.status.success() && shown.contains("TLS"), "{file}: {shown}");
    }
}

#[test]
fn an_invalid_switch_is_rejected_with_its_name() {
    let output = alone("shows_why_it_does_not_start", &[("SENTRY_ALLOW_PLAIN_HTTP", "perhaps")]);
    let shown = text(&output.stderr);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("SENTRY_ALLOW_PLAIN_HTTP") && shown.contains("`true` or `false`"), "{shown}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
#[ignore = "the process of the other tests"]
fn sends_something_of_each_kind() {
    let steeple = Steeple::builder_from_env()
        .unwrap()
        .without_log_setup()
        .alerts(|alerts| alerts.rules(Rules::mission()))
        .build();
    let steeple = steeple.unwrap();
    let fail = get(|| async { StatusCode::INTERNAL_SERVER_ERROR });
    let app: Router = Router::new().route("/", fail).layer(steeple.layer());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let response = runtime.block_on(app.oneshot(Request::get("/").body(Body::empty()).unwrap())).unwrap();
    drop(response);
    steeple.events().track(FeatureUsed { feature: "export" });
    steeple.alerts().unwrap().test("slack");
    let report = steeple.flush();
    assert!(report.is_complete(), "{report}");
}

#[test]
#[ignore = "the process of the other tests"]
fn shows_why_it_does_not_start() {
    let error = Steeple::builder_from_env().and_then(|builder| builder.without_log_setup().build()).unwrap_err();
    // The test's harness keeps what the macros print.
    std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n")).unwrap();
}
