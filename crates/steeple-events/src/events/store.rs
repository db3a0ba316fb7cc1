//! The events' store: receipts, consent, erasure, and sinks that are fed by it.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use steeple_core::clock;
use steeple_export::{
    Flush, FlushReport, Sink, Stats,
    store::{DeadLetter, StoreError, spool::Spool},
};
use steeple_scrub::Scrubber;

use super::Events;
use crate::{
    BuildError, DeadEvent, Outlet, OutletStats, Tracked,
    hold::{Outbox, Storing},
    outbox::End,
    receipt::Ticket,
    record::Kind,
    stored,
};

pub(super) struct Store {
    pub(super) outbox: Outbox,
    pub(super) storing: Arc<Storing>,
    timeout: Duration,
}

impl Store {
    pub(super) fn new(outbox: Outbox, scrubber: Scrubber, timeout: Duration) -> Result<Self, BuildError> {
        outbox.spool.registered_all().map_err(|error| BuildError::sink("outbox", error))?;
        let storing = Arc::new(Storing { outbox: outbox.clone(), scrubber });
        Ok(Self { outbox, storing, timeout })
    }

    pub(super) fn append(&self, tracked: &Tracked) -> Ticket {
        let spool = &self.outbox.spool;
        let row = Arc::clone(&tracked.0);
        let ticket = spool.append(row, tracked.0.class as u8, tracked.size());
        Ticket { spool: spool.clone(), row: ticket, timeout: self.timeout }
    }

    /// The newest dead letters of each sink.
    pub(super) async fn dead_letters(&self, sinks: Vec<String>, max: usize) -> Vec<DeadEvent> {
        let mut dead = Vec::new();
        for sink in sinks {
            let letters = self.outbox.spool.newest_dead_letters(&sink, max).await.unwrap_or_default();
            dead.extend(letters.into_iter().map(|letter| DeadEvent {
                sink: sink.clone(),
                id: letter.row.id.to_string(),
                name: stored::name(&letter.row).unwrap_or_default(),
                class: stored::class(&letter.row),
                at: letter.row.at,
                why: letter.why.as_str().to_owned(),
            }));
        }
        dead
    }

    /// Adds what the store knows of a sink.
    pub(super) fn complete(&self, stats: &mut OutletStats) {
        let backlog = self.outbox.spool.backlog(&stats.sink);
        stats.backlog = (backlog.items, backlog.bytes);
        (stats.oldest, stats.dead_letters) = (backlog.oldest, backlog.dead);
        let in_doubt = self.outbox.spool.spool_stats().in_doubt;
        stats.in_doubt = stats.in_doubt.saturating_add(in_doubt.get(&*stats.sink).copied().unwrap_or_default());
    }
}

impl Events {
    /// Removes the kept data of a user: events that wait and dead letters. Systems that can be asked to forget a user are
    /// asked: Mixpanel deletes the profile, Elasticsearch the documents with this user. `user` is the id that the application
    /// set. Returns how many events there were.
    ///
    /// What GA4, New Relic, webhooks and files got before stays there: their own deletion requests are by their consoles or
    /// APIs.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn erase(&self, user: &str) -> Result<u64, StoreError> {
        let Some(store) = &self.0.store else { return Ok(0) };
        let key = store.outbox.key_of(user);
        let erased = store.outbox.spool.erase(&key).await?;
        let _receipt = self.accept_person(user, Kind::PersonDelete, &serde_json::Map::new());
        Ok(erased)
    }

    /// Sets whether a user has taken back the consent to analytics. What waits is asked for before each attempt to send it:
    /// events of a user who has are dropped, at analytics systems. It is kept in the store.
    ///
    /// # Errors
    /// When the store cannot be written. In this process it counts all the same.
    pub async fn set_revoked(&self, user: &str, revoked: bool) -> Result<(), StoreError> {
        let Some(store) = &self.0.store else { return Ok(()) };
        let key = store.outbox.key_of(user);
        store.outbox.set_revoked(key.clone(), revoked);
        store.outbox.spool.set_revoked(&key, revoked).await
    }

    /// The dead letters of a sink, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn dead_letters(&self, sink: &str, max_items: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let Some(store) = &self.0.store else { return Ok(Vec::new()) };
        store.outbox.spool.dead_letters(sink, max_items).await
    }

    /// Sends dead letters again. Returns how many.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn requeue(&self, sink: &str, letters: &[DeadLetter]) -> Result<u64, StoreError> {
        let Some(store) = &self.0.store else { return Ok(0) };
        let seqs: Vec<_> = letters.iter().map(|letter| letter.seq).collect();
        store.outbox.spool.requeue(sink, &seqs).await
    }

    /// The store, for what it counts. `None`: events are kept in memory alone.
    pub fn spool(&self) -> Option<&Spool> {
        self.0.store.as_ref().map(|store| &store.outbox.spool)
    }
}

/// A sink that is fed by the store: events that are left at the end stay there.
pub(super) struct StoredSink {
    end: End,
    spool: Spool,
}

/// How often it is looked whether all is sent.
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl StoredSink {
    pub(super) fn new(end: End, spool: Spool) -> Self {
        Self { end, spool }
    }

    fn backlog(&self) -> u64 {
        self.spool.backlog_now(self.end.pipeline().name()).map_or(0, |backlog| backlog.items)
    }
}

impl Sink for StoredSink {
    fn name(&self) -> &str {
        self.end.pipeline().name()
    }

    fn stats(&self) -> Stats {
        self.end.pipeline().stats()
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        let stats = self.end.pipeline().stats();
        let _sends_at_once = self.end.pipeline().begin_flush(deadline);
        Flush::new(deadline, [stats.exported, stats.dropped_total(), 0, 0])
    }

    fn begin_shutdown(&self, deadline: Instant) -> Flush {
        let flush = self.begin_flush(deadline);
        Flush::new(deadline, [flush.marks()[0], flush.marks()[1], 1, 0])
    }

    fn wait(&self, flush: &Flush) -> FlushReport {
        let [exported, dropped, is_end, _] = flush.marks();
        let deadline = flush.deadline();
        let mut left = self.backlog();
        while left > 0 && clock::now() < deadline {
            // What the store has handed over since is sent at once as well.
            let _sends_at_once = self.end.pipeline().begin_flush(deadline);
            thread::sleep(LOOK_EVERY);
            left = self.backlog();
        }
        if is_end == 1 {
            let end = self.end.close();
            let _report = self.end.pipeline().wait(&end);
            self.spool.settled();
            left = self.backlog();
        }
        let stats = self.end.pipeline().stats();
        let dropped = if is_end == 1 { 0 } else { stats.dropped_total().saturating_sub(dropped) };
        FlushReport::new(
            self.end.pipeline().name().to_owned().into(),
            stats.exported.saturating_sub(exported),
            dropped,
            left,
        )
    }
}

impl Outlet {
    /// How many bytes of events may be out at once.
    pub(crate) const MAX_OUT: u64 = 4 << 20;
}
