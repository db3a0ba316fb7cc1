use std::sync::atomic::{AtomicU64, Ordering};

/// Why something did not reach Sentry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// The queue was full.
    QueueFull,
    /// Sentry asked for less, by its rate limits.
    RateLimited,
    /// Sentry could not be reached.
    Network,
    /// Sentry refused it.
    Refused,
    /// A bug of ours: scrubbing or writing it failed, and unscrubbed it does not leave.
    Internal,
}

impl Loss {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::QueueFull, Self::RateLimited, Self::Network, Self::Refused, Self::Internal];

    /// The reason as a label: `queue_full`, `rate_limited`, `network`, `refused`, `internal`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::RateLimited => "rate_limited",
            Self::Network => "network",
            Self::Refused => "refused",
            Self::Internal => "internal",
        }
    }
}

/// What became of what was handed to Sentry, since the start of the process. For `/metrics`: all are counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Events that were sent.
    pub events: u64,
    /// Transactions that were sent.
    pub transactions: u64,
    /// Further sightings of a failure that had its event: folded into it or dropped.
    pub duplicates: u64,
    lost: [u64; Loss::ALL.len()],
}

impl Counts {
    /// Events, transactions and whatever else was lost for this reason.
    pub fn lost(&self, reason: Loss) -> u64 {
        self.lost.get(reason as usize).copied().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) events: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    lost: [AtomicU64; Loss::ALL.len()],
}

impl Counters {
    pub(crate) fn lose(&self, reason: Loss, items: u64) {
        if let Some(counter) = self.lost.get(reason as usize) {
            counter.fetch_add(items, Ordering::Relaxed);
        }
    }

    pub(crate) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            events: get(&self.events),
            transactions: get(&self.transactions),
            duplicates: get(&self.duplicates),
            lost: self.lost.each_ref().map(get),
        }
    }
}
