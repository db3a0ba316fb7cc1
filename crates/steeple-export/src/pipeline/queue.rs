//! Items that wait or are being sent, and counts of the others. One lock, never held across user code.

use std::{
    collections::VecDeque,
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use steeple_core::clock;
use tokio::sync::Notify;

use crate::{DropReason, Flush, FlushReport, Health, Reason, Stats, runtime};

/// How much waits, how long, and how much is sent at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_items: usize,
    pub(crate) max_bytes: usize,
    pub(crate) batch_items: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) batch_delay: Duration,
    pub(crate) tick: Option<Duration>,
    /// Trouble is logged at most this often.
    pub(crate) trouble_interval: Duration,
}

/// A queue whose losses are counted and whose emptying can be waited for.
pub(crate) struct Queue<T> {
    limits: Limits,
    state: Mutex<State<T>>,
    /// There may be something to do for a lane.
    work: Notify,
    /// A flush or a shutdown has begun: waiting ends.
    pub(crate) hurry: Notify,
    /// Items are settled.
    settled: Condvar,
}

struct State<T> {
    waiting: VecDeque<(T, usize)>,
    waiting_bytes: usize,
    waiting_since: Option<Instant>,
    /// How many items ever went into the queue: the place of the next one.
    next_place: u64,
    lanes: Vec<Lane>,
    accepted: u64,
    exported: u64,
    dropped: [u64; DropReason::ALL.len()],
    /// Everything before this place is to be sent at once.
    flush_to: u64,
    flushes: u64,
    /// Up to which flush the exporter has made its items, and the place behind them.
    ticked: u64,
    ticked_to: u64,
    tick_at: Option<Instant>,
    closed: bool,
    /// When a shutdown stops waiting.
    close_by: Option<Instant>,
    /// Lanes that take batches. None left: nothing will ever be settled.
    running: usize,
    health: Health,
    /// When trouble was last logged, and whether that is still the last word.
    trouble_logged: Option<Instant>,
    is_trouble_last: bool,
}

/// What one lane has in hand.
#[derive(Clone, Copy, Default)]
struct Lane {
    first: u64,
    items: usize,
    bytes: usize,
}

/// Who pushes an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Handle,
    /// The exporter, on a tick: the last of them comes after the queue was closed.
    Exporter,
}

/// What a lane does next.
pub(crate) enum Next<T> {
    Batch(Vec<(T, usize)>),
    /// The exporter makes items, for this flush.
    Tick(u64),
    End,
}

