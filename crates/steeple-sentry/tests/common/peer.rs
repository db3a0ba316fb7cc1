//! The systems that read our events, installed by `.ci/peers-sentry.sh`.

#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![allow(clippy::allow_attributes, reason = "an expectation would fail in those binaries that use everything")]

use std::path::PathBuf;

/// A program of a peer. `None`, and said so, when it is not installed; with `STEEPLE_REQUIRE_PEERS=1` that is a failure.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn program(peer: &str, name: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("STEEPLE_PEERS_DIR");
    let found = directory
        .map(|directory| PathBuf::from(directory).join(peer).join("bin").join(name))
        .filter(|path| path.exists());
    if found.is_none() {
        let required = std::env::var_os("STEEPLE_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "peer not found: {peer}; STEEPLE_REQUIRE_PEERS=1 requires it");
        eprintln!("skipped: {peer} is not in STEEPLE_PEERS_DIR; .ci/peers-sentry.sh installs it");
    }
    found
}
