use std::sync::atomic::{AtomicU64, Ordering};

/// Ids of lines: no other process has the same.
#[derive(Debug)]
pub(crate) struct LineIds {
    process: u64,
    lines: AtomicU64,
}

impl LineIds {
    pub(crate) fn new() -> Self {
        Self { process: fastrand::u64(..), lines: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> Box<str> {
        let number = self.lines.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}-{number:x}", self.process).into()
    }
}
