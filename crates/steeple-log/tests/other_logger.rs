//! A process that has a logger for the `log` crate already keeps it, and gets our subscriber all the same.

use std::{fs, time::Duration};

use steeple_log::Log;

struct Deaf;

impl log::Log for Deaf {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        false
    }

    fn log(&self, _record: &log::Record<'_>) {}

    fn flush(&self) {}
}

#[test]
fn an_existing_logger_does_not_prevent_the_log() {
    log::set_logger(&Deaf).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let guard = Log::builder().without_console().directory(directory.path()).init().unwrap();
    log::error!("to the other logger");
    tracing::info!("ready");
    assert!(guard.flush(Duration::from_secs(10)));
    let text = fs::read_to_string(directory.path().join("combined.log")).unwrap();
    assert!(text.contains("ready") && !text.contains("other logger"), "{text}");
}
