//! Peers: programs that others have written.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// Prints that a peer is not installed; with `STEEPLE_REQUIRE_PEERS=1` that is a failure.
pub(crate) fn missing(program: &str, why: &dyn std::fmt::Display) {
    record(program, false);
    let required = std::env::var_os("STEEPLE_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "peer not found: {program}: {why}; STEEPLE_REQUIRE_PEERS=1 requires it");
    // Not `eprintln!`, whose output a test runner keeps to itself when the test passes.
    writeln!(std::io::stderr(), "peer not found: {program} (skipped what needs it; .ci/peers installs it)").ok();
}

/// Notes for `.ci/test` that this test talks to a peer.
pub(crate) fn record(peer: &str, found: bool) {
    let Some(log) = std::env::var_os("STEEPLE_PEERS_LOG") else { return };
    let thread = std::thread::current();
    let line = format!("{}\t{peer}\t{}\n", thread.name().unwrap_or_default(), if found { "found" } else { "missing" });
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log);
    log.and_then(|mut log| log.write_all(line.as_bytes())).unwrap();
}

/// Runs `promtool`; returns what it printed, or `None` where it is missing.
#[track_caller]
pub(crate) fn promtool(arguments: &[&str]) -> Option<String> {
    match Command::new("promtool").args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => {
            record("promtool", true);
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(output.status.success(), "promtool {arguments:?}: {text}");
            Some(text)
        }
        Err(error) => {
            missing("promtool", &error);
            None
        }
    }
}
