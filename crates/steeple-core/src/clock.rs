//! The one place that reads the time.
//!
//! Each moment of an exchange is read once, here, and handed to every observer.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic time now.
#[inline]
#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall-clock time now, since the Unix epoch. Zero on a machine whose clock stands before 1970.
#[inline]
pub fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
