//! Panics of a process whose log is set up: their lines in the log and on standard error.

use std::{
    convert::Infallible,
    env, fs,
    io::{self, PipeWriter, Read, Write},
    panic,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use http::Response;
use serde_json::Value;
use steeple_core::{Exchange, test_util::ScriptedBody};
use steeple_log::{Format, Log, LogGuard, PanicHook};
use tower::{ServiceExt, service_fn};

use crate::support::{Body, get, read};

const CHILD: &str = "STEEPLE_LOG_TEST_PANICS";

const SECRET: &str = "hunter2hunter2";

/// Panics in a request, as a handler does.
fn panic_in_an_exchange(guard: &LogGuard) {
    let service = guard.log().layer();
    let handler = service_fn(|_: http::Request<Body>| async {
        let exchange = Exchange::current().unwrap();
        exchange.report_route("/pay/{id}");
        assert!(exchange.has_ended(), "no card\nfor password={SECRET}");
        Ok::<_, Infallible>(Response::new(ScriptedBody::default()))
    });
    let service = tower::Layer::layer(&service, handler);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = panic::catch_unwind(panic::AssertUnwindSafe(|| runtime.block_on(service.oneshot(get("/pay/7")))));
    assert!(answer.is_err());
}

fn panic_outside() {
    let thread = std::thread::Builder::new().name("worker".to_owned());
    let long = "and so on ".repeat(20);
    assert!(thread.spawn(move || panic!("no queue for {long}password={SECRET}")).unwrap().join().is_err());
}

/// What the process does that the other tests start. Nothing in this one.
#[test]
fn child() {
    let Some(task) = env::var_os(CHILD) else { return };
    let task = task.into_string().unwrap();
    let mut words = task.split('#');
    let (directory, format, name) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let format = if format == "Ecs" { Format::Ecs } else { Format::Json };
    if name == "forward" {
        panic::set_hook(Box::new(|_| {
            writeln!(io::stderr(), "the hook of before").ok();
        }));
    }
    let hook = if name == "forward" { PanicHook::Forward } else { PanicHook::default() };
    let options = Log::builder().without_console().directory_as(directory, format).panic_hook(hook);
    let guard = options.init().unwrap();
    match name {
        "inside" | "forward" => panic_in_an_exchange(&guard),
        "outside" => panic_outside(),
        "error" => steeple_log::log_error(&std::io::Error::other("no card")),
        "closed" => {
            guard.shutdown(steeple_core::clock::now() + Duration::from_mins(1));
            panic_in_an_exchange(&guard);
        }
        _ => {
            // As many as filled a pipe and hung the service when std's hook wrote them.
            for _ in 0..587 {
                panic_in_an_exchange(&guard);
                panic_outside();
            }
            let stderr =
                guard.handle().dropped_by_output().into_iter().find(|losses| losses.output() == "stderr").unwrap();
            assert!((1..587).contains(&stderr.lines()) || name == "full" && stderr.lines() == 587, "{stderr:?}");
        }
    }
}

struct Ended {
    lines: Vec<Value>,
    stderr: String,
}

fn command(directory: &Path, format: Format, name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["panics::child", "--exact", "--nocapture"])
        .env(CHILD, format!("{}#{format:?}#{name}", directory.display()))
        .env_remove("RUST_LIB_BACKTRACE")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

fn run(format: Format, name: &str, backtrace: &str) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let output = command(directory.path(), format, name).env("RUST_BACKTRACE", backtrace).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}{}", String::from_utf8_lossy(&output.stdout));
    let text = fs::read_to_string(directory.path().join("combined.log")).unwrap();
    assert!(!text.contains(SECRET) && (name == "forward" || !stderr.contains(SECRET)), "{text}{stderr}");
    Ended { lines: text.lines().map(read).collect(), stderr }
}

