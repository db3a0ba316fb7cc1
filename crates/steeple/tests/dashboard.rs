//! The dashboard of a service: mounted by one line, and off costs nothing.
#![cfg(feature = "dashboard")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{process::Command, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, routing::get};
use http::{Request, Response};
use http_body_util::BodyExt;
use steeple::{Steeple, dashboard::Access};
use tower::ServiceExt;

const TOKEN: &str = "q1o0cFXKZ7nq8Qx2tW6yTR5u";

fn app(steeple: &Steeple) -> Router {
    Router::new().route("/", get(|| async { "hello" })).merge(steeple.dashboard()).layer(steeple.layer())
}

async fn ask(app: &Router, path: &str) -> Response<Body> {
    let mut request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 4711))));
    app.clone().oneshot(request).await.unwrap()
}

#[tokio::test]
async fn one_line_mounts_the_page_and_its_data_know_the_service() {
    let steeple = Steeple::builder().service_name("shop").service_version("1.8.2").without_log_setup().build().unwrap();
    let app = app(&steeple);
    assert_eq!(ask(&app, "/steeple/").await.status(), 200);
    let frame = ask(&app, "/steeple/frame").await.into_body().collect().await.unwrap().to_bytes();
    let frame: serde_json::Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!((frame["service"].as_str(), frame["version"].as_str()), (Some("shop"), Some("1.8.2")));
    let settings = frame["slow"]["settings"].as_array().unwrap();
    assert!(settings.iter().any(|setting| setting[0] == "trusted proxies"), "{settings:?}");
    assert!(steeple.dashboard_handle().unwrap().real_time().in_flight.now.is_some());
}

#[tokio::test]
async fn nothing_is_there_unless_it_is_mounted() {
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    let app: Router = Router::new().merge(steeple.routes()).layer(steeple.layer());
    assert_eq!(ask(&app, "/steeple/").await.status(), 404);
    assert!(steeple.metrics().history().frames(steeple::metrics::indicator::Tier::TenSeconds, 0).is_empty());
}

#[tokio::test]
async fn streams_end_with_the_service() {
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    let app = app(&steeple);
    let mut stream = ask(&app, "/steeple/stream").await;
    assert!(stream.frame().await.is_some());
    steeple.shutdown().begin();
    let end = tokio::time::timeout(Duration::from_secs(60), async { while stream.frame().await.is_some() {} }).await;
    assert!(end.is_ok(), "the stream goes on");
}

#[tokio::test]
async fn access_in_code_is_asked_for() {
    let steeple = Steeple::builder()
        .dashboard(|dashboard| dashboard.access(Access::token(TOKEN).unwrap()))
        .without_log_setup()
        .build()
        .unwrap();
    let app = app(&steeple);
    assert_eq!(ask(&app, "/steeple/").await.status(), 401);
    assert_eq!(ask(&app, &format!("/steeple/?token={TOKEN}")).await.status(), 200);
}

/// Runs a test below in a process with these variables.
fn alone(test: &str, variables: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored"]);
    for name in ["DASHBOARD_TOKEN", "DASHBOARD_USER", "DASHBOARD_PASSWORD", "DASHBOARD_TRACE_URL", "STEEPLE_DISABLE"] {
        command.env_remove(name);
    }
    for name in ["DASHBOARD_SOURCE", "PROMETHEUS_URL", "PROMETHEUS_TOKEN", "PROMETHEUS_USER", "PROMETHEUS_PASSWORD"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && printed.contains("1 passed"), "{test}: {printed}");
}

#[test]
fn the_environment_sets_who_may_see_it() {
    alone("with_a_token", &[("DASHBOARD_TOKEN", TOKEN)]);
    alone("with_a_token", &[("DASHBOARD_USER", "ops"), ("DASHBOARD_PASSWORD", "correct horse battery")]);
    alone("disabled", &[("STEEPLE_DISABLE", "dashboard")]);
    for bad in [
        &[("DASHBOARD_TOKEN", "hunter2")][..],
        &[("DASHBOARD_USER", "ops")],
        &[("DASHBOARD_PASSWORD", "correct horse hunter2")],
        &[("DASHBOARD_USER", "ops"), ("DASHBOARD_PASSWORD", "hunter2")],
        &[("DASHBOARD_TOKEN", TOKEN), ("DASHBOARD_USER", "ops"), ("DASHBOARD_PASSWORD", "correct horse hunter2")],
        &[("DASHBOARD_TRACE_URL", "javascript:alert('hunter2')")],
    ] {
        alone("invalid", bad);
    }
}

