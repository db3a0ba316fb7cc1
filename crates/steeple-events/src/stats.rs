use std::sync::atomic::{AtomicU64, Ordering};

use crate::Class;

/// Why an event was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejected {
    /// The name is not valid, see [`name::is_name`](crate::name::is_name).
    InvalidName,
    /// More than [`MAX_NAMED`](crate::MAX_NAMED) names were made at run time.
    TooManyNames,
    /// The properties are not a JSON object.
    NotAnObject,
    /// The properties take more than [`MAX_PROPERTIES_BYTES`](crate::MAX_PROPERTIES_BYTES).
    TooLarge,
    /// It waited for the success of its exchange, and the exchange failed, or no layer of Steeple's saw it.
    NotSuccessful,
}

impl Rejected {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::InvalidName, Self::TooManyNames, Self::NotAnObject, Self::TooLarge, Self::NotSuccessful];

    /// The reason as a label value: `invalid_name`, `too_many_names`, `not_an_object`, `too_large`, `not_successful`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid_name",
            Self::TooManyNames => "too_many_names",
            Self::NotAnObject => "not_an_object",
            Self::TooLarge => "too_large",
            Self::NotSuccessful => "not_successful",
        }
    }
}

/// What became of the events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventStats {
    tracked: [u64; Class::ALL.len()],
    rejected: [u64; Rejected::ALL.len()],
}

impl EventStats {
    /// Events of a class that were accepted.
    pub fn tracked(&self, class: Class) -> u64 {
        self.tracked.get(class as usize).copied().unwrap_or_default()
    }

    /// Events that were accepted.
    pub fn tracked_total(&self) -> u64 {
        self.tracked.iter().sum()
    }

    /// Events that were not accepted, by reason.
    pub fn rejected(&self, reason: Rejected) -> u64 {
        self.rejected.get(reason as usize).copied().unwrap_or_default()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    tracked: [AtomicU64; Class::ALL.len()],
    rejected: [AtomicU64; Rejected::ALL.len()],
}

impl Counts {
    pub(crate) fn track(&self, class: Class) {
        if let Some(counter) = self.tracked.get(class as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn reject(&self, reason: Rejected) {
        if let Some(counter) = self.rejected.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> EventStats {
        EventStats {
            tracked: self.tracked.each_ref().map(|counter| counter.load(Ordering::Relaxed)),
            rejected: self.rejected.each_ref().map(|counter| counter.load(Ordering::Relaxed)),
        }
    }
}
