//! The systems that read our events, installed by `.ci/peers-sentry.sh`.

#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![allow(clippy::allow_attributes, reason = "an expectation would fail in those binaries that use everything")]

use std::{fs::OpenOptions, io::Write as _, path::PathBuf};

/// A program of a peer. `None`, which is printed, when it is not installed; with `STEEPLE_REQUIRE_PEERS=1` that is a failure.
pub(crate) fn program(peer: &str, name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("STEEPLE_PEERS_DIR");
    let found = directory
        .map(|directory| PathBuf::from(directory).join(peer).join("bin").join(name))
        .filter(|path| path.exists());
    record(&format!("{peer}/bin/{name}"), found.is_some());
    if found.is_none() {
        let required = std::env::var_os("STEEPLE_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "peer not found: {peer}; STEEPLE_REQUIRE_PEERS=1 requires it");
        // Not `eprintln!`, whose output a test runner keeps to itself when the test passes.
        writeln!(std::io::stderr(), "peer not found: {peer} (skipped what needs it; .ci/peers installs it)").ok();
    }
    found
}

/// Notes for `.ci/test` that this test talks to a peer.
fn record(peer: &str, found: bool) {
    let Some(log) = std::env::var_os("STEEPLE_PEERS_LOG") else { return };
    let thread = std::thread::current();
    let line = format!("{}\t{peer}\t{}\n", thread.name().unwrap_or_default(), if found { "found" } else { "missing" });
    let log = OpenOptions::new().create(true).append(true).open(log);
    log.and_then(|mut log| log.write_all(line.as_bytes())).expect("STEEPLE_PEERS_LOG can be written");
}
