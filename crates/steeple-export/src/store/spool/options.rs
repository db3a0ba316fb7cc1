use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use super::timing::TimingOptions;
use crate::{DropReason, Health, InDoubt};

/// How a sink reads.
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing until a sink is registered with them"]
pub struct SinkOptions {
    pub(super) window: usize,
    pub(super) per_key: bool,
    pub(super) in_doubt: InDoubt,
    pub(super) replay_rate: u32,
    pub(super) in_order: bool,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self { window: 1_000, per_key: false, in_doubt: InDoubt::Resend, replay_rate: 0, in_order: false }
    }
}

impl SinkOptions {
    /// How many rows are out at once: read, and not settled. Default: 1,000.
    pub fn window(mut self, rows: usize) -> Self {
        self.window = rows.max(1);
        self
    }

    /// Whether a row waits until the one before with the same key is settled. For sinks that send several requests at once.
    /// Default: no.
    pub fn per_key(mut self, per_key: bool) -> Self {
        self.per_key = per_key;
        self
    }

    /// How many rows a second are read at most of what waits, once that is more than two windows. New rows go beside it: half
    /// of each read, and half of the window, is for them. 0: as many as the sink takes. Default: 0.
    pub fn replay_rate(mut self, rows: u32) -> Self {
        self.replay_rate = rows;
        self
    }

    /// Whether new rows wait until all that came before them was read, however much that is. Default: no, they go beside it, see
    /// [`replay_rate`](Self::replay_rate).
    pub fn in_order(mut self, in_order: bool) -> Self {
        self.in_order = in_order;
        self
    }

    /// What becomes of rows whose sending was under way when the process ended. With [`InDoubt::Drop`], call
    /// [`Spool::attempt`](super::Spool::attempt) before each attempt. Default: they are sent again.
    pub fn in_doubt(mut self, in_doubt: InDoubt) -> Self {
        self.in_doubt = in_doubt;
        self
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_bytes: u64,
    pub(super) max_age: Duration,
    pub(super) min_free_bytes: u64,
}

/// How much waits for the thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueLimits {
    pub(super) max_items: usize,
    pub(super) max_bytes: usize,
}

/// Options for a [`Spool`](super::Spool).
#[derive(Clone, Debug)]
#[must_use = "options do nothing until the store is opened"]
pub struct SpoolBuilder {
    pub(super) directory: PathBuf,
    pub(super) limits: Limits,
    pub(super) queue: QueueLimits,
    pub(super) timing: TimingOptions,
}

impl SpoolBuilder {
    /// How many bytes of rows are kept. What exceeds them: the newest of the lowest class goes first. Default: 1 GiB.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.max_bytes = bytes;
        self
    }

    /// How old a row may become, by its own time. Default: 14 days.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.limits.max_age = age;
        self
    }

    /// How many bytes of the disk stay free: with fewer, the store does not grow. Default: 64 MiB.
    pub fn min_free_bytes(mut self, bytes: u64) -> Self {
        self.limits.min_free_bytes = bytes;
        self
    }

    /// How much waits in memory for the thread that writes. Default: 10,000 rows and 16 MiB.
    pub fn max_queue(mut self, items: usize, bytes: usize) -> Self {
        self.queue = QueueLimits { max_items: items.max(1), max_bytes: bytes };
        self
    }

    /// How often the store looks around. Default: [`TimingOptions::default`].
    pub fn timing(mut self, timing: TimingOptions) -> Self {
        self.timing = timing;
        self
    }
}

/// What became of the rows of a store, since the start of the process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpoolStats {
    /// Rows that were handed over.
    pub appended: u64,
    /// Rows on disk. Those that every sink has settled are among them until the store is idle.
    pub items: u64,
    /// What they weigh, in bytes.
    pub bytes: u64,
    /// Damaged rows that were found. They are lost.
    pub damaged: u64,
    /// Damaged databases that were set aside.
    pub quarantined: u64,
    /// Stores of processes that have ended which were taken over.
    pub adopted: u64,
    /// Rows of each sink whose sending was under way when a process ended.
    pub in_doubt: BTreeMap<Arc<str>, u64>,
    /// How the disk does.
    pub health: Health,
    pub(super) dropped: [u64; DropReason::ALL.len()],
    pub(super) refused: [u64; DropReason::ALL.len()],
    pub(super) gone: BTreeMap<Arc<str>, [u64; DropReason::ALL.len()]>,
}

impl Default for SpoolStats {
    fn default() -> Self {
        Self {
            appended: 0,
            items: 0,
            bytes: 0,
            damaged: 0,
            quarantined: 0,
            adopted: 0,
            in_doubt: BTreeMap::new(),
            health: Health::Ok,
            dropped: [0; DropReason::ALL.len()],
            refused: [0; DropReason::ALL.len()],
            gone: BTreeMap::new(),
        }
    }
}

impl SpoolStats {
    /// Rows that were dropped for a reason: `queue_full` where the room was used up, in memory or on disk; `expired` by age;
    /// `no_consent` where they were erased; `internal` where they were damaged. Each counts once, however many sinks wanted it, and
    /// only if one of them never gets it.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or_default()
    }

    /// Those of [`dropped`](Self::dropped) that were never stored.
    pub fn refused(&self, reason: DropReason) -> u64 {
        self.refused.get(reason as usize).copied().unwrap_or_default()
    }

    /// Rows that were stored, and left the store before this sink had them.
    pub fn gone(&self, sink: &str, reason: DropReason) -> u64 {
        self.gone.get(sink).and_then(|gone| gone.get(reason as usize)).copied().unwrap_or_default()
    }
}
