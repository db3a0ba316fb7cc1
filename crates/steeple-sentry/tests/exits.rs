//! The last event of a process arrives, however the process ends. Each way has a separate process: this binary once more.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::exit,
    reason = "a test fails by panicking; the end is under test"
)]

mod common;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use axum::{Router, routing::get as route};
use bytes::Bytes;
use http::{Request, StatusCode};
use steeple_sentry::Sentry;

const TIMEOUT: Duration = Duration::from_secs(20);

/// The child's part. Not a test: the tests below run it in a separate process.
#[test]
#[ignore = "run by the others, in a separate process"]
#[expect(clippy::disallowed_methods, reason = "how the parent tells its child what to do")]
fn child() {
    let (Ok(way), Ok(dsn)) = (std::env::var("STEEPLE_CHILD"), std::env::var("STEEPLE_CHILD_DSN")) else { return };
    let sentry = Sentry::builder(dsn).build().unwrap().install();
    match way.as_str() {
        "guard" => {
            let _flushed = sentry.flush_on_drop(TIMEOUT);
            fail_once(&sentry);
        }
        "exit" => {
            fail_once(&sentry);
            assert!(sentry.flush(TIMEOUT));
            std::process::exit(0);
        }
        "exit in an exchange" => {
            use tracing_subscriber::layer::SubscriberExt;
            #[expect(
                deprecated,
                reason = "what teams have today: lines at error are events, those below are breadcrumbs"
            )]
            let bridge = tracing_subscriber::registry().with(sentry::integrations::tracing::layer());
            tracing::subscriber::set_global_default(bridge).unwrap();
            let leaving = sentry.clone();
            let handler = route(move || async move { leave(&leaving) });
            let app = Router::new().route("/", handler).layer(sentry.layer());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let request = Request::get("/").body(axum::body::Body::empty()).unwrap();
            let _never = runtime.block_on(tower::ServiceExt::oneshot(app, request));
        }
        "panic in main" => {
            let _flushed = sentry.flush_on_drop(TIMEOUT);
            panic!("main is over");
        }
        "abort" => {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                before(info);
                sentry.flush(TIMEOUT);
                std::process::abort();
            }));
            panic!("the end of everything");
        }
        "signal" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
                serve_and_fail(&sentry).await;
                // The parent waits for this before it sends the signal.
                std::fs::write(std::env::var_os("STEEPLE_CHILD_READY").unwrap(), "ready").unwrap();
                signal.recv().await;
                // Blocks the only thread of the runtime; what sends does not run on it.
                assert!(sentry.flush(TIMEOUT));
                std::process::exit(0);
            });
        }
        other => panic!("no such way: {other}"),
    }
}

fn leave(sentry: &Sentry) -> StatusCode {
    tracing::error!("cannot go on");
    sentry.flush(TIMEOUT);
    std::process::exit(0)
}

fn fail_once(sentry: &Sentry) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(serve_and_fail(sentry));
}

async fn serve_and_fail(sentry: &Sentry) {
    let app = Router::new().route("/", route(|| async { StatusCode::INTERNAL_SERVER_ERROR })).layer(sentry.layer());
    let request = Request::get("/").body(axum::body::Body::empty()).unwrap();
    let answer = tower::ServiceExt::oneshot(app, request).await.unwrap();
    axum::body::to_bytes(answer.into_body(), 1024).await.unwrap();
}

/// Runs a child and gives back what it sent.
async fn run(way: &str) -> String {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let app = Router::new().fallback(move |body: Bytes| {
        let sender = sender.clone();
        async move {
            // Slow enough that a process which does not wait is gone by now.
            tokio::time::sleep(Duration::from_millis(200)).await;
            sender.send(String::from_utf8(body.to_vec()).unwrap()).unwrap();
            "{}"
        }
    });
    let address = common::serve(app).await;
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env("STEEPLE_CHILD", way)
        .env("STEEPLE_CHILD_DSN", format!("http://public@{address}/1"))
        .env("STEEPLE_CHILD_READY", &ready)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    if way == "signal" {
        while !ready.exists() {
            assert!(child.try_wait().unwrap().is_none(), "the child ended before its signal");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    }
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    let body = tokio::time::timeout(Duration::from_secs(5), received.recv()).await;
    body.unwrap_or_else(|_| panic!("nothing arrived; the child ended with {status}")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_in_main_sends_what_is_left() {
    assert!(run("guard").await.contains("HTTP 500"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushing_before_exit_sends_what_is_left() {
    assert!(run("exit").await.contains("HTTP 500"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushing_before_exit_sends_a_log_line_whose_exchange_is_not_over() {
    assert!(run("exit in an exchange").await.contains("cannot go on"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_outside_of_any_exchange_is_reported_at_once() {
    let sent = run("panic in main").await;
    assert!(sent.contains("main is over") && sent.contains("\"fatal\""), "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_hook_that_flushes_and_aborts_loses_nothing() {
    assert!(run("abort").await.contains("the end of everything"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_a_process_after_its_last_event() {
    assert!(run("signal").await.contains("HTTP 500"));
}
