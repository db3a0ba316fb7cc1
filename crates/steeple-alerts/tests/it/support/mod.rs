//! Peers: programs that others have written.

use std::process::{Command, Stdio};

pub(crate) use steeple_core::test_util::peer::{missing, record};

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
