//! The one place that reads the time.
//!
//! Each moment of an exchange is read once, here, and handed to every observer.

use std::{
    cell::Cell,
    sync::{Mutex, PoisonError},
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
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    #[cfg(feature = "test-util")]
    let now = step::stepped(now);
    now
}

/// Sets the wall clock for a test, for the whole process. The clock of the operating system stays as it is.
#[cfg(feature = "test-util")]
mod step {
    use std::{
        sync::atomic::{AtomicI64, Ordering},
        time::Duration,
    };

    static STEP: AtomicI64 = AtomicI64::new(0);

    /// Sets the wall clock so many seconds ahead of, or behind, that of the operating system. Not covered by semver.
    pub fn step_wall_clock(seconds: i64) {
        STEP.store(seconds, Ordering::Relaxed);
    }

    pub(super) fn stepped(now: Duration) -> Duration {
        let step = STEP.load(Ordering::Relaxed);
        let by = Duration::from_secs(step.unsigned_abs());
        if step < 0 { now.saturating_sub(by) } else { now.saturating_add(by) }
    }
}

#[cfg(feature = "test-util")]
pub use self::step::step_wall_clock;

/// A wall clock that differs by less from the one before was not set: it drifted, or time was kept for it.
const DRIFT: Duration = Duration::from_secs(60);
/// After so long, a wall clock that was set is taken for right.
const BELIEVED: Duration = Duration::from_secs(3600);

/// The wall clock as it was before someone set it.
struct Steady {
    at: Instant,
    unix: Duration,
    /// When it was found to be set.
    set_at: Option<Instant>,
}

static STEADY: Mutex<Option<Steady>> = Mutex::new(None);

/// The wall-clock time now, since the Unix epoch, by the clock as it was before it was set: for an hour after a step of more
/// than a minute it goes on as if there had been none. For ages, so that no step makes something old at once.
///
/// It notices a step between two calls only.
pub fn unix_steady() -> Duration {
    let (now, wall) = (now(), unix_now());
    let mut steady = STEADY.lock().unwrap_or_else(PoisonError::into_inner);
    let known = steady.get_or_insert(Steady { at: now, unix: wall, set_at: None });
    let going_on = known.unix.saturating_add(now.saturating_duration_since(known.at));
    let is_set = wall.abs_diff(going_on) > DRIFT;
    let set_at = if is_set { *known.set_at.get_or_insert(now) } else { now };
    if is_set && now.saturating_duration_since(set_at) < BELIEVED {
        return going_on;
    }
    *known = Steady { at: now, unix: wall, set_at: None };
    wall
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
