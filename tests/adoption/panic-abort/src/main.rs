//! A service that is built with `panic = "abort"`: its process ends within the panic, before any queue is written. What the
//! panic said is on standard error all the same, once, without its secrets, and cut; a standard error without a reader
//! holds nothing up.
//!
//! Started without arguments, this program runs itself as the service and checks how it ends.

use std::{
    error::Error,
    io::Write,
    process::{Command, ExitStatus, Stdio},
};

use axum::{Router, body::Body, http::Request, routing::get};
use steeple::Steeple;
use tower::ServiceExt;

/// More than is said of a panic.
const LONG: usize = 200_000;
/// What a pipe holds on Linux.
const PIPE: usize = 65_536;

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("short") => service("password=hunter2 is wrong".to_owned()),
        Some("long") => service(format!("password=hunter2 {}", "x".repeat(LONG))),
        _ => checks(),
    }
}

fn service(says: String) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let steeple = Steeple::from_env()?;
        let says: &'static str = says.leak();
        let fails = get(move || async move { if says.is_empty() { "never" } else { panic!("{says}") } });
        let app = Router::new().route("/fails", fails).layer(steeple.layer());
        app.oneshot(Request::get("/fails").body(Body::empty())?).await?;
        Err("the panic did not end the process".into())
    })
}

fn checks() -> Result<(), Box<dyn Error>> {
    assert!(cfg!(panic = "abort"), "run me with `--profile panic-abort`");
    let (status, stderr) = run("short")?;
    assert_aborted(status);
    assert_eq!(stderr.matches("is wrong").count(), 1, "reported once: {stderr}");
    assert!(stderr.contains("panic-abort/src/main.rs"), "it has its place: {stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");

    let (status, stderr) = run("long")?;
    assert_aborted(status);
    assert!(stderr.contains("xxxx") && !stderr.contains("hunter2"), "{stderr}");
    assert!(stderr.len() < 8 * 1024, "cut: {} bytes", stderr.len());

    // A full pipe without a reader: the process ends all the same.
    let (unread, mut full) = std::io::pipe()?;
    full.write_all(&[b' '; PIPE])?;
    let status = Command::new(std::env::current_exe()?).arg("long").stdout(Stdio::null()).stderr(full).status()?;
    assert_aborted(status);
    drop(unread);
    Ok(())
}

/// How the service ended, and what it said on standard error.
fn run(what: &str) -> Result<(ExitStatus, String), Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?).arg(what).stdout(Stdio::null()).output()?;
    Ok((output.status, String::from_utf8(output.stderr)?))
}

/// Not by returning: by the signal of an abort.
#[track_caller]
fn assert_aborted(status: ExitStatus) {
    use std::os::unix::process::ExitStatusExt;

    const SIGABRT: i32 = 6;
    assert_eq!(status.signal(), Some(SIGABRT), "{status}");
}
