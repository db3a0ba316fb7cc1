use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use steeple_export::{Pipeline, Sink};

use crate::{Tracked, record::Record, settling::Counts};

/// One sink with its queue, and which events it takes.
#[derive(Clone)]
pub struct Outlet(Arc<Inner>);

struct Inner {
    pipeline: Pipeline<Tracked>,
    takes: Takes,
    skipped: AtomicU64,
    beside: Option<Outlet>,
}

/// Which events a sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Takes {
    /// All: a system that runs the service.
    All,
    /// Those whose visitor did not refuse: an analytics system.
    Analytics,
    /// Those whose visitor did not refuse and has a client id of Google Analytics.
    GoogleAnalytics,
    /// No events, but profiles of users: [`Events::person`](crate::Events::person), [`Events::erase`](crate::Events::erase).
    People,
    /// No events, but users who are to be forgotten: [`Events::erase`](crate::Events::erase).
    Erasures,
}

/// What became of the events of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutletStats {
    /// The sink's name.
    pub sink: String,
    /// Events that the receiver has.
    pub delivered: u64,
    /// Events that became dead letters.
    pub dead: u64,
    /// Events that were dropped without becoming dead letters: evicted for want of room, expired, erased, without consent, or sent
    /// without an answer to a system that would count a second one. The store, the sink `outbox`, counts events that it could not
    /// store. Where events wait in memory, every other loss counts here.
    ///
    /// An event that was stored is delivered, dead, dropped, skipped, or waits.
    pub dropped: u64,
    /// Events that were sent without an answer.
    pub in_doubt: u64,
    /// Events that it did not get: the visitor refused, or nothing identifies the visitor.
    pub skipped: u64,
    /// Events that wait, and the bytes of these.
    pub backlog: (u64, u64),
    /// When the oldest of them was tracked, since the Unix epoch.
    pub oldest: Option<std::time::Duration>,
    /// Dead letters that are kept.
    pub dead_letters: u64,
}

impl Outlet {
    /// A pipeline as a sink of events. What `takes` leaves out is counted as skipped.
    pub fn new(pipeline: Pipeline<Tracked>, takes: Takes) -> Self {
        Self(Arc::new(Inner { pipeline, takes, skipped: AtomicU64::new(0), beside: None }))
    }

    /// The same sink with a second pipeline: another address of the same system.
    #[must_use]
    pub fn beside(self, other: Self) -> Self {
        Self(Arc::new(Inner {
            pipeline: self.0.pipeline.clone(),
            takes: self.0.takes,
            skipped: AtomicU64::new(0),
            beside: Some(other),
        }))
    }

    pub(crate) fn flatten(self) -> Vec<Self> {
        let beside = self.0.beside.clone();
        std::iter::once(self).chain(beside.into_iter().flat_map(Self::flatten)).collect()
    }

    pub(crate) fn needs_client_id(&self) -> bool {
        self.0.takes == Takes::GoogleAnalytics
    }

    pub(crate) fn is_analytics(&self) -> bool {
        !matches!(self.0.takes, Takes::All | Takes::Erasures)
    }

    pub(crate) fn takes_people(&self) -> bool {
        self.0.takes == Takes::People
    }

    pub(crate) fn takes_erasures(&self) -> bool {
        matches!(self.0.takes, Takes::People | Takes::Erasures)
    }

    /// Whether it counts as skipped where it is not admitted: it is of the kind that the sink is for.
    pub(crate) fn misses(&self, record: &Record) -> bool {
        match self.0.takes {
            Takes::All | Takes::Analytics | Takes::GoogleAnalytics => record.kind.is_event(),
            Takes::People => !record.kind.is_event(),
            Takes::Erasures => false,
        }
    }

    /// Whether the sink takes it.
    pub(crate) fn admits(&self, record: &Record) -> bool {
        let visitor = record.context.visitor.as_deref();
        let allowed = visitor.is_none_or(|visitor| visitor.consent.allows_analytics());
        let is_event = record.kind.is_event();
        match self.0.takes {
            Takes::All => is_event,
            Takes::Analytics => is_event && allowed,
            Takes::GoogleAnalytics => is_event && allowed && visitor.is_some_and(|visitor| visitor.client_id.is_some()),
            // To be forgotten needs no consent.
            Takes::People => !is_event && (allowed || record.kind == crate::record::Kind::PersonDelete),
            Takes::Erasures => record.kind == crate::record::Kind::PersonDelete,
        }
    }

    pub(crate) fn offer(&self, tracked: &Tracked) {
        if self.admits(&tracked.0) {
            self.0.pipeline.push(tracked.clone());
        } else if self.misses(&tracked.0) {
            self.skip();
        }
    }

    pub(crate) fn skip(&self) {
        self.0.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pipeline(&self) -> &Pipeline<Tracked> {
        &self.0.pipeline
    }

    pub(crate) fn name(&self) -> &str {
        self.0.pipeline.name()
    }

    pub(crate) fn skipped(&self) -> (String, u64) {
        (self.name().to_owned(), self.0.skipped.load(Ordering::Relaxed))
    }

    pub(crate) fn stats(&self, counts: Option<&Counts>) -> OutletStats {
        let queue = self.0.pipeline.stats();
        let read = |count: fn(&Counts) -> &AtomicU64| counts.map_or(0, |counts| count(counts).load(Ordering::Relaxed));
        let dead = read(|counts| &counts.dead);
        OutletStats {
            sink: self.name().to_owned(),
            delivered: queue.exported,
            dead,
            dropped: queue.dropped_total().saturating_sub(dead),
            in_doubt: read(|counts| &counts.in_doubt),
            skipped: self.0.skipped.load(Ordering::Relaxed),
            backlog: (queue.queued_items, queue.queued_bytes),
            oldest: None,
            dead_letters: counts.map_or(0, |counts| counts.remembered.count()),
        }
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("sink", &self.name()).field("takes", &self.0.takes).finish()
    }
}