#[test]
fn the_environment_sets_where_the_numbers_of_all_instances_are_from() {
    const SOURCE: (&str, &str) = ("DASHBOARD_SOURCE", "prometheus");
    const HERE: (&str, &str) = ("PROMETHEUS_URL", "http://127.0.0.1:9090");
    const THERE: (&str, &str) = ("PROMETHEUS_URL", "http://prometheus.example:9090");
    // An address alone turns nothing on: it may be the application's own.
    alone("without_a_fleet", &[HERE]);
    alone("without_a_fleet", &[("DASHBOARD_SOURCE", "process"), HERE]);
    for good in [
        &[SOURCE, HERE][..],
        &[SOURCE, HERE, ("PROMETHEUS_TOKEN", "secret-hunter2")],
        &[SOURCE, HERE, ("PROMETHEUS_USER", "ops"), ("PROMETHEUS_PASSWORD", "hunter2")],
        &[SOURCE, HERE, ("PROMETHEUS_JOB", "shop"), ("PROMETHEUS_SCRAPE_INTERVAL", "30s")],
        &[SOURCE, HERE, ("PROMETHEUS_NAMES", "otel"), ("PROMETHEUS_NATIVE_HISTOGRAMS", "true")],
        &[SOURCE, HERE, ("PROMETHEUS_MATCHERS", "job=\"shop\",cluster=\"eu\""), ("PROMETHEUS_INSTANCE", "10.0.0.1:80")],
        &[SOURCE, THERE, ("DASHBOARD_ALLOW_PLAIN_HTTP", "true")],
    ] {
        alone("with_a_fleet", good);
    }
    for bad in [
        &[("DASHBOARD_SOURCE", "mimir")][..],
        &[SOURCE],
        &[SOURCE, ("PROMETHEUS_URL", "prometheus:9090")],
        &[SOURCE, THERE],
        &[SOURCE, HERE, ("PROMETHEUS_TOKEN", "hunter2"), ("PROMETHEUS_USER", "ops")],
        &[SOURCE, HERE, ("PROMETHEUS_USER", "ops")],
        &[SOURCE, HERE, ("PROMETHEUS_SCRAPE_INTERVAL", "never")],
        &[SOURCE, HERE, ("PROMETHEUS_NAMES", "mine")],
        &[SOURCE, HERE, ("PROMETHEUS_MATCHERS", "{job=\"a\"}")],
    ] {
        alone("invalid_fleet", bad);
    }
}

fn built() -> Result<Steeple, steeple::ConfigError> {
    Steeple::builder_from_env()?.without_log_setup().build()
}

fn has_fleet() -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let frame =
            ask(&app(&built().unwrap()), "/steeple/frame").await.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8_lossy(&frame).contains("\"has_fleet\":true")
    })
}

#[test]
#[ignore = "run by another test, with variables"]
fn with_a_fleet() {
    assert!(has_fleet());
}

#[test]
#[ignore = "run by another test, with variables"]
fn without_a_fleet() {
    assert!(!has_fleet());
}

#[test]
#[ignore = "run by another test, with variables"]
fn invalid_fleet() {
    let text = built().unwrap_err().to_string();
    assert!(["DASHBOARD_", "PROMETHEUS_", "Prometheus"].iter().any(|name| text.contains(name)), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
#[ignore = "run by another test, with variables"]
fn with_a_token() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let steeple = Steeple::builder_from_env().unwrap().without_log_setup().build().unwrap();
        assert_eq!(ask(&app(&steeple), "/steeple/").await.status(), 401);
    });
}

#[test]
#[ignore = "run by another test, with variables"]
fn disabled() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let steeple = Steeple::builder_from_env().unwrap().without_log_setup().build().unwrap();
        assert_eq!(ask(&app(&steeple), "/steeple/").await.status(), 404);
        assert!(steeple.dashboard_handle().is_none());
    });
}

#[test]
#[ignore = "run by another test, with variables"]
fn invalid() {
    let error = Steeple::builder_from_env().unwrap_err();
    let text = error.to_string();
    assert!(error.variable().unwrap().starts_with("DASHBOARD_") && !text.contains("hunter2"), "{text}");
}
