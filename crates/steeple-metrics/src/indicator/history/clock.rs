use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use steeple_core::clock;

/// The clock of a [`History`](super::History): the machine's, or one that a test sets. A cheap clone.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    System(Instant),
    Manual(Arc<Mutex<Moment>>),
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// Since some moment before the first. Never goes back.
    pub(super) mono: Duration,
    /// Since the Unix epoch. May be set.
    pub(super) unix: Duration,
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self(Kind::System(clock::now()))
    }

    /// A clock that stands until it is [advanced](Self::advance), at this time since the Unix epoch.
    pub fn manual(unix: Duration) -> Self {
        Self(Kind::Manual(Arc::new(Mutex::new(Moment { mono: Duration::ZERO, unix }))))
    }

    /// Advances a manual clock. The machine's takes no notice.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual(moment) = &self.0 {
            let mut moment = moment.lock().unwrap_or_else(PoisonError::into_inner);
            moment.mono = moment.mono.saturating_add(by);
            moment.unix = moment.unix.saturating_add(by);
        }
    }

    /// Sets the wall clock of a manual clock, as an administrator would. The machine's takes no notice.
    pub fn set_unix(&self, unix: Duration) {
        if let Kind::Manual(moment) = &self.0 {
            moment.lock().unwrap_or_else(PoisonError::into_inner).unix = unix;
        }
    }

    /// The time since the Unix epoch.
    pub fn unix(&self) -> Duration {
        self.now().unix
    }

    /// The time on a clock that never goes back, since some moment before the first call.
    pub fn monotonic(&self) -> Duration {
        self.now().mono
    }

    pub(super) fn now(&self) -> Moment {
        match &self.0 {
            Kind::System(start) => {
                Moment { mono: clock::now().saturating_duration_since(*start), unix: clock::unix_now() }
            }
            Kind::Manual(moment) => *moment.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            Kind::System(_) => "system",
            Kind::Manual(_) => "manual",
        };
        f.debug_tuple("Clock").field(&kind).finish()
    }
}
