//! The systems that read our events, installed by `.ci/peers-sentry.sh`.

#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![allow(clippy::allow_attributes, reason = "an expectation would fail in those binaries that use everything")]

use std::path::PathBuf;

/// A program of a peer. `None`, which is printed, when it is not installed; with `STEEPLE_REQUIRE_PEERS=1` that is a failure.
pub(crate) fn program(peer: &str, name: &str) -> Option<PathBuf> {
    steeple_core::test_util::peer::program(&format!("{peer}/bin/{name}"))
}
