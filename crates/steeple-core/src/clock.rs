//! The one place that reads the time.
//!
//! Each moment of an exchange is read once, here, and handed to every observer.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

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

/// Whole nanoseconds, enough for 584 years: without a calculation in 128 bits.
#[inline]
pub const fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

/// For so long a pair of readings of both clocks serves.
const FRESH: Duration = Duration::from_millis(100);

thread_local! {
    static BOTH: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// The wall-clock time at a moment that the monotonic clock was read at, since the Unix epoch.
///
/// Both clocks are read together every 100 ms on each thread, and what lies between is counted on: on a busy thread
/// this costs no reading of a clock. When the wall clock is set, this follows at most that much later.
pub fn unix_at(moment: Instant) -> Duration {
    if let Some((known, unix)) = BOTH.try_with(Cell::get).ok().flatten()
        && let Some(since) = moment.checked_duration_since(known)
        && since < FRESH
    {
        return unix.saturating_add(since);
    }
    let (now, unix) = (now(), unix_now());
    let _ending = BOTH.try_with(|both| both.set(Some((now, unix))));
    unix.saturating_sub(now.saturating_duration_since(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(moment: Instant, ago: Duration) {
        let (got, want) = (unix_at(moment), unix_now().checked_sub(ago).unwrap());
        // Between the readings the thread may have had to wait.
        assert!(got.abs_diff(want) < Duration::from_secs(5), "{got:?} is not {want:?}");
    }

    #[test]
    fn a_moment_has_the_same_wall_clock_time_however_it_is_found() {
        let first = now();
        check(first, Duration::ZERO);
        check(now(), Duration::ZERO);
        std::thread::sleep(FRESH);
        check(now(), Duration::ZERO);
        if let Some(before) = first.checked_sub(Duration::from_secs(90)) {
            check(before, Duration::from_secs(90));
        }
    }
}
