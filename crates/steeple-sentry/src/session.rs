//! Release health: how many exchanges went well, counted per minute.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sentry_core::protocol::{SessionAggregateItem, SessionAggregates, SessionAttributes};
use steeple_core::{End, Outcome};

/// How an exchange went, in the words of release health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// Nothing failed on our side.
    Exited,
    /// Something failed and was answered for.
    Errored,
    /// It panicked, or an error got out of the service.
    Crashed,
}

impl Health {
    pub(crate) fn of(end: &End, failed: bool) -> Self {
        match end.outcome {
            Outcome::Panicked | Outcome::ServiceError => Self::Crashed,
            Outcome::BodyError => Self::Errored,
            Outcome::Completed | Outcome::Upgraded | Outcome::Cancelled | Outcome::CancelledInBody if failed => {
                Self::Errored
            }
            Outcome::Completed | Outcome::Upgraded | Outcome::Cancelled | Outcome::CancelledInBody => Self::Exited,
        }
    }
}

/// Three counters for the minute that is running; taken once a minute.
#[derive(Debug)]
pub(crate) struct Sessions {
    attributes: SessionAttributes<'static>,
    counts: [AtomicU32; 3],
    since: Mutex<Duration>,
}

impl Sessions {
    pub(crate) fn new(attributes: SessionAttributes<'static>) -> Self {
        Self {
            attributes,
            counts: [const { AtomicU32::new(0) }; 3],
            since: Mutex::new(steeple_core::clock::unix_now()),
        }
    }

    /// One atomic addition.
    pub(crate) fn count(&self, health: Health) {
        if let Some(counter) = self.counts.get(health as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted since the last call. `None`: nothing was.
    pub(crate) fn take(&self) -> Option<SessionAggregates<'static>> {
        let [exited, errored, crashed] = self.counts.each_ref().map(|counter| counter.swap(0, Ordering::Relaxed));
        let now = steeple_core::clock::unix_now();
        let since = std::mem::replace(&mut *self.since.lock().unwrap_or_else(PoisonError::into_inner), now);
        if (exited, errored, crashed) == (0, 0, 0) {
            return None;
        }
        let minute = Duration::from_secs(since.as_secs().saturating_sub(since.as_secs() % 60));
        let started = UNIX_EPOCH.checked_add(minute).unwrap_or_else(SystemTime::now);
        let item = SessionAggregateItem { started, distinct_id: None, exited, errored, abnormal: 0, crashed };
        Some(SessionAggregates { aggregates: vec![item], attributes: self.attributes.clone() })
    }
}
