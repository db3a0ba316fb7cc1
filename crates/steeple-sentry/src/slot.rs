//! The state of the exchange that a hub serves.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sentry_core::{
    Transaction,
    protocol::{Breadcrumb, TraceId},
};
use steeple_core::{End, Exchange};

use crate::{event, head::Head, job::Job, panicked::Panicked, sampling::Decision};

/// Shared by a hub and whatever is captured in it.
#[derive(Default)]
pub(crate) struct Link(Mutex<Slot>);

#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) exchange: Option<Exchange>,
    pub(crate) head: Head,
    pub(crate) running: Option<Running>,
    pub(crate) sightings: Sightings,
    pub(crate) own_trace: TraceId,
    /// The exchange is over, and its event on its way to the queue: the rest of it is filled in behind that.
    pub(crate) ended: Option<End>,
}

/// How often and by whom the exchange's failure was seen.
#[derive(Default)]
pub(crate) struct Sightings {
    /// An event of it is on its way.
    pub(crate) reported: bool,
    /// An event of a panic is on its way.
    pub(crate) reported_panic: bool,
    /// A log line that became an event. It waits: the failure that it is about may follow, with more details.
    pub(crate) held: Option<Box<Job>>,
    /// Log lines that would have become further events.
    pub(crate) folded: Vec<Breadcrumb>,
    pub(crate) panic: Option<Box<Panicked>>,
}

impl Sightings {
    /// All of them, for the event of the failure.
    pub(crate) fn breadcrumbs(&self) -> impl Iterator<Item = Breadcrumb> {
        let held = self.held.as_ref().and_then(|held| held.envelope.event()).map(event::as_breadcrumb);
        held.into_iter().chain(self.folded.iter().cloned())
    }

    pub(crate) fn has_any(&self) -> bool {
        // A folded event follows a reported or held one.
        self.reported || self.held.is_some() || self.panic.is_some()
    }
}

impl Slot {
    /// Ready for the next exchange. What has room keeps it.
    pub(crate) fn clear(&mut self) {
        self.exchange = None;
        self.head.clear();
        self.running = None;
        self.ended = None;
        if self.sightings.has_any() {
            self.sightings = Sightings::default();
        }
    }

    /// The same, if nothing was seen that the end has to tell.
    pub(crate) fn clear_unseen(&mut self) -> bool {
        let is_unseen = self.running.is_none() && !self.sightings.has_any();
        if is_unseen {
            self.clear();
        }
        is_unseen
    }
}

/// A transaction that is going on.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) transaction: Transaction,
    pub(crate) decision: Decision,
}

impl Link {
    /// A panic of user code cannot happen while this is held: nothing in here calls any.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event waits here for its exchange.
    pub(crate) fn holds(&self) -> bool {
        self.0.try_lock().is_ok_and(|slot| slot.sightings.held.is_some())
    }

    /// Takes out the event that waits for its exchange: the process may not last as long. What the exchange's end has to
    /// say of it, it then says already. Never waits: the panic hook may flush.
    pub(crate) fn release(&self) -> Option<Job> {
        let mut slot = self.0.try_lock().ok()?;
        let job = *slot.sightings.held.take()?;
        slot.sightings.reported = true;
        Some(job)
    }

    /// Keeps a panic's message. Called by the panic hook, where waiting for a lock could be waiting for oneself.
    pub(crate) fn saw_panic(&self, panicked: Panicked) {
        if let Ok(mut slot) = self.0.try_lock() {
            slot.sightings.panic = Some(Box::new(panicked));
        }
    }
}
