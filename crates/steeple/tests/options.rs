//! Options from the environment and from code, and the errors for invalid ones.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use http::Request;
use prometheus::IntCounter;
use steeple::{RouteOptions, Steeple, SteepleBuilder};
use tower::ServiceExt;

/// Runs a test of this file again in a separate process, with these variables: a process has one log and one environment.
fn alone(test: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--ignored"]);
    for name in ["LOG_LEVEL", "RUST_LOG", "LOG_DIR", "LOG_FORMAT", "SERVICE_NAME", "OTEL_SERVICE_NAME"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let (said, trouble) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{test}: {said}{trouble}");
    output
}

/// Watches one request and returns when its line is written.
fn one_request(steeple: &Steeple) {
    let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(steeple.layer());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let response = app.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
        axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    });
    assert!(steeple.flush().is_complete());
}

fn read(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("combined.log")).unwrap()
}

fn page(options: SteepleBuilder) -> String {
    let steeple = options.without_log_setup().build().unwrap();
    String::from_utf8(steeple.metrics().render(None, None).body.to_vec()).unwrap()
}

#[test]
fn a_teams_own_counters_are_shown_with_default_and_with_custom_metrics_options() {
    let jobs = IntCounter::new("jobs_total", "Jobs that a team counts in its own way.").unwrap();
    prometheus::default_registry().register(Box::new(jobs.clone())).unwrap();
    jobs.inc_by(3);
    let all: [fn() -> SteepleBuilder; 4] = [
        Steeple::builder,
        || Steeple::builder().metrics(|metrics| metrics.max_routes(10)),
        // Said twice, it is there once.
        || Steeple::builder().metrics(|metrics| metrics.merge(prometheus::default_registry().clone())),
        || Steeple::builder().metrics(|metrics| metrics.registry(prometheus::default_registry().clone())),
    ];
    for options in all {
        let page = page(options());
        assert_eq!(page.lines().filter(|line| *line == "jobs_total 3").count(), 1, "{page}");
        assert_eq!(page.lines().filter(|line| *line == "# TYPE jobs_total counter").count(), 1, "{page}");
    }
    assert!(!page(Steeple::builder().without_default_registry()).contains("jobs_total"));
}

#[test]
fn a_bad_option_is_named_once_with_what_it_holds() {
    #[track_caller]
    fn check(options: SteepleBuilder, once: &[&str]) {
        let error = options.build().unwrap_err();
        assert_eq!(error.variable(), None, "no variable holds it: the code said so");
        let text = format!("{error:?}");
        for part in once {
            assert_eq!(text.matches(part).count(), 1, "{part} in {text}");
        }
    }
    check(Steeple::builder().log_level("loud"), &["\"loud\"", "debug"]);
    check(Steeple::builder().log_directory("/dev/null/logs"), &["/dev/null/logs", "Not a directory"]);
    check(Steeple::builder().without_log_setup().log_sample_ratio(2.0), &["invalid sample ratio 2"]);
}

#[test]
fn a_bad_variable_is_named_once_with_what_it_holds_and_may_hold() {
    for (variable, value, expected) in [
        ("LOG_LEVEL", "warn,hyper=loud", "debug"),
        ("RUST_LOG", "warn,hyper=loud", "debug"),
        ("LOG_DIR", "/dev/null/logs", "Not a directory"),
        ("TRUSTED_PROXIES", "everybody", "loopback"),
        ("LOG_FORMAT", "xml", "pretty"),
        ("SLOW_REQUEST_MS", "fast", "milliseconds"),
    ] {
        let output = alone("says_what_is_wrong_with_the_environment", &[(variable, value)]);
        let text = String::from_utf8(output.stderr).unwrap();
        let line = text.lines().find(|line| line.contains(variable)).unwrap();
        for part in [variable, value, expected] {
            assert_eq!(line.matches(part).count(), 1, "{part} in {line}");
        }
    }
}

#[test]
#[ignore = "run by others, in a separate process"]
fn says_what_is_wrong_with_the_environment() {
    let error = Steeple::from_env().unwrap_err();
    assert!(error.variable().is_some());
    // The test's harness keeps what the macros print.
    std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error:?}\n")).unwrap();
}

#[test]
fn the_environments_name_for_the_service_goes_before_the_codes_default() {
    for (variables, name) in [(&[][..], "shop"), (&[("SERVICE_NAME", "board")], "board")] {
        let directory = tempfile::tempdir().unwrap();
        let directory_variable = ("LOG_DIR", directory.path().to_str().unwrap());
        alone("logs_one_request_by_default_as_shop", &[variables, &[directory_variable]].concat());
        let log = read(directory.path());
        assert!(log.contains(&format!("\"service.name\":\"{name}\",\"service.version\":\"1.2.3\"")), "{log}");
    }
}

#[test]
#[ignore = "run by others, in a separate process"]
fn logs_one_request_by_default_as_shop() {
    let options = Steeple::builder_from_env().unwrap();
    one_request(&options.service_name_or("shop").service_version_or("1.2.3").build().unwrap());
}

#[test]
fn without_a_console_the_lines_are_in_the_files_alone() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("LOG_DIR", directory.path().to_str().unwrap()), ("LOG_FORMAT", "ecs")];
    let output = alone("logs_one_request_without_a_console", &variables);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("GET / 200"), "{said}");
    let log = read(directory.path());
    assert_eq!(log.matches("GET / 200").count(), 1, "{log}");
    assert!(log.contains("ecs.version"), "the format is that of the files as well: {log}");
}