/// The line of a panic with a backtrace.
pub(crate) fn line_of_a_panic(format: Format) -> Value {
    let target = if format == Format::Ecs { "log.logger" } else { "target" };
    let mut lines = run(format, "inside", "1").lines;
    lines.retain(|line| line[target] == "steeple::panic");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

#[test]
fn a_panic_within_an_exchange_is_reported_once_without_secrets_and_not_on_standard_error() {
    let ended = run(Format::Json, "inside", "0");
    assert_eq!(ended.stderr, "");
    let [report, access] = &ended.lines[..] else { panic!("{:#?}", ended.lines) };
    let message = report["message"].as_str().unwrap();
    assert!(message.starts_with("panicked at crates/steeple-log/tests/it/panics.rs:"), "{message}");
    assert!(message.contains("no card\nfor password=[redacted:key]"), "{message}");
    assert_eq!((&report["target"], &report["level"]), (&"steeple::panic".into(), &"error".into()));
    assert_eq!((&report["error.type"], &report["http.route"]), (&"panic".into(), &"/pay/{id}".into()));
    assert_eq!(report.get("exception.stacktrace"), None);
    assert_eq!((&access["outcome"], &access["trace_id"]), (&"panicked".into(), &report["trace_id"]));
    assert!(access["error.message"].as_str().unwrap().contains("no card"));
}

#[test]
fn a_logged_error_has_the_backtrace_of_its_place_if_the_environment_asks_for_one() {
    for (backtrace, has_one) in [("1", true), ("0", false)] {
        let lines = run(Format::Json, "error", backtrace).lines;
        assert_eq!((lines.len(), &lines[0]["target"]), (1, &"steeple::error".into()));
        let stacktrace = lines[0]["exception.stacktrace"].as_str();
        assert_eq!(stacktrace.is_some_and(|text| text.contains("panics::child")), has_one, "{stacktrace:?}");
    }
}

#[test]
fn a_backtrace_is_in_the_report_if_the_environment_asks_for_one() {
    let report = line_of_a_panic(Format::Json);
    let stacktrace = report["exception.stacktrace"].as_str().unwrap();
    assert!(stacktrace.contains("panic_in_an_exchange"), "{stacktrace}");
}

#[test]
fn a_panic_outside_of_exchanges_is_on_standard_error_at_once_without_secrets() {
    let ended = run(Format::Json, "outside", "0");
    assert!(
        ended.stderr.starts_with("thread 'worker' panicked at crates/steeple-log/tests/it/panics.rs:"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.ends_with("and so on password=[redacted:key]\n"), "{}", ended.stderr);
    assert_eq!((ended.stderr.lines().count(), ended.lines.len()), (1, 0));
    let ended = run(Format::Json, "outside", "1");
    assert!(ended.stderr.contains("panic_outside") && ended.stderr.len() <= 4096, "{}", ended.stderr);
}

#[test]
fn a_panic_after_the_log_was_closed_is_on_standard_error() {
    let ended = run(Format::Json, "closed", "0");
    assert!(ended.stderr.contains("no card\\nfor password=[redacted:key]"), "{}", ended.stderr);
    assert_eq!(ended.lines.len(), 0);
}

#[test]
fn with_forward_the_hook_of_before_is_called_and_the_log_reports_nothing() {
    let ended = run(Format::Json, "forward", "0");
    assert_eq!(ended.stderr, "the hook of before\n");
    let [access] = &ended.lines[..] else { panic!("{:#?}", ended.lines) };
    assert_eq!(access["outcome"], "panicked");
}

/// Runs 587 panics within exchanges and as many outside, over a standard error without a reader.
fn run_unread(stderr: impl Into<Stdio>, name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut child = command(directory.path(), Format::Json, name).stderr(stderr).spawn().unwrap();
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert!(child.wait().unwrap().success(), "{stdout}");
    let text = fs::read_to_string(directory.path().join("combined.log")).unwrap();
    let count = |target: &str| text.lines().map(read).filter(|line| line["target"] == target).count();
    assert_eq!((count("steeple::panic"), count("steeple::access")), (587, 587));
}

/// Fills a pipe, and keeps it full until its reader is dropped.
fn fill(mut writer: PipeWriter) {
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let progress = std::sync::Arc::clone(&written);
    std::thread::spawn(move || {
        while writer.write_all(&[b'x'; 512]).is_ok() {
            progress.fetch_add(512, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let mut before = usize::MAX;
    loop {
        let now = written.load(std::sync::atomic::Ordering::Relaxed);
        if now == before && now >= 4096 {
            return;
        }
        before = now;
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn an_unread_standard_error_blocks_nothing() {
    let (mut reader, writer) = io::pipe().unwrap();
    run_unread(writer, "unread");
    let mut left = String::new();
    reader.read_to_string(&mut left).unwrap();
    assert!(left.contains("and so on password=[redacted:key]\n") && !left.contains(SECRET), "{left}");
    assert!(left.lines().all(|line| line.starts_with("thread 'worker' panicked")), "each is whole: {left}");
}

#[test]
fn a_standard_error_that_is_full_stops_nothing() {
    let (reader, writer) = io::pipe().unwrap();
    fill(writer.try_clone().unwrap());
    run_unread(writer, "full");
    drop(reader);
}

#[test]
fn an_unread_socket_as_standard_error_blocks_nothing() {
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    run_unread(std::os::fd::OwnedFd::from(writer), "full");
    drop(reader);
}
