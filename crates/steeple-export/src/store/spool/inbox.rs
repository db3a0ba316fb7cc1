//! Between those who append and the thread that writes: rows that wait, tickets, and what became of them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use steeple_core::clock;
use tokio::sync::Notify;

use super::{
    ToRow,
    db::{CLASSES, Usage},
    marks::Marks,
    options::{QueueLimits, SpoolStats},
};
use crate::{
    DropReason, Health,
    store::{Backlog, Settled},
};

/// Rows that are written in one transaction.
const GROUP: usize = 1_000;

/// Tickets whose loss is remembered.
const MAX_LOST: usize = 65_536;

/// Something that the thread does between two commits, with what writes.
pub(super) type Job<W> = Box<dyn FnOnce(&mut W) + Send>;

pub(super) struct Shared<W> {
    limits: QueueLimits,
    inbox: Mutex<Inbox<W>>,
    /// The thread waits for work.
    work: Condvar,
    /// All tickets up to this one are written, or lost.
    decided: AtomicU64,
    /// The same, and on the disk.
    synced: AtomicU64,
    lost: Mutex<BTreeMap<u64, DropReason>>,
    /// `decided` or `synced` moved, or something was lost.
    pub(super) moved: Notify,
    /// There may be something to read.
    pub(super) readable: Notify,
    pub(super) seen: Mutex<Seen>,
    marks: RwLock<Marks>,
}

/// What others see of the store.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) stats: SpoolStats,
    pub(super) backlogs: BTreeMap<Arc<str>, Backlog>,
}

/// A row that waits: its ticket, and what it weighs.
type Waiting = (u64, Arc<dyn ToRow>, usize);

struct Inbox<W> {
    classes: [VecDeque<Waiting>; CLASSES],
    items: usize,
    bytes: usize,
    /// The next ticket.
    next: u64,
    /// The last ticket that the thread took.
    taken: u64,
    settled: Vec<(u16, u64, Settled)>,
    jobs: VecDeque<Job<W>>,
    /// Up to here the disk has to have it.
    sync_to: u64,
    closed: bool,
    ended: bool,
}

/// What the thread takes at once.
pub(super) struct Work<W> {
    pub(super) rows: Vec<(u64, Arc<dyn ToRow>)>,
    pub(super) settled: Vec<(u16, u64, Settled)>,
    pub(super) jobs: VecDeque<Job<W>>,
    pub(super) sync: bool,
    /// Nothing more will come.
    pub(super) is_last: bool,
}

impl<W> Shared<W> {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            inbox: Mutex::new(Inbox {
                classes: std::array::from_fn(|_| VecDeque::new()),
                items: 0,
                bytes: 0,
                next: 1,
                taken: 0,
                settled: Vec::new(),
                jobs: VecDeque::new(),
                sync_to: 0,
                closed: false,
                ended: false,
            }),
            work: Condvar::new(),
            decided: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            lost: Mutex::default(),
            moved: Notify::new(),
            readable: Notify::new(),
            seen: Mutex::default(),
            marks: RwLock::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inbox<W>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of users.
    pub(super) fn marks(&self) -> RwLockReadGuard<'_, Marks> {
        self.marks.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn marks_mut(&self) -> RwLockWriteGuard<'_, Marks> {
        self.marks.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a row in. Full, the newest of the lowest class goes.
    pub(super) fn append(&self, row: Arc<dyn ToRow>, class: u8, size: usize) -> u64 {
        let place = Usage::class(class);
        let mut gone = Vec::new();
        let mut inbox = self.lock();
        let ticket = inbox.next;
        inbox.next = ticket.saturating_add(1);
        let limits = self.limits;
        let mut refused = inbox.closed.then_some(DropReason::Shutdown);
        if size > limits.max_bytes {
            refused = Some(DropReason::TooLarge);
        }
        while refused.is_none()
            && (inbox.items >= limits.max_items || inbox.bytes.saturating_add(size) > limits.max_bytes)
        {
            let lower = inbox.classes.iter_mut().take(place).find_map(VecDeque::pop_back);
            match lower {
                Some((ticket, row, size)) => {
                    inbox.items = inbox.items.saturating_sub(1);
                    inbox.bytes = inbox.bytes.saturating_sub(size);
                    gone.push((ticket, row));
                }
                None => refused = Some(DropReason::QueueFull),
            }
        }
        if refused.is_none()
            && let Some(waiting) = inbox.classes.get_mut(place)
        {
            waiting.push_back((ticket, row, size));
            inbox.items = inbox.items.saturating_add(1);
            inbox.bytes = inbox.bytes.saturating_add(size);
        }
        drop(inbox);
        {
            let mut seen = self.seen();
            seen.stats.appended = seen.stats.appended.saturating_add(1);
        }
        if let Some(reason) = refused {
            self.lose(ticket, reason);
        } else {
            self.work.notify_one();
        }
        for (ticket, row) in gone {
            self.lose(ticket, DropReason::QueueFull);
            drop(row);
        }
        ticket
    }

    pub(super) fn settle(&self, sink: u16, seq: u64, outcome: Settled) {
        self.lock().settled.push((sink, seq, outcome));
        self.work.notify_one();
    }

    /// Hands something to the thread. `Err`: it has ended.
    pub(super) fn submit(&self, job: Job<W>) -> Result<(), Job<W>> {
        let mut inbox = self.lock();
        if inbox.ended {
            return Err(job);
        }
        inbox.jobs.push_back(job);
        drop(inbox);
        self.work.notify_one();
        Ok(())
    }

