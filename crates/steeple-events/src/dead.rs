//! Events that a receiver will never take.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{event::Class, record::Record};

/// Dead letters that are remembered of each sink where no store keeps them.
const REMEMBERED: usize = 100;

/// An event that a receiver will never take. Its properties stay where they are: `steeple-outbox show` prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadEvent {
    /// The sink whose receiver refused it.
    pub sink: String,
    /// The event's id.
    pub id: String,
    /// The event's name.
    pub name: String,
    /// The event's class.
    pub class: Class,
    /// When it was tracked, since the Unix epoch.
    pub at: Duration,
    /// Why it was refused; scrubbed and cut.
    pub why: String,
}

/// The newest dead letters of a sink whose events wait in memory.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<VecDeque<DeadEvent>>);

impl Remembered {
    pub(crate) fn add(&self, sink: &str, record: &Record, why: &str) {
        let dead = DeadEvent {
            sink: sink.to_owned(),
            id: record.id.as_str().to_owned(),
            name: record.names.name().to_owned(),
            class: record.class,
            at: record.at,
            why: why.to_owned(),
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= REMEMBERED {
            kept.pop_front();
        }
        kept.push_back(dead);
    }

    pub(crate) fn read(&self) -> Vec<DeadEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

/// The newest of all, the newest first.
pub(crate) fn newest(mut dead: Vec<DeadEvent>, max: usize) -> Vec<DeadEvent> {
    dead.sort_by(|one, other| other.at.cmp(&one.at).then_with(|| other.id.cmp(&one.id)));
    dead.truncate(max);
    dead
}
