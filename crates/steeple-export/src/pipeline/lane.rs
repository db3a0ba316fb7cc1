//! One batch after the other, from the queue to its last verdict.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use steeple_core::clock;
use steeple_scrub::Scrubbed;

use super::{
    InDoubt, Shared, Unauthorized,
    gate::{Gate, Pass},
    queue::{Next, Origin, Outcome},
};
use crate::{
    Answer, DropReason, Exporter, Health, Reason, Retry, Verdict,
    error::BoxError,
    runtime::{self, Panicked, catch, catch_async},
};

/// What all lanes of a pipeline share.
pub(super) struct Settings<F> {
    pub(super) gate: Gate,
    pub(super) timeout: Duration,
    pub(super) retry: Retry,
    pub(super) unauthorized: Unauthorized,
    pub(super) in_doubt: InDoubt,
    /// Batches above this many bytes go to the helper thread. `None`: none of them.
    pub(super) offload: Option<usize>,
    pub(super) factory: Mutex<F>,
}

pub(super) struct Lane<E: Exporter, F> {
    shared: Arc<Shared<E::Item>>,
    settings: Arc<Settings<F>>,
    place: usize,
    exporter: Option<E>,
}

/// Makes the first exporter, reports the result, and runs the lanes to their ends.
pub(super) async fn run_all<E, F>(lanes: Vec<Lane<E, F>>, started: mpsc::SyncSender<Result<(), BoxError>>)
where
    E: Exporter,
    F: FnMut() -> Result<E, BoxError> + Send + 'static,
{
    let mut lanes = lanes.into_iter();
    let Some(mut first) = lanes.next() else { return };
    match first.make() {
        Ok(()) => {
            let _gone = started.send(Ok(()));
        }
        Err(error) => {
            let _gone = started.send(Err(error));
            return;
        }
    }
    let others: Vec<_> = lanes.map(|lane| tokio::spawn(lane.run())).collect();
    first.run().await;
    for other in others {
        let _caught_inside = other.await;
    }
}

/// Items that are sent together, and their attempts so far.
struct Chunk<R> {
    items: Vec<Scrubbed<R>>,
    sizes: Vec<usize>,
    attempts: u32,
    since: Instant,
    is_prepared: bool,
}

impl<R> Chunk<R> {
    fn bytes(&self) -> usize {
        self.sizes.iter().copied().fold(0, usize::saturating_add)
    }

    /// The same items as two chunks.
    fn halves(mut self) -> (Self, Self) {
        let middle = self.items.len().div_ceil(2);
        let second = Self {
            items: self.items.split_off(middle),
            sizes: self.sizes.split_off(middle),
            attempts: self.attempts,
            since: self.since,
            is_prepared: false,
        };
        self.is_prepared = false;
        (self, second)
    }
}

/// What a lane has in hand. Counted as lost when it is dropped with something left, which a panic alone can do.
struct Held<'a, T> {
    shared: &'a Shared<T>,
    lane: usize,
    items: usize,
    bytes: usize,
    /// The shutdown's time is up: the rest stays counted as left.
    is_left: bool,
}

impl<T> Held<'_, T> {
    fn settle(&mut self, items: usize, bytes: usize, outcome: Outcome) {
        if items == 0 {
            return;
        }
        self.items = self.items.saturating_sub(items);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.shared.queue.settle(self.lane, items, bytes, outcome);
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        if !self.is_left {
            self.settle(self.items, self.bytes, Outcome::Dropped(DropReason::Panicked));
        }
    }
}

