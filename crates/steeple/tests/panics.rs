//! Who reports a panic: the log where Steeple sets it up, and else the hook that the team has.
#![cfg(all(unix, feature = "axum"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "a variable of the test alone")]

use std::{
    io::Write,
    panic,
    process::{Command, Stdio},
};

use axum::{Router, body::Body, routing::get};
use http::Request;
use steeple::{Steeple, log::PanicHook};
use tower::ServiceExt;

/// Runs a process in which a handler panics. Returns its standard error and its log.
fn run(mode: &str) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["panics", "--exact", "--ignored", "--nocapture"]).env("MODE", mode).env("LOG_DIR", directory.path());
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    (stderr, std::fs::read_to_string(directory.path().join("combined.log")).unwrap_or_default())
}

#[test]
fn the_log_reports_panics_where_steeple_sets_it_up_and_the_hook_of_before_is_not_called() {
    let (stderr, log) = run("steeple");
    assert_eq!(stderr, "");
    assert_eq!(log.matches("steeple::panic").count(), 1, "{log}");
}

#[test]
fn the_hook_of_before_is_called_once_where_the_log_is_a_teams_own_or_panics_are_forwarded() {
    for mode in ["own subscriber", "forward"] {
        let (stderr, log) = run(mode);
        assert_eq!(stderr, "the hook of before: out of stock\n", "{mode}");
        assert!(!log.contains("steeple::panic"), "{mode}: {log}");
    }
}

#[test]
#[ignore = "the process of the other tests"]
fn panics() {
    let mode = std::env::var("MODE").unwrap();
    panic::set_hook(Box::new(|info| {
        let message = info.payload().downcast_ref::<&str>().unwrap();
        writeln!(std::io::stderr(), "the hook of before: {message}").unwrap();
    }));
    if mode == "own subscriber" {
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    }
    let builder = Steeple::builder_from_env().unwrap().without_console();
    let builder = if mode == "forward" { builder.panic_hook(PanicHook::Forward) } else { builder };
    let steeple = builder.build().unwrap();
    let fails = async || {
        let stock = std::hint::black_box(0);
        if stock == 0 {
            panic::panic_any("out of stock");
        }
    };
    let app: Router = Router::new().route("/", get(fails)).layer(steeple.layer());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked =
        runtime.block_on(async { tokio::spawn(app.oneshot(Request::get("/").body(Body::empty()).unwrap())).await });
    assert!(asked.unwrap_err().is_panic());
    assert!(steeple.close().is_complete());
}
