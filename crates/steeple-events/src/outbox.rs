//! Between the store and the sinks: rows become events again, and what becomes of them is settled.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use steeple_core::User;
use steeple_export::{
    DropReason, Reason, Sink,
    store::{
        NewRow, Row, Settled, StoreError,
        spool::{SinkId, SinkOptions, Spool, ToRow},
    },
};
use steeple_scrub::Scrubber;

use crate::{
    Outlet, Tracked,
    record::{Content, Record},
    settling::Feeding,
    stored,
};

/// A sink that was panicked over so often has a dead letter.
const MAX_PANICS: u32 = 3;

/// The store, and what all sinks need of it.
#[derive(Clone)]
pub(crate) struct Outbox {
    pub(crate) spool: Spool,
    key: Arc<[u8; 32]>,
    /// After a failure that is not the row's, it is read again so much later.
    retry_after: Duration,
    /// Keys of users who have taken consent back.
    revoked: Arc<RwLock<HashSet<Box<[u8]>>>>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("spool", &self.spool).finish_non_exhaustive()
    }
}

impl Outbox {
    pub(crate) fn new(spool: Spool, key: [u8; 32], retry_after: Duration) -> Result<Self, StoreError> {
        let revoked = spool.revoked()?.into_iter().map(Vec::into_boxed_slice).collect();
        Ok(Self { spool, key: Arc::new(key), retry_after, revoked: Arc::new(RwLock::new(revoked)) })
    }

    /// What a user's events are found by: no user can be read from it.
    pub(crate) fn key_of(&self, user: &str) -> Box<[u8]> {
        keyed(&self.key, user)
    }

    pub(crate) fn is_revoked(&self, key: &[u8]) -> bool {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    pub(crate) fn set_revoked(&self, key: Box<[u8]>, revoked: bool) {
        let mut keys = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        if revoked {
            keys.insert(key);
        } else {
            keys.remove(&key);
        }
    }
}

/// What makes a row of an event, on the thread that writes.
#[derive(Debug)]
pub(crate) struct Storing {
    pub(crate) outbox: Outbox,
    pub(crate) scrubber: Scrubber,
}

impl ToRow for Record {
    fn row(&self) -> Option<NewRow> {
        let storing = self.storing.as_ref()?;
        let content = Content::of(self, &storing.scrubber);
        let user = self.context.user.as_ref().and_then(User::id);
        stored::row(self, content, user.map(|user| storing.outbox.key_of(user)))
    }
}

/// What a user's rows are found by in the stores of a directory, for tools: `user` is the id that the application sets.
///
/// # Errors
/// When the directory's key cannot be read.
pub fn erase_key(directory: &std::path::Path, user: &str) -> std::io::Result<Box<[u8]>> {
    Ok(keyed(&crate::secret::key(directory)?, user))
}

/// HMAC-SHA-256, the first half of it.
fn keyed(key: &[u8; 32], user: &str) -> Box<[u8]> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Box::default() };
    mac.update(user.as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().take(16).copied().collect()
}

/// A row that is out: settled once, by whatever becomes of it.
pub(crate) struct Hold {
    outbox: Outbox,
    sink: SinkId,
    seq: u64,
    tries: u32,
    key: Option<Box<[u8]>>,
    settled: AtomicBool,
}

impl Hold {
    pub(crate) const fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether the user has taken consent back since.
    pub(crate) fn is_revoked(&self) -> bool {
        self.key.as_ref().is_some_and(|key| self.outbox.is_revoked(key))
    }

    /// The event is lost to its pipeline. Whether it is a dead letter now.
    pub(crate) fn lose(&self, reason: DropReason, why: &Reason) -> bool {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the receiver could not be reached, or wants nothing now")]
        let outcome = match reason {
            DropReason::Rejected | DropReason::TooLarge | DropReason::Internal => Settled::Dead(why.clone()),
            DropReason::Expired => Settled::Dead(Reason::from("older than the receiver takes")),
            DropReason::InDoubt | DropReason::NoConsent => Settled::Dropped,
            _ => Settled::Retry { after: self.outbox.retry_after },
        };
        let is_dead = matches!(outcome, Settled::Dead(_));
        self.settle(outcome);
        is_dead
    }

    pub(crate) fn settle(&self, outcome: Settled) {
        if !self.settled.swap(true, Ordering::AcqRel) {
            self.outbox.spool.settle(self.sink, self.seq, outcome);
        }
    }
}

impl Drop for Hold {
    /// A panic took it, or the pipeline was closed.
    fn drop(&mut self) {
        self.settle(if self.tries >= MAX_PANICS {
            Settled::Dead(Reason::from("the sink panicked over it"))
        } else {
            Settled::Retry { after: self.outbox.retry_after }
        });
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("seq", &self.seq).field("tries", &self.tries).finish_non_exhaustive()
    }
}

/// Hands the rows of one sink to its pipeline, until it is dropped.
#[derive(Debug)]
pub(crate) struct Feed {
    _task: steeple_export::Task,
}

/// How a sink reads: enough rows for a batch to gather while another one is sent.
pub(crate) fn options(lanes: usize, batch_items: usize, feeding: Feeding) -> SinkOptions {
    let window = batch_items.saturating_mul(lanes).saturating_mul(2).clamp(64, 4_000);
    SinkOptions::default().window(window).per_key(lanes > 1).in_doubt(feeding.in_doubt)
}

/// How often a feed looks whether its pipeline has room again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Rows that are read at once, in bytes.
const READ: usize = 2 << 20;

impl Feed {
    pub(crate) fn start(outbox: Outbox, sink: SinkId, outlet: Outlet) -> std::io::Result<Self> {
        let task = steeple_export::spawn(async move {
            while outbox.spool.readable(sink).await.is_ok() {
                // The pipeline is bounded, and nothing is to be dropped there.
                while outlet.pipeline().stats().queued_bytes > Outlet::MAX_OUT {
                    steeple_export::sleep(LOOK_EVERY).await;
                }
                match outbox.spool.read(sink, 2_000, READ).await {
                    Ok(rows) => rows.iter().for_each(|row| hand_over(&outbox, sink, &outlet, row)),
                    Err(_unreadable) => steeple_export::sleep(outbox.retry_after).await,
                }
            }
        })?;
        Ok(Self { _task: task })
    }
}

fn hand_over(outbox: &Outbox, sink: SinkId, outlet: &Outlet, row: &Row) {
    let Some(mut record) = stored::record(&row.row) else {
        outbox.spool.settle(sink, row.seq, Settled::Dead(Reason::from("not an event of this version")));
        return;
    };
    if !outlet.admits(&record) {
        if record.kind.is_event() && !outlet.takes_people() {
            outlet.skip();
        }
        outbox.spool.settle(sink, row.seq, Settled::Dropped);
        return;
    }
    record.hold = Some(Hold {
        outbox: outbox.clone(),
        sink,
        seq: row.seq,
        tries: row.tries,
        key: row.row.key.clone(),
        settled: AtomicBool::new(false),
    });
    // Dropped, it settles itself.
    outlet.pipeline().push(Tracked(Arc::new(record)));
}
