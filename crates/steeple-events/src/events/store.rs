//! The events' store: receipts, consent, erasure, and sinks that are fed by it.

use std::{sync::Arc, time::Duration};

use steeple_export::store::{
    DeadLetter, StoreError,
    spool::{Feed, Spool},
};
use steeple_scrub::Scrubber;

use super::Events;
use crate::{
    BuildError, DeadEvent, OutletStats, Tracked,
    hold::{Outbox, Storing},
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
    pub(super) fn complete(&self, feed: &Feed<Tracked>, stats: &mut OutletStats) {
        let rows = feed.stats();
        (stats.delivered, stats.dead) = (rows.exported, feed.dead());
        stats.dropped = rows.dropped_total().saturating_sub(stats.dead);
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
    /// set. Returns how many events there were, in all processes that share the directory.
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

    /// Sets whether a user has taken back the consent to analytics. Before each attempt to send an event to an analytics system, this is
    /// checked, and events of users without consent are dropped. The note is kept in the store, and counts for all processes that
    /// share the directory: in the others within a second.
    ///
    /// # Errors
    /// When the store cannot be written. In this process it counts all the same.
    pub async fn set_revoked(&self, user: &str, revoked: bool) -> Result<(), StoreError> {
        let Some(store) = &self.0.store else { return Ok(()) };
        store.outbox.spool.set_revoked(&store.outbox.key_of(user), revoked).await
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