impl<T> Queue<T> {
    pub(crate) fn new(limits: Limits, lanes: usize) -> Self {
        Self {
            limits,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                waiting_since: None,
                next_place: 0,
                lanes: vec![Lane::default(); lanes],
                accepted: 0,
                exported: 0,
                dropped: [0; DropReason::ALL.len()],
                flush_to: 0,
                flushes: 0,
                ticked: 0,
                ticked_to: 0,
                tick_at: limits.tick.and_then(|every| clock::now().checked_add(every)),
                closed: false,
                close_by: None,
                running: lanes,
                health: Health::Ok,
                trouble_logged: None,
                is_trouble_last: false,
            }),
            work: Notify::new(),
            hurry: Notify::new(),
            settled: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an item in, or counts it as dropped and hands it back.
    pub(crate) fn push(&self, item: T, size: usize, origin: Origin) -> Result<(), (T, DropReason)> {
        let mut state = self.lock();
        state.accepted = state.accepted.saturating_add(1);
        if let Some(reason) = state.refuses(&self.limits, size, origin) {
            state.drop_items(reason, 1);
            drop(state);
            return Err((item, reason));
        }
        state.waiting.push_back((item, size));
        state.waiting_bytes = state.waiting_bytes.saturating_add(size);
        state.next_place = state.next_place.saturating_add(1);
        let wakes = state.waiting.len() == 1
            || state.waiting.len() >= self.limits.batch_items
            || state.waiting_bytes >= self.limits.batch_bytes;
        drop(state);
        if wakes {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Counts an item that never got this far.
    pub(crate) fn drop_unpushed(&self, reason: DropReason) {
        let mut state = self.lock();
        state.accepted = state.accepted.saturating_add(1);
        state.drop_items(reason, 1);
    }

    /// Waits for something to do.
    pub(crate) async fn next(&self, lane: usize) -> Next<T> {
        loop {
            let mut work = std::pin::pin!(self.work.notified());
            // Whatever is pushed from here on is noticed.
            work.as_mut().enable();
            let until = match self.look(lane) {
                Look::Do(next) => return next,
                Look::Wait(until) => until,
            };
            match until {
                Some(until) => {
                    let _either = tokio::time::timeout_at(until.into(), work).await;
                }
                None => work.await,
            }
        }
    }

    fn look(&self, lane: usize) -> Look<T> {
        let mut state = self.lock();
        let now = clock::now();
        if state.closed && state.close_by.is_some_and(|by| by <= now) {
            return Look::Do(Next::End);
        }
        let mut wake_at = None;
        if lane == 0
            && let Some(every) = self.limits.tick
        {
            if state.ticked < state.flushes || state.tick_at.is_some_and(|at| at <= now) {
                state.tick_at = now.checked_add(every);
                return Look::Do(Next::Tick(state.flushes));
            }
            wake_at = state.tick_at;
        }
        let is_full = state.waiting.len() >= self.limits.batch_items || state.waiting_bytes >= self.limits.batch_bytes;
        let hurries = state.closed || state.flush_to > state.front();
        if state.waiting.is_empty() {
            state.waiting_since = None;
            if state.closed && self.has_ticked(&state) {
                return Look::Do(Next::End);
            }
            return Look::Wait(wake_at);
        }
        if !is_full && !hurries {
            let since = *state.waiting_since.get_or_insert(now);
            if let Some(ready_at) = since.checked_add(self.limits.batch_delay).filter(|at| *at > now) {
                return Look::Wait(Some(wake_at.map_or(ready_at, |at| at.min(ready_at))));
            }
        }
        let batch = state.take(&self.limits, lane);
        state.waiting_since = None;
        let has_more = !state.waiting.is_empty();
        drop(state);
        if has_more {
            self.work.notify_one();
        }
        Look::Do(Next::Batch(batch))
    }

    fn has_ticked(&self, state: &State<T>) -> bool {
        self.limits.tick.is_none() || state.ticked >= state.flushes
    }

    /// The items of a flush's tick are in the queue.
    pub(crate) fn ticked(&self, flush: u64) {
        let mut state = self.lock();
        state.ticked = state.ticked.max(flush);
        state.ticked_to = state.next_place;
        if flush > 0 {
            state.flush_to = state.flush_to.max(state.next_place);
        }
        drop(state);
        self.work.notify_one();
        self.settled.notify_all();
    }

    /// Items arrived, or were dropped.
    pub(crate) fn settle(&self, lane: usize, items: usize, bytes: usize, outcome: Outcome) {
        let mut state = self.lock();
        if let Some(lane) = state.lanes.get_mut(lane) {
            lane.items = lane.items.saturating_sub(items);
            lane.bytes = lane.bytes.saturating_sub(bytes);
        }
        match outcome {
            Outcome::Exported => state.exported = state.exported.saturating_add(items as u64),
            Outcome::Dropped(reason) => state.drop_items(reason, items as u64),
        }
        drop(state);
        self.settled.notify_all();
    }

    /// Changes the health. Returns it if it is to be logged: another kind than before, and trouble no more often than the limits say.
    pub(crate) fn set_health(&self, health: Health) -> Option<Health> {
        let mut state = self.lock();
        if matches!(state.health, Health::Disabled(_)) {
            return None;
        }
        let is_change = mem::discriminant(&state.health) != mem::discriminant(&health);
        let is_logged = is_change && state.logs(&health, self.limits.trouble_interval);
        let shown = is_logged.then(|| health.clone());
        let before = mem::replace(&mut state.health, health);
        drop(state);
        drop(before);
        shown
    }

    /// Drops everything, now and from now on.
    pub(crate) fn disable(&self, why: Reason) -> Option<Health> {
        let changed = self.set_health(Health::Disabled(why));
        let mut state = self.lock();
        let waiting = mem::take(&mut state.waiting);
        state.waiting_bytes = 0;
        let items = waiting.len() as u64;
        state.drop_items(DropReason::Disabled, items);
        drop(state);
        // Destructors of items run without the lock.
        let _dropped = runtime::catch(move || drop(waiting));
        self.settled.notify_all();
        changed
    }

    pub(crate) fn is_disabled(&self) -> bool {
        matches!(self.lock().health, Health::Disabled(_))
    }

    /// How many flushes have begun, and when a shutdown stops waiting.
    pub(crate) fn flushes(&self) -> (u64, Option<Instant>) {
        let state = self.lock();
        (state.flushes, state.close_by)
    }

    pub(crate) fn begin_flush(&self, deadline: Instant, close: bool) -> Flush {
        let mut state = self.lock();
        state.flushes = state.flushes.saturating_add(1);
        let target = state.next_place;
        state.flush_to = state.flush_to.max(target);
        if close {
            state.closed = true;
            // An earlier shutdown has waited already.
            state.close_by = Some(state.close_by.map_or(deadline, |by| by.min(deadline)));
        }
        let marks = [target, state.flushes, state.exported, state.dropped_total()];
        drop(state);
        self.wake_all();
        Flush::new(deadline, marks)
    }

    /// The last handle is gone: everything queued is still sent, and nothing more comes.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if !state.closed {
            state.closed = true;
            state.flushes = state.flushes.saturating_add(1);
        }
        drop(state);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.work.notify_waiters();
        // For a lane that is about to wait.
        self.work.notify_one();
        self.hurry.notify_waiters();
    }

    /// A lane has ended.
    pub(crate) fn lane_ended(&self) {
        let mut state = self.lock();
        state.running = state.running.saturating_sub(1);
        drop(state);
        self.settled.notify_all();
        // The others have the same reason to end.
        self.work.notify_one();
    }