impl<E, F> Lane<E, F>
where
    E: Exporter,
    F: FnMut() -> Result<E, BoxError> + Send + 'static,
{
    pub(super) fn new(shared: &Arc<Shared<E::Item>>, settings: &Arc<Settings<F>>, lane: usize) -> Self {
        Self { shared: Arc::clone(shared), settings: Arc::clone(settings), place: lane, exporter: None }
    }

    /// Makes the exporter, unless there is one.
    fn make(&mut self) -> Result<(), BoxError> {
        if self.exporter.is_none() {
            let mut factory = self.settings.factory.lock().unwrap_or_else(PoisonError::into_inner);
            let made = catch(&mut *factory);
            drop(factory);
            self.exporter = Some(made.map_err(|Panicked| "the exporter's factory panicked")??);
        }
        Ok(())
    }

    /// Forgets the exporter, whose destructor may panic too.
    fn unmake(&mut self) {
        if let Some(exporter) = self.exporter.take() {
            let _again = catch(move || drop(exporter));
        }
    }

    async fn run(mut self) {
        loop {
            match self.shared.queue.next(self.place).await {
                Next::Batch(batch) => {
                    if catch_async(self.deliver(batch)).await.is_err() {
                        self.unmake();
                        self.settings.gate.give_back();
                    }
                }
                Next::Tick(flush) => self.tick(flush),
                Next::End => break,
            }
        }
        self.shared.queue.lane_ended();
        self.unmake();
    }

    fn tick(&mut self, flush: u64) {
        if self.make().is_ok()
            && let Some(exporter) = &mut self.exporter
        {
            if let Ok(items) = catch(|| exporter.tick()) {
                for item in items {
                    match catch(|| E::size(&item)) {
                        Ok(size) => drop(self.shared.queue.push(item, size, Origin::Exporter)),
                        Err(Panicked) => self.shared.queue.drop_unpushed(DropReason::Panicked),
                    }
                }
            } else {
                self.unmake();
                self.say(Health::Failing("the exporter panicked".into()));
            }
        }
        self.shared.queue.ticked(flush);
    }

    /// Runs CPU-bound work with the exporter, here or on the helper thread. After a panic the exporter is gone.
    async fn work<T, W>(&mut self, bytes: usize, work: W) -> Result<T, Panicked>
    where
        T: Send + 'static,
        W: FnOnce(&mut E) -> T + Send + 'static,
    {
        let mut exporter = self.exporter.take().ok_or(Panicked)?;
        let work = move || {
            let done = catch(|| work(&mut exporter));
            (exporter, done)
        };
        let worked = if self.settings.offload.is_some_and(|limit| bytes > limit || limit == 0) {
            runtime::offload(work).await
        } else {
            catch(work)
        };
        let (exporter, done) = worked?;
        self.exporter = Some(exporter);
        if done.is_err() {
            self.unmake();
        }
        done
    }

    async fn deliver(&mut self, batch: Vec<(E::Item, usize)>) {
        let shared = Arc::clone(&self.shared);
        let bytes = batch.iter().fold(0, |sum: usize, (_, size)| sum.saturating_add(*size));
        let mut held = Held { shared: &shared, lane: self.place, items: batch.len(), bytes, is_left: false };
        let Some(first) = self.scrub(&mut held, batch, bytes).await else { return };
        let mut chunks = VecDeque::from([first]);
        while let Some(chunk) = chunks.pop_front() {
            if chunk.items.is_empty() {
                continue;
            }
            match self.settings.gate.pass(&shared.queue).await {
                Pass::Go => {}
                Pass::Stop if shared.queue.is_disabled() => {
                    self.lose(&mut held, chunk, DropReason::Disabled, &"the sink is off".into());
                    continue;
                }
                Pass::Stop => {
                    held.is_left = true;
                    return;
                }
            }
            self.attempt(&mut held, &mut chunks, chunk).await;
        }
    }

    /// Scrubs a batch, each item by itself: a panic costs the one that showed it.
    async fn scrub(
        &mut self,
        held: &mut Held<'_, E::Item>,
        batch: Vec<(E::Item, usize)>,
        bytes: usize,
    ) -> Option<Chunk<E::Ready>> {
        if let Err(error) = self.make() {
            self.say(Health::Failing(Reason::of_error(&*error)));
            held.settle(batch.len(), bytes, Outcome::Dropped(DropReason::Internal));
            return None;
        }
        let scrubbed = self.work(bytes, move |exporter| {
            let mut chunk = Chunk {
                items: Vec::with_capacity(batch.len()),
                sizes: Vec::with_capacity(batch.len()),
                attempts: 0,
                since: clock::now(),
                is_prepared: false,
            };
            let mut lost = Vec::new();
            for (item, size) in batch {
                match catch(|| exporter.scrub(item)) {
                    Ok(ready) => {
                        chunk.items.push(ready);
                        chunk.sizes.push(size);
                    }
                    Err(Panicked) => lost.push(size),
                }
            }
            (chunk, lost)
        });
        // A panic out here leaves everything to `held`.
        let (chunk, lost) = scrubbed.await.ok()?;
        if !lost.is_empty() {
            self.unmake();
        }
        for size in lost {
            held.settle(1, size, Outcome::Dropped(DropReason::Panicked));
        }
        Some(chunk)
    }

    /// Tries a chunk once. Its rest goes back to `chunks`.
    async fn attempt(
        &mut self,
        held: &mut Held<'_, E::Item>,
        chunks: &mut VecDeque<Chunk<E::Ready>>,
        mut chunk: Chunk<E::Ready>,
    ) {
        if self.exporter.is_none() {
            chunk.is_prepared = false;
            if let Err(error) = self.make() {
                let why = Reason::of_error(&*error);
                self.settings.gate.close(&self.settings.retry, None);
                return self.again(held, chunks, chunk, DropReason::Internal, &why);
            }
        }
        let Some(chunk) = self.admit(held, chunk) else { return };
        let Some(mut chunk) = self.prepare(held, chunks, chunk).await else { return };
        let now = clock::now();
        let by = now.checked_add(self.settings.timeout).unwrap_or(now);
        let deadline = self.shared.queue.flushes().1.map_or(by, |close_by| by.min(close_by));
        let Some(exporter) = &mut self.exporter else { return };
        let export = tokio::time::timeout_at(deadline.into(), catch_async(exporter.export(&chunk.items, deadline)));
        let answered = export.await.unwrap_or_else(|_elapsed| Ok(Answer::InDoubt("no answer in time".into())));
        let Ok(answer) = answered else {
            self.unmake();
            return self.panicked(held, &chunk);
        };
        let bytes = exporter.answer_bytes();
        let items = std::mem::take(&mut chunk.items);
        let concluded = self.work(bytes, move |exporter| {
            let answer = exporter.conclude(&items, answer);
            (items, answer)
        });
        let Ok((items, answer)) = concluded.await else { return self.panicked(held, &chunk) };
        chunk.items = items;
        self.apply(held, chunks, chunk, answer);
    }

    fn panicked(&self, held: &mut Held<'_, E::Item>, chunk: &Chunk<E::Ready>) {
        self.say(Health::Failing("the exporter panicked".into()));
        held.settle(chunk.sizes.len(), chunk.bytes(), Outcome::Dropped(DropReason::Panicked));
        self.settings.gate.open();
    }

    /// Removes items that must not be sent any more.
    fn admit(&mut self, held: &mut Held<'_, E::Item>, chunk: Chunk<E::Ready>) -> Option<Chunk<E::Ready>> {
        let Some(exporter) = &mut self.exporter else { return None };
        let verdicts: Result<Vec<_>, _> = catch(|| chunk.items.iter().map(|item| exporter.admit(item)).collect());
        let Ok(verdicts) = verdicts else {
            self.unmake();
            self.panicked(held, &chunk);
            return None;
        };
        if verdicts.iter().all(Result::is_ok) {
            return Some(chunk);
        }
        let (mut kept, mut refused) = (Vec::new(), Vec::new());
        let Chunk { items, sizes, attempts, since, is_prepared: _ } = chunk;
        for ((item, size), verdict) in items.into_iter().zip(sizes).zip(verdicts) {
            match verdict {
                Ok(()) => kept.push((item, size)),
                Err(reason) => refused.push((item, size, reason)),
            }
        }
        for (item, size, reason) in refused {
            self.lose_one(held, &item, size, reason, &"not admitted".into());
        }
        let (items, sizes): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
        if items.is_empty() {
            self.settings.gate.give_back();
            return None;
        }
        Some(Chunk { items, sizes, attempts, since, is_prepared: false })
    }

    /// Has the exporter encode what it has not encoded yet.
    async fn prepare(
        &mut self,
        held: &mut Held<'_, E::Item>,
        chunks: &mut VecDeque<Chunk<E::Ready>>,
        mut chunk: Chunk<E::Ready>,
    ) -> Option<Chunk<E::Ready>> {
        if chunk.is_prepared {
            return Some(chunk);
        }
        let items = std::mem::take(&mut chunk.items);
        let prepared = self.work(chunk.bytes(), move |exporter| {
            let prepared = exporter.prepare(&items);
            (items, prepared)
        });
        let Ok((items, prepared)) = prepared.await else {
            self.panicked(held, &chunk);
            return None;
        };
        chunk.items = items;
        match prepared {
            Ok(()) => {
                chunk.is_prepared = true;
                Some(chunk)
            }
            Err(why) => {
                self.settings.gate.give_back();
                self.split(held, chunks, chunk, DropReason::Internal, &why);
                None
            }
        }
    }

    fn apply(
        &mut self,
        held: &mut Held<'_, E::Item>,
        chunks: &mut VecDeque<Chunk<E::Ready>>,
        chunk: Chunk<E::Ready>,
        answer: Answer,
    ) {
        let settings = Arc::clone(&self.settings);
        match answer {
            Answer::Accepted => {
                settings.gate.open();
                self.say(Health::Ok);
                // Before a flush that waits for it goes on.
                self.arrived(&chunk.items);
                held.settle(chunk.items.len(), chunk.bytes(), Outcome::Exported);
            }
            Answer::Items(verdicts) => self.apply_each(held, chunks, chunk, verdicts),
            Answer::Retry { after, cause, why } => {
                settings.gate.close(&settings.retry, after);
                self.again(held, chunks, chunk, cause, &why);
            }
            Answer::InDoubt(why) => {
                settings.gate.close(&settings.retry, None);
                match settings.in_doubt {
                    InDoubt::Resend => self.again(held, chunks, chunk, DropReason::Network, &why),
                    InDoubt::Drop => {
                        self.say(Health::Failing(why.clone()));
                        self.lose(held, chunk, DropReason::InDoubt, &why);
                    }
                }
            }
            Answer::TooLarge => {
                settings.gate.open();
                self.split(held, chunks, chunk, DropReason::TooLarge, &"too large for the receiver".into());
            }
            Answer::Bisect(why) => {
                settings.gate.open();
                self.split(held, chunks, chunk, DropReason::Rejected, &why);
            }
            Answer::Rejected { cause, why } => {
                settings.gate.open();
                self.say(Health::Failing(why.clone()));
                self.lose(held, chunk, cause, &why);
            }
            Answer::Paused(why) => {
                self.say(Health::Paused(why.clone()));
                match settings.unauthorized {
                    Unauthorized::Drop => {
                        settings.gate.open();
                        self.lose(held, chunk, DropReason::Unauthorized, &why);
                    }
                    Unauthorized::Keep => {
                        settings.gate.close(&settings.retry, Some(settings.retry.cap));
                        // Waiting for a person counts neither as an attempt nor as age.
                        chunks.push_front(Chunk { since: clock::now(), ..chunk });
                    }
                }
            }
            Answer::Disabled(why) => {
                settings.gate.open();
                if let Some(health) = self.shared.queue.disable(why.clone()) {
                    log(&self.shared.name, &health);
                }
                self.lose(held, chunk, DropReason::Disabled, &why);
            }
        }
    }

    fn apply_each(
        &mut self,
        held: &mut Held<'_, E::Item>,
        chunks: &mut VecDeque<Chunk<E::Ready>>,
        chunk: Chunk<E::Ready>,
        verdicts: Vec<Verdict>,
    ) {
        let (attempts, since) = (chunk.attempts, chunk.since);
        let mut again = Chunk { items: Vec::new(), sizes: Vec::new(), attempts, since, is_prepared: false };
        // Before a flush that waits for it goes on.
        let items = chunk.items.len();
        let poison = verdicts.iter().take(items).find_map(|verdict| match verdict {
            Verdict::Poison(why) => Some(why.clone()),
            Verdict::Stored | Verdict::Retry => None,
        });
        let is_whole =
            verdicts.len() >= items && !verdicts.iter().take(items).any(|verdict| *verdict == Verdict::Retry);
        match poison {
            Some(why) => self.say(Health::Failing(why)),
            None if is_whole => self.say(Health::Ok),
            None => {}
        }
        let verdicts = verdicts.into_iter().chain(std::iter::repeat(Verdict::Retry));
        for ((item, size), verdict) in chunk.items.into_iter().zip(chunk.sizes).zip(verdicts) {
            match verdict {
                Verdict::Stored => {
                    self.arrived(std::slice::from_ref(&item));
                    held.settle(1, size, Outcome::Exported);
                }
                Verdict::Poison(why) => {
                    self.lose_one(held, &item, size, DropReason::Rejected, &why);
                }
                Verdict::Retry => {
                    again.items.push(item);
                    again.sizes.push(size);
                }
            }
        }
        if again.items.is_empty() {
            self.settings.gate.open();
        } else {
            self.settings.gate.close(&self.settings.retry, None);
            self.again(held, chunks, again, DropReason::Unavailable, &"the receiver took a part".into());
        }
    }

    /// Has a chunk tried again, if it may.
    fn again(
        &mut self,
        held: &mut Held<'_, E::Item>,
        chunks: &mut VecDeque<Chunk<E::Ready>>,
        mut chunk: Chunk<E::Ready>,
        cause: DropReason,
        why: &Reason,
    ) {
        self.say(Health::Failing(why.clone()));
        chunk.attempts = chunk.attempts.saturating_add(1);
        let age = clock::now().saturating_duration_since(chunk.since);
        // At the end of a shutdown nothing is given up: it is left, and reported as such.
        let is_closing = self.shared.queue.flushes().1.is_some_and(|by| by <= clock::now());
        if !is_closing && (chunk.attempts >= self.settings.retry.max_attempts || age >= self.settings.retry.max_age) {
            self.lose(held, chunk, cause, why);
        } else {
            chunks.push_front(chunk);
        }
    }

    /// Has both halves sent apart; a single item is lost.
    fn split(
        &mut self,
        held: &mut Held<'_, E::Item>,
        chunks: &mut VecDeque<Chunk<E::Ready>>,
        chunk: Chunk<E::Ready>,
        reason: DropReason,
        why: &Reason,
    ) {
        if chunk.items.len() <= 1 {
            self.say(Health::Failing(why.clone()));
            return self.lose(held, chunk, reason, why);
        }
        let (first, second) = chunk.halves();
        chunks.push_front(second);
        chunks.push_front(first);
    }

    fn arrived(&mut self, items: &[Scrubbed<E::Ready>]) {
        let Some(exporter) = &mut self.exporter else { return };
        if catch(|| items.iter().for_each(|item| exporter.stored(item))).is_err() {
            self.unmake();
        }
    }

    fn lose(&mut self, held: &mut Held<'_, E::Item>, chunk: Chunk<E::Ready>, reason: DropReason, why: &Reason) {
        for (item, size) in chunk.items.iter().zip(&chunk.sizes) {
            self.lose_one(held, item, *size, reason, why);
        }
        let _dropped = catch(move || drop(chunk));
    }

    fn lose_one(
        &mut self,
        held: &mut Held<'_, E::Item>,
        item: &Scrubbed<E::Ready>,
        size: usize,
        reason: DropReason,
        why: &Reason,
    ) {
        if let Some(exporter) = &mut self.exporter
            && catch(|| exporter.dropped(item, reason, why)).is_err()
        {
            self.unmake();
        }
        held.settle(1, size, Outcome::Dropped(reason));
    }

    /// Notes the receiver's health, and logs each change once.
    fn say(&self, health: Health) {
        if let Some(health) = self.shared.queue.set_health(health) {
            log(&self.shared.name, &health);
        }
    }
}

fn log(sink: &str, health: &Health) {
    runtime::aloud(|| match health {
        Health::Ok => tracing::info!(target: "steeple::export", sink, "the receiver accepts again"),
        Health::Failing(why) => tracing::warn!(target: "steeple::export", sink, %why, "the receiver does not accept"),
        Health::Paused(why) => {
            tracing::error!(target: "steeple::export", sink, %why, "the receiver does not accept the key");
        }
        Health::Disabled(why) => {
            tracing::error!(target: "steeple::export", sink, %why, "the receiver wants nothing more: the sink is off");
        }
    });
}
