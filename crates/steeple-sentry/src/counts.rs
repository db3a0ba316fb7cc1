use std::sync::atomic::{AtomicU64, Ordering};

use steeple_export::{DropReason, Stats};

/// What became of what was handed to Sentry, since the start of the process. For `/metrics`: all are counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Events that were sent.
    pub events: u64,
    /// Transactions that were sent.
    pub transactions: u64,
    /// Further sightings of a failure that had its event: folded into it or dropped.
    pub duplicates: u64,
    /// What became of envelopes: each holds an event, a transaction, logs or counters of release health.
    pub envelopes: Stats,
}

impl Counts {
    /// Envelopes that were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.envelopes.dropped(reason)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) events: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) duplicates: AtomicU64,
}

impl Counters {
    pub(crate) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, envelopes: Stats) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            events: get(&self.events),
            transactions: get(&self.transactions),
            duplicates: get(&self.duplicates),
            envelopes,
        }
    }
}