    pub(crate) fn wait(&self, name: &str, flush: &Flush) -> FlushReport {
        let [target, flushes, exported, dropped] = flush.marks();
        let mut state = self.lock();
        loop {
            let target = if self.limits.tick.is_some() && state.ticked >= flushes {
                target.max(state.ticked_to)
            } else {
                target
            };
            let waits_for_tick = self.limits.tick.is_some() && state.ticked < flushes;
            let is_done = state.settled_to() >= target && !waits_for_tick;
            let left = flush.deadline().saturating_duration_since(clock::now());
            // The thread that sends cannot wait for itself.
            if is_done || left.is_zero() || state.running == 0 || runtime::on_export_thread() {
                let left = state.left_before(target);
                let exported = state.exported.saturating_sub(exported);
                let dropped = state.dropped_total().saturating_sub(dropped);
                drop(state);
                return FlushReport::new(name.to_owned().into(), exported, dropped, left);
            }
            state = self.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let inner = self.lock();
        let mut stats = Stats::new();
        stats.accepted = inner.accepted;
        stats.exported = inner.exported;
        stats.queued_items = inner.held_items().saturating_add(inner.waiting.len()) as u64;
        stats.queued_bytes = inner.held_bytes().saturating_add(inner.waiting_bytes) as u64;
        stats.health = inner.health.clone();
        for (reason, items) in DropReason::ALL.into_iter().zip(inner.dropped) {
            stats.add_dropped(reason, items);
        }
        drop(inner);
        stats
    }
}

enum Look<T> {
    Do(Next<T>),
    Wait(Option<Instant>),
}

/// What became of items.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Exported,
    Dropped(DropReason),
}

impl<T> State<T> {
    fn refuses(&self, limits: &Limits, size: usize, origin: Origin) -> Option<DropReason> {
        if matches!(self.health, Health::Disabled(_)) {
            return Some(DropReason::Disabled);
        }
        if self.closed && origin == Origin::Handle {
            return Some(DropReason::Shutdown);
        }
        if size > limits.max_bytes {
            return Some(DropReason::TooLarge);
        }
        let items = self.waiting.len().saturating_add(self.held_items());
        let bytes = self.waiting_bytes.saturating_add(self.held_bytes());
        let is_full = items >= limits.max_items || bytes.saturating_add(size) > limits.max_bytes;
        is_full.then_some(DropReason::QueueFull)
    }

    /// Whether a change of health is worth a line. A receiver that refuses every other batch is not worth one each.
    fn logs(&mut self, health: &Health, interval: Duration) -> bool {
        let now = clock::now();
        match health {
            Health::Ok => mem::take(&mut self.is_trouble_last),
            Health::Failing(_)
                if self.trouble_logged.is_some_and(|at| now.saturating_duration_since(at) < interval) =>
            {
                false
            }
            Health::Failing(_) | Health::Paused(_) | Health::Disabled(_) => {
                self.trouble_logged = Some(now);
                self.is_trouble_last = true;
                true
            }
        }
    }

    fn take(&mut self, limits: &Limits, lane: usize) -> Vec<(T, usize)> {
        let first = self.front();
        let mut batch = Vec::with_capacity(self.waiting.len().min(limits.batch_items));
        let mut bytes = 0_usize;
        while batch.len() < limits.batch_items
            && let Some((_, size)) = self.waiting.front()
        {
            let with_next = bytes.saturating_add(*size);
            // The first one goes whatever its size.
            if with_next > limits.batch_bytes && !batch.is_empty() {
                break;
            }
            bytes = with_next;
            batch.extend(self.waiting.pop_front());
        }
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        if let Some(lane) = self.lanes.get_mut(lane) {
            *lane = Lane { first, items: batch.len(), bytes };
        }
        batch
    }

    /// The place of the first item that waits.
    fn front(&self) -> u64 {
        self.next_place.saturating_sub(self.waiting.len() as u64)
    }

    fn busy(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().filter(|lane| lane.items > 0)
    }

    fn held_items(&self) -> usize {
        self.lanes.iter().fold(0, |sum, lane| lane.items.saturating_add(sum))
    }

    fn held_bytes(&self) -> usize {
        self.lanes.iter().fold(0, |sum, lane| lane.bytes.saturating_add(sum))
    }

    /// Everything before this place is settled.
    fn settled_to(&self) -> u64 {
        self.busy().map(|lane| lane.first).fold(self.front(), u64::min)
    }

    /// How many items before this place are not settled.
    fn left_before(&self, place: u64) -> u64 {
        let waiting = place.saturating_sub(self.front());
        let held = self.busy().filter(|lane| lane.first < place).fold(0, |sum, lane| lane.items.saturating_add(sum));
        waiting.saturating_add(held as u64)
    }

    fn drop_items(&mut self, reason: DropReason, items: u64) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count = count.saturating_add(items);
        }
    }

    fn dropped_total(&self) -> u64 {
        self.dropped.iter().copied().fold(0, u64::saturating_add)
    }
}