#[test]
#[ignore = "run by others, in a separate process"]
fn logs_one_request_without_a_console() {
    one_request(&Steeple::builder_from_env().unwrap().without_console().build().unwrap());
}

#[test]
fn options_for_lines_reach_the_log_and_the_shorthands_go_before_them() {
    let directory = tempfile::tempdir().unwrap();
    alone("logs_one_route_less_than_the_others", &[("LOG_DIR", directory.path().to_str().unwrap())]);
    assert_eq!(read(directory.path()), "");
}

#[test]
#[ignore = "run by others, in a separate process"]
fn logs_one_route_less_than_the_others() {
    let options = Steeple::builder_from_env().unwrap().without_console();
    let lines = options.log(|log| {
        log.sample_ratio(1.0).slow_after(Duration::ZERO).route("/", RouteOptions::new().log_sample_ratio(0.0))
    });
    let steeple = lines.slow_after(Duration::from_mins(1)).build().unwrap();
    one_request(&steeple);
    assert_eq!(steeple.log().sampled_out(), 1);
}

#[test]
fn the_level_of_the_log_is_another_for_a_while() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("LOG_DIR", directory.path().to_str().unwrap()), ("LOG_LEVEL", "warn")];
    alone("overrides_the_level_of_the_log", &variables);
    let log = read(directory.path());
    assert_eq!(log.matches("\"heard\"").count(), 1, "{log}");
    assert_eq!(log.matches("the log level is").count(), 2, "{log}");
    assert_eq!(log.matches("GET / 200").count(), 1, "{log}");
}

#[test]
#[ignore = "run by others, in a separate process"]
fn overrides_the_level_of_the_log() {
    let steeple = Steeple::builder_from_env().unwrap().without_console().build().unwrap();
    let error = steeple.override_log_level("info,hyper=loud", Duration::from_mins(1)).unwrap_err();
    assert!(error.to_string().contains("`loud`"), "{error}");
    let error = steeple.override_log_level("debug", Duration::from_hours(2)).unwrap_err();
    assert!(error.to_string().contains("at most 3600s"), "{error}");
    one_request(&steeple);
    steeple.override_log_level("debug", Duration::from_mins(1)).unwrap();
    one_request(&steeple);
    tracing::debug!("heard");
    assert!(steeple.log_level().unwrap().is_overridden());
    assert!(steeple.clear_log_level_override());
    tracing::debug!("not any more");
    one_request(&steeple);
    assert_eq!(steeple.log_level().unwrap().directives(), "warn");
    let page = String::from_utf8(steeple.metrics().render(None, None).body.to_vec()).unwrap();
    assert!(page.contains("\nsteeple_log_level_overrides_total 1\n"), "{page}");
}

#[test]
fn the_level_of_a_log_that_is_not_steeples_is_left_alone() {
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    assert!(steeple.log_level().is_none() && !steeple.clear_log_level_override());
    let error = steeple.override_log_level("debug", Duration::from_mins(1)).unwrap_err();
    assert!(error.to_string().contains("not Steeple's"), "{error}");
}

#[cfg(feature = "sqlx")]
#[test]
fn statements_of_sqlx_are_timed_whatever_the_level_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let variables = [("LOG_DIR", directory.path().to_str().unwrap()), ("LOG_LEVEL", "warn")];
    alone("tells_of_a_statement_as_sqlx_does", &variables);
    assert_eq!(read(directory.path()), "", "the log is as it was asked for");
}

#[cfg(feature = "sqlx")]
#[test]
#[ignore = "run by others, in a separate process"]
fn tells_of_a_statement_as_sqlx_does() {
    let steeple = Steeple::builder_from_env().unwrap().build().unwrap();
    tracing::debug!(target: "sqlx::query", summary = "DELETE FROM sessions", db.statement = "", elapsed_secs = 0.25);
    tracing::debug!(target: "elsewhere", summary = "DELETE FROM sessions", db.statement = "", elapsed_secs = 0.25);
    let page = String::from_utf8(steeple.metrics().render(None, None).body.to_vec()).unwrap();
    assert!(page.contains("_count{operation=\"delete\",table=\"sessions\"} 1\n"), "{page}");
}

#[cfg(feature = "gzip")]
#[test]
fn scrapers_that_ask_for_gzip_get_it() {
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    let page = steeple.metrics().render(None, Some("gzip"));
    assert_eq!((page.content_encoding, page.body.get(..2)), (Some("gzip"), Some(&[0x1f, 0x8b][..])));
}

#[tokio::test]
async fn a_clients_request_id_that_holds_a_secret_is_not_taken() {
    let recorder = steeple::testing::Recorder::new();
    let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(recorder.layer());
    for (sent, is_taken) in [
        ("order-4711-retry-2", true),
        ("01890a5d-ac96-774b-bcce-b302099a8057", true),
        ("ghp_0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R", false),
        ("4111111111111111", false),
        ("4111-1111-1111-1111", false),
    ] {
        let request = Request::builder().uri("/").header("x-request-id", sent).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-request-id"] == sent, is_taken, "{sent}");
        axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        let line = recorder.line("GET /");
        assert_eq!(line.as_str().contains(sent), is_taken, "{}", line.as_str());
        assert_eq!(line.text("client_request_id").is_some(), !is_taken, "the client's id is there without its secret");
        recorder.clear();
    }
}
