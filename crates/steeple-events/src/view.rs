//! What pages and tools may show of the outbox.

use crate::{dead::DeadEvent, outlet::OutletStats};

/// The most dead letters that [`Events::outbox`](crate::Events::outbox) returns.
pub const MAX_DEAD_LETTERS: usize = 1_000;

/// What waits for each sink, and what no receiver took.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OutboxView {
    /// Whether events are kept on disk. `false`: they wait in memory alone, and dead letters are the last 100 of each sink.
    pub is_durable: bool,
    /// The sinks: what each has delivered, and what waits for it.
    pub sinks: Vec<OutletStats>,
    /// Dead letters of all sinks, the newest first.
    pub dead_letters: Vec<DeadEvent>,
}
