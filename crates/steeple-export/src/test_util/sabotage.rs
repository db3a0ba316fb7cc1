use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Instant, SystemTime},
};

use steeple_scrub::Scrubbed;

use crate::{Answer, DropReason, Exporter, Protocol, Reason, Request, Response};

/// A hook of [`Protocol`] or [`Exporter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Scrub,
    Admit,
    Prepare,
    Encode,
    Sign,
    Export,
    Judge,
    Conclude,
    Tick,
    Stored,
    Dropped,
    Drop,
}

impl Hook {
    /// Those of a protocol that cost an item when they panic.
    pub(super) const COSTLY: [Self; 5] = [Self::Scrub, Self::Admit, Self::Encode, Self::Sign, Self::Judge];
}

/// Lets one hook of a protocol or an exporter panic, for as long as the shared count lasts.
pub(super) struct Sabotaged<P> {
    pub(super) inner: P,
    pub(super) hook: Hook,
    pub(super) left: Arc<AtomicU32>,
}

impl<P> Sabotaged<P> {
    fn at(&self, hook: Hook) {
        if self.hook == hook
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        {
            panic!("sabotage of {hook:?}");
        }
    }
}

impl<P: Protocol> Protocol for Sabotaged<P> {
    type Item = P::Item;
    type Ready = P::Ready;

    // With several lanes, which of them panics would be chance.
    const IN_FLIGHT: usize = 1;
    const OFFLOAD_BYTES: usize = P::OFFLOAD_BYTES;

    fn size(item: &P::Item) -> usize {
        P::size(item)
    }

    fn scrub(&mut self, item: P::Item) -> Scrubbed<P::Ready> {
        self.at(Hook::Scrub);
        self.inner.scrub(item)
    }

    fn admit(&mut self, ready: &P::Ready) -> Result<(), DropReason> {
        self.at(Hook::Admit);
        self.inner.admit(ready)
    }

    fn encode(&mut self, batch: &[Scrubbed<P::Ready>]) -> Result<Request, Reason> {
        self.at(Hook::Encode);
        self.inner.encode(batch)
    }

    fn sign(&mut self, request: &mut Request, now: SystemTime) -> Result<(), Reason> {
        self.at(Hook::Sign);
        self.inner.sign(request, now)
    }

    fn judge(&mut self, response: &Response, batch: &[Scrubbed<P::Ready>]) -> Answer {
        self.at(Hook::Judge);
        self.inner.judge(response, batch)
    }

    fn tick(&mut self) -> Vec<P::Item> {
        self.at(Hook::Tick);
        self.inner.tick()
    }

    fn stored(&mut self, ready: &P::Ready) {
        self.at(Hook::Stored);
        self.inner.stored(ready);
    }

    fn dropped(&mut self, ready: &P::Ready, reason: DropReason, why: &Reason) {
        self.at(Hook::Dropped);
        self.inner.dropped(ready, reason, why);
    }
}

impl<E: Exporter> Exporter for Sabotaged<E> {
    type Item = E::Item;
    type Ready = E::Ready;

    // With several lanes, which of them panics would be chance.
    const IN_FLIGHT: usize = 1;
    const OFFLOAD_BYTES: usize = E::OFFLOAD_BYTES;

    fn size(item: &E::Item) -> usize {
        E::size(item)
    }

    fn scrub(&mut self, item: E::Item) -> Scrubbed<E::Ready> {
        self.at(Hook::Scrub);
        self.inner.scrub(item)
    }

    fn admit(&mut self, ready: &E::Ready) -> Result<(), DropReason> {
        self.at(Hook::Admit);
        self.inner.admit(ready)
    }

    fn prepare(&mut self, batch: &[Scrubbed<E::Ready>]) -> Result<(), Reason> {
        self.at(Hook::Prepare);
        self.inner.prepare(batch)
    }

    async fn export(&mut self, batch: &[Scrubbed<E::Ready>], deadline: Instant) -> Answer {
        self.at(Hook::Export);
        self.inner.export(batch, deadline).await
    }

    fn answer_bytes(&self) -> usize {
        self.inner.answer_bytes()
    }

    fn conclude(&mut self, batch: &[Scrubbed<E::Ready>], answer: Answer) -> Answer {
        self.at(Hook::Conclude);
        self.inner.conclude(batch, answer)
    }

    fn tick(&mut self) -> Vec<E::Item> {
        self.at(Hook::Tick);
        self.inner.tick()
    }

    fn stored(&mut self, ready: &E::Ready) {
        self.at(Hook::Stored);
        self.inner.stored(ready);
    }

    fn dropped(&mut self, ready: &E::Ready, reason: DropReason, why: &Reason) {
        self.at(Hook::Dropped);
        self.inner.dropped(ready, reason, why);
    }
}

impl<P> Drop for Sabotaged<P> {
    fn drop(&mut self) {
        self.at(Hook::Drop);
    }
}
