//! Other people's programs that tests talk to, installed by `.ci/peers`.
//!
//! A missing one is printed on standard error and its test skipped; with `STEEPLE_REQUIRE_PEERS=1`, as in `.ci/run`, it is a failure.

use std::{env, fmt, fs::OpenOptions, io::Write as _, path::PathBuf, thread};

/// Notes for `.ci/test` that this test talks to a peer: a line in the file `STEEPLE_PEERS_LOG`, if that is set.
///
/// # Panics
/// When the file cannot be written.
pub fn record(peer: &str, is_found: bool) {
    let Some(log) = env::var_os("STEEPLE_PEERS_LOG") else { return };
    let (thread, state) = (thread::current(), if is_found { "found" } else { "missing" });
    let line = format!("{}\t{peer}\t{state}\n", thread.name().unwrap_or_default());
    let log = OpenOptions::new().create(true).append(true).open(log);
    log.and_then(|mut log| log.write_all(line.as_bytes())).expect("STEEPLE_PEERS_LOG can be written");
}

/// Whether a missing peer is a failure: `STEEPLE_REQUIRE_PEERS=1`.
pub fn is_required() -> bool {
    env::var_os("STEEPLE_REQUIRE_PEERS").is_some_and(|value| value == "1")
}

/// Records and prints that a peer is missing, and why.
///
/// # Panics
/// When it is [required](is_required).
pub fn missing(peer: &str, why: &dyn fmt::Display) {
    record(peer, false);
    assert!(!is_required(), "peer not found: {peer}: {why}; STEEPLE_REQUIRE_PEERS=1 requires it");
    // Not `eprintln!`, whose output a test runner keeps to itself when the test passes.
    let _closed =
        writeln!(std::io::stderr(), "peer not found: {peer}: {why} (skipped what needs it; .ci/peers installs it)");
}

/// A program below `STEEPLE_PEERS_DIR`, such as `moto/bin/python`. `None`, which is recorded and printed, if it is missing.
///
/// # Panics
/// When it is missing and [required](is_required).
pub fn program(path: &str) -> Option<PathBuf> {
    let directory = env::var_os("STEEPLE_PEERS_DIR").map(PathBuf::from);
    let found = directory.map(|directory| directory.join(path)).filter(|program| program.exists());
    if found.is_some() {
        record(path, true);
    } else {
        missing(path, &"not in STEEPLE_PEERS_DIR");
    }
    found
}
