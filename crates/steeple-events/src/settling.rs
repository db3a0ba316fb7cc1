//! What becomes of events at one sink: counted, and settled in the store where there is one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

#[cfg(feature = "outbox")]
use steeple_export::store::spool::Hold;
use steeple_export::{Answer, DropReason, Exporter, InDoubt, Reason};
use steeple_scrub::Scrubbed;

#[cfg(feature = "outbox")]
use crate::record::Kind;
use crate::{Outgoing, Tracked, dead::Remembered};

/// What became of the events of one sink.
#[derive(Debug, Default)]
pub(crate) struct Counts {
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
    is_durable: bool,
    feeding: Feeding,
    counts: Arc<Counts>,
}

impl<E> Settling<E> {
    pub(crate) fn new(name: &'static str, inner: E, registered: &Registered) -> Self {
        Self {
            name,
            inner,
            #[cfg(feature = "outbox")]
            is_durable: registered.outbox.is_some(),
            feeding: registered.feeding,
            counts: Arc::clone(&registered.counts),
        }
    }
}

impl<E> Settling<E> {
    /// An event is lost to its pipeline: a dead letter, if its receiver will never take it.
    fn lose(&self, event: &Outgoing, reason: DropReason, why: &Reason) {
        #[cfg(feature = "outbox")]
        if let Some(hold) = &event.record.hold {
            return hold.lost(reason, why);
        }
        if matches!(reason, DropReason::Rejected | DropReason::TooLarge | DropReason::Internal | DropReason::Expired) {
            self.counts.dead.fetch_add(1, Ordering::Relaxed);
            self.counts.remembered.add(self.name, &event.record, why.as_str());
        }
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
        // To be forgotten needs no consent.
        #[cfg(feature = "outbox")]
        if let Some(hold) = event.record.hold.as_ref().filter(|_| event.record.kind != Kind::PersonDelete)
            && (hold.is_erased() || self.counts.is_analytics.load(Ordering::Relaxed) && hold.is_revoked())
        {
            return Err(DropReason::NoConsent);
        }
        self.inner.admit(event)
    }

    fn prepare(&mut self, batch: &[Scrubbed<Outgoing>]) -> Result<(), Reason> {
        self.inner.prepare(batch)
    }

    async fn export(&mut self, batch: &[Scrubbed<Outgoing>], deadline: Instant) -> Answer {
        // What the receiver notices when it comes twice is simply sent again, also by the next process.
        #[cfg(feature = "outbox")]
        if self.is_durable {
            let risky = batch.iter().filter(|event| !(self.feeding.is_idempotent)(event));
            if let Err(error) = Hold::attempt(risky.filter_map(|event| event.record.hold.as_ref())).await {
                return Answer::retry(DropReason::Unavailable, Reason::of_error(&error));
            }
        }
        self.inner.export(batch, deadline).await
    }

    fn answer_bytes(&self) -> usize {
        self.inner.answer_bytes()
    }

    fn conclude(&mut self, batch: &[Scrubbed<Outgoing>], answer: Answer) -> Answer {
        let answer = self.inner.conclude(batch, answer);
        let Answer::InDoubt(why) = answer else { return answer };
        self.counts.in_doubt.fetch_add(batch.len() as u64, Ordering::Relaxed);
        // What the receiver notices when it comes twice is sent again whatever is set.
        if batch.iter().all(|event| (self.feeding.is_idempotent)(event)) {
            Answer::retry(DropReason::Network, why)
        } else {
            Answer::InDoubt(why)
        }
    }

    fn tick(&mut self) -> Vec<Tracked> {
        self.inner.tick()
    }

    fn stored(&mut self, event: &Outgoing) {
        #[cfg(feature = "outbox")]
        if let Some(hold) = &event.record.hold {
            hold.stored();
        }
        self.inner.stored(event);
    }

    fn dropped(&mut self, event: &Outgoing, reason: DropReason, why: &Reason) {
        self.lose(event, reason, why);
        self.inner.dropped(event, reason, why);
    }
}
