use std::time::Duration;

/// Milliseconds since the Unix epoch.
pub(crate) fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX)
}
