//! What becomes of events at one sink: counted, and settled in the store where there is one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use steeple_export::{Answer, DropReason, Exporter, InDoubt, Reason};
use steeple_scrub::Scrubbed;

use crate::{Outgoing, Tracked, dead::Remembered};

/// What became of the events of one sink.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) delivered: AtomicU64,
    pub(crate) dead: AtomicU64,
    pub(crate) in_doubt: AtomicU64,
    /// Whether users' consent is asked before each attempt.
    pub(crate) is_analytics: AtomicBool,
    /// Dead letters that no store keeps.
    pub(crate) remembered: Remembered,
}

impl Counts {
    pub(crate) fn set_analytics(&self, is_analytics: bool) {
        self.is_analytics.store(is_analytics, Ordering::Relaxed);
    }
}

/// How a sink of the outbox is fed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feeding {
    pub(crate) in_doubt: InDoubt,
    /// Events that may be sent twice in any case: the receiver notices.
    pub(crate) is_idempotent: fn(&Outgoing) -> bool,
}

impl Default for Feeding {
    fn default() -> Self {
        Self { in_doubt: InDoubt::Resend, is_idempotent: |_event| true }
    }
}

/// A sink as the context knows it.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    #[cfg(feature = "outbox")]
    pub(crate) outbox: Option<(crate::hold::Outbox, steeple_export::store::spool::SinkId)>,
    pub(crate) feeding: Feeding,
    pub(crate) counts: Arc<Counts>,
}

/// Settles rows by what becomes of them.
pub(crate) struct Settling<E> {
    name: &'static str,
    inner: E,
    #[cfg(feature = "outbox")]
    outbox: Option<(crate::hold::Outbox, steeple_export::store::spool::SinkId)>,
    feeding: Feeding,
    counts: Arc<Counts>,
}

impl<E> Settling<E> {
    pub(crate) fn new(name: &'static str, inner: E, registered: &Registered) -> Self {
        Self {
            name,
            inner,
            #[cfg(feature = "outbox")]
            outbox: registered.outbox.clone(),
            feeding: registered.feeding,
            counts: Arc::clone(&registered.counts),
        }
    }
}

impl<E> Settling<E> {
    /// Whether an event that is lost to its pipeline is a dead letter: its receiver will never take it.
    fn is_dead(&self, event: &Outgoing, reason: DropReason, why: &Reason) -> bool {
        #[cfg(feature = "outbox")]
        if let Some(hold) = &event.record.hold {
            return hold.lose(reason, why);
        }
        let is_dead =
            matches!(reason, DropReason::Rejected | DropReason::TooLarge | DropReason::Internal | DropReason::Expired);
        if is_dead {
            self.counts.remembered.add(self.name, &event.record, why.as_str());
        }
        is_dead
    }
}

impl<E: Exporter<Item = Tracked, Ready = Outgoing>> Exporter for Settling<E> {
    type Item = Tracked;
    type Ready = Outgoing;
    const IN_FLIGHT: usize = E::IN_FLIGHT;
    const OFFLOAD_BYTES: usize = E::OFFLOAD_BYTES;

    fn size(item: &Tracked) -> usize {
        E::size(item)
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        self.inner.scrub(item)
    }

    fn admit(&mut self, event: &Outgoing) -> Result<(), DropReason> {
        #[cfg(feature = "outbox")]
        if self.counts.is_analytics.load(Ordering::Relaxed)
            // To be forgotten needs no consent.
            && event.record.kind != crate::record::Kind::PersonDelete
            && event.record.hold.as_ref().is_some_and(crate::hold::Hold::is_revoked)
        {
            return Err(DropReason::NoConsent);
        }
        self.inner.admit(event)
    }

    fn prepare(&mut self, batch: &[Scrubbed<Outgoing>]) -> Result<(), Reason> {
        self.inner.prepare(batch)
    }

    async fn export(&mut self, batch: &[Scrubbed<Outgoing>], deadline: Instant) -> Answer {
        if self.feeding.in_doubt == InDoubt::Resend {
            return self.inner.export(batch, deadline).await;
        }
        #[cfg(feature = "outbox")]
        if let Some((outbox, sink)) = &self.outbox {
            let seqs = batch.iter().filter_map(|event| Some(event.record.hold.as_ref()?.seq())).collect();
            if let Err(error) = outbox.spool.attempt(*sink, seqs).await {
                return Answer::retry(DropReason::Unavailable, Reason::of_error(&error));
            }
        }
        let answer = self.inner.export(batch, deadline).await;
        if let Answer::InDoubt(why) = &answer
            && batch.iter().all(|event| (self.feeding.is_idempotent)(event))
        {
            return Answer::retry(DropReason::Network, why.clone());
        }
        answer
    }

    fn answer_bytes(&self) -> usize {
        self.inner.answer_bytes()
    }

    fn conclude(&mut self, batch: &[Scrubbed<Outgoing>], answer: Answer) -> Answer {
        let answer = self.inner.conclude(batch, answer);
        if matches!(answer, Answer::InDoubt(_)) {
            self.counts.in_doubt.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        answer
    }

    fn tick(&mut self) -> Vec<Tracked> {
        self.inner.tick()
    }

    fn stored(&mut self, event: &Outgoing) {
        self.counts.delivered.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "outbox")]
        if let Some(hold) = &event.record.hold {
            hold.settle(steeple_export::store::Settled::Stored);
        }
        self.inner.stored(event);
    }

    fn dropped(&mut self, event: &Outgoing, reason: DropReason, why: &Reason) {
        if self.is_dead(event, reason, why) {
            self.counts.dead.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.dropped(event, reason, why);
    }
}