    /// Has everything up to a ticket put onto the disk.
    pub(super) fn sync(&self, ticket: u64) {
        let mut inbox = self.lock();
        inbox.sync_to = inbox.sync_to.max(ticket);
        drop(inbox);
        self.work.notify_one();
    }

    /// Nothing more is taken in; what waits is still written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
    }

    /// The ticket of the newest row.
    pub(super) fn newest(&self) -> u64 {
        self.lock().next.saturating_sub(1)
    }

    /// Whether every row up to a ticket is written, or lost: none of them waits, nor is one being written.
    pub(super) fn is_decided(&self, ticket: u64) -> bool {
        let inbox = self.lock();
        let mut waiting = inbox.classes.iter().filter_map(|waiting| waiting.front());
        inbox.ended
            || !waiting.any(|(first, _, _)| *first <= ticket)
                && self.decided.load(Ordering::Acquire) >= inbox.taken.min(ticket)
    }

    pub(super) fn waiting(&self) -> (usize, usize) {
        let inbox = self.lock();
        (inbox.items, inbox.bytes)
    }

    /// The thread has ended: waiting callers get no row.
    pub(super) fn end(&self) {
        let mut inbox = self.lock();
        (inbox.closed, inbox.ended) = (true, true);
        let rows: Vec<_> = inbox.classes.iter_mut().flat_map(std::mem::take).collect();
        let jobs = std::mem::take(&mut inbox.jobs);
        (inbox.items, inbox.bytes) = (0, 0);
        drop(inbox);
        for (ticket, _row, _size) in rows {
            self.lose(ticket, DropReason::Shutdown);
        }
        drop(jobs);
        self.moved.notify_waiters();
        self.readable.notify_waiters();
    }

    /// Waits for work, and takes it. With `room` false, rows stay where they are: the last ones could not be written.
    pub(super) fn take(&self, room: bool, until: Instant) -> Work<W> {
        let mut inbox = self.lock();
        loop {
            let has_rows = room && inbox.items > 0;
            let must_sync = room && inbox.sync_to > self.synced.load(Ordering::Relaxed);
            let now = clock::now();
            if has_rows
                || must_sync
                || inbox.closed
                || !inbox.settled.is_empty()
                || !inbox.jobs.is_empty()
                || until <= now
            {
                break;
            }
            let wait = until.saturating_duration_since(now).max(Duration::from_millis(1));
            inbox = self.work.wait_timeout(inbox, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut rows = Vec::new();
        while room && rows.len() < GROUP {
            let Some((_, waiting)) = inbox
                .classes
                .iter_mut()
                .filter_map(|waiting| Some((waiting.front()?.0, waiting)))
                .min_by_key(|(ticket, _)| *ticket)
            else {
                break;
            };
            let Some((ticket, row, size)) = waiting.pop_front() else { break };
            inbox.items = inbox.items.saturating_sub(1);
            inbox.bytes = inbox.bytes.saturating_sub(size);
            rows.push((ticket, row));
            inbox.taken = ticket;
        }
        Work {
            rows,
            settled: std::mem::take(&mut inbox.settled),
            jobs: std::mem::take(&mut inbox.jobs),
            sync: inbox.sync_to > self.synced.load(Ordering::Relaxed),
            // What cannot be written at the end never is.
            is_last: inbox.closed && (inbox.items == 0 || !room),
        }
    }

    /// A row is lost.
    pub(super) fn lose(&self, ticket: u64, reason: DropReason) {
        self.drop_rows(reason, 1);
        {
            let mut seen = self.seen();
            if let Some(count) = seen.stats.refused.get_mut(reason as usize) {
                *count = count.saturating_add(1);
            }
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.insert(ticket, reason);
        while lost.len() > MAX_LOST {
            lost.pop_first();
        }
        drop(lost);
        self.moved.notify_waiters();
    }

    /// Counts rows that damage took.
    pub(super) fn damaged(&self, rows: u64) {
        if rows == 0 {
            return;
        }
        {
            let mut seen = self.seen();
            seen.stats.damaged = seen.stats.damaged.saturating_add(rows);
        }
        self.drop_rows(DropReason::Internal, rows);
    }

    /// Counts rows that are lost, and whose tickets are known no more.
    pub(super) fn drop_rows(&self, reason: DropReason, rows: u64) {
        let mut seen = self.seen();
        if let Some(count) = seen.stats.dropped.get_mut(reason as usize) {
            *count = count.saturating_add(rows);
        }
    }

    /// Everything up to this ticket is written, or lost.
    pub(super) fn decide(&self, ticket: u64, synced: bool) {
        self.decided.fetch_max(ticket, Ordering::AcqRel);
        if synced {
            self.synced.fetch_max(self.decided.load(Ordering::Acquire), Ordering::AcqRel);
        }
        self.moved.notify_waiters();
    }

    /// What became of a row. `None`: that is open.
    pub(super) fn look(&self, ticket: u64, synced: bool) -> Option<Result<(), DropReason>> {
        if let Some(reason) = self.lost.lock().unwrap_or_else(PoisonError::into_inner).get(&ticket) {
            return Some(Err(*reason));
        }
        let level = if synced { &self.synced } else { &self.decided };
        (level.load(Ordering::Acquire) >= ticket).then_some(Ok(()))
    }

    /// Sets how the store does. Returns whether that is new.
    pub(super) fn set_health(&self, health: Health) -> bool {
        let mut seen = self.seen();
        let is_new = seen.stats.health != health;
        seen.stats.health = health;
        is_new
    }
}
