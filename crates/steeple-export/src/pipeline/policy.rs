//! What happens to batches that a receiver did not clearly accept or refuse.

/// What happens to a batch whose key was not accepted (401, 403).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unauthorized {
    /// It is dropped, as [`DropReason::Unauthorized`](crate::DropReason::Unauthorized). For queues in memory: what waits would be
    /// lost a moment later anyway.
    #[default]
    Drop,
    /// It is kept, and tried again at intervals of at most [`Retry::cap`](crate::Retry::cap), however long that takes.
    Keep,
}

/// What happens to a batch that was sent without an answer: the receiver may have stored it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InDoubt {
    /// It is sent again. For receivers that notice duplicates, and where a duplicate is better than a gap.
    #[default]
    Resend,
    /// It is dropped, as [`DropReason::InDoubt`](crate::DropReason::InDoubt). For counters that would be added twice.
    Drop,
}
