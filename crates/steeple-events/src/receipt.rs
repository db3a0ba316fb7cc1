use std::fmt;

use steeple_export::DropReason;

use crate::Rejected;

/// What became of an event when it was tracked, and how to wait until it is stored.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub(crate) rejected: Option<Rejected>,
    #[cfg(feature = "outbox")]
    pub(crate) ticket: Option<Ticket>,
}

/// A row that waits for the store.
#[cfg(feature = "outbox")]
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) spool: steeple_export::store::spool::Spool,
    pub(crate) row: steeple_export::store::spool::Ticket,
    pub(crate) timeout: std::time::Duration,
}

/// Why an event is not known to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotStored {
    /// It was not accepted.
    Rejected(Rejected),
    /// The store was full.
    Dropped {
        /// Why.
        reason: DropReason,
    },
    /// Time is up. It may be stored later.
    Timeout,
}

impl fmt::Display for NotStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(reason) => write!(f, "the event was not accepted: {}", reason.as_str()),
            Self::Dropped { reason } => write!(f, "the event was dropped: {reason}"),
            Self::Timeout => f.write_str("the event was not stored in time"),
        }
    }
}

impl std::error::Error for NotStored {}

impl Receipt {
    pub(crate) const fn new(rejected: Option<Rejected>) -> Self {
        Self {
            rejected,
            #[cfg(feature = "outbox")]
            ticket: None,
        }
    }

    /// Whether the event was accepted: queued. The end of the process may still lose it.
    pub fn is_accepted(&self) -> bool {
        self.rejected.is_none()
    }

    /// Why the event was not accepted.
    pub fn rejected(&self) -> Option<Rejected> {
        self.rejected
    }

    /// Waits until the event is stored, so that the end of the process (`kill -9`) does not lose it. Returns within
    /// `receipt_timeout`. Runs in any runtime, or none.
    ///
    /// Without a directory, events are in memory alone: then this returns at once.
    ///
    /// # Errors
    /// What became of it, or that time is up.
    pub async fn stored(&self) -> Result<(), NotStored> {
        self.wait(false).await
    }

    /// Waits until the event is on the disk (`fsync`), so that the end of the machine does not lose it either. Otherwise
    /// as [`stored`](Self::stored).
    ///
    /// # Errors
    /// What became of it, or that time is up.
    pub async fn synced(&self) -> Result<(), NotStored> {
        self.wait(true).await
    }

    #[cfg_attr(not(feature = "outbox"), expect(clippy::unused_async, unused_variables, reason = "nothing to wait for"))]
    async fn wait(&self, synced: bool) -> Result<(), NotStored> {
        if let Some(reason) = self.rejected {
            return Err(NotStored::Rejected(reason));
        }
        #[cfg(feature = "outbox")]
        if let Some(Ticket { spool, row, timeout }) = &self.ticket {
            use steeple_export::store::spool::NotStored as Lost;
            return spool.wait(*row, synced, *timeout).await.map_err(|lost| match lost {
                Lost::Dropped(reason) => NotStored::Dropped { reason },
                Lost::Timeout | _ => NotStored::Timeout,
            });
        }
        Ok(())
    }
}
