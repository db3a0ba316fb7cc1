use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use steeple_core::clock;
use tokio::sync::Notify;

use super::{Backlog, DeadLetter, NewRow, Row, Settled, Store, StoreFuture};
use crate::{DropReason, Reason};

/// How much a [`MemoryStore`] keeps.
#[derive(Clone, Copy, Debug)]
#[must_use = "hand it to `MemoryStore::new`"]
pub struct MemoryLimits {
    max_items: usize,
    max_bytes: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { max_items: 65_536, max_bytes: 32 << 20 }
    }
}

impl MemoryLimits {
    /// 65,536 rows, 32 MiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many rows are kept, dead letters among them.
    pub const fn max_items(mut self, items: usize) -> Self {
        self.max_items = items;
        self
    }

    /// How many bytes are kept, dead letters among them.
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }
}

/// A [`Store`] in memory: what it holds is gone with the process.
///
/// Full, it refuses the newest row. Rows of the lowest classes are refused earlier: class 0 has half of the room, class 1 three
/// quarters, class 2 seven eighths, every other one all of it.
pub struct MemoryStore {
    limits: MemoryLimits,
    state: Mutex<State>,
    readable: Notify,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<u64, Kept>,
    bytes: usize,
    next: u64,
    sinks: BTreeMap<Box<str>, Cursor>,
}

struct Kept {
    row: Arc<NewRow>,
    /// Sinks that have not settled it, or have it as a dead letter.
    holders: usize,
}

#[derive(Default)]
struct Cursor {
    /// Rows from here on were never read.
    next: u64,
    reading: BTreeMap<u64, u32>,
    again: BTreeMap<u64, (u32, Instant)>,
    dead: BTreeMap<u64, Reason>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(limits: MemoryLimits) -> Self {
        Self { limits, state: Mutex::default(), readable: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(MemoryLimits::default())
    }
}

impl Store for MemoryStore {
    fn register<'a>(&'a self, sink: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let mut state = self.lock();
            let next = state.next;
            state.sinks.entry(sink.into()).or_insert_with(|| Cursor { next, ..Cursor::default() });
            Ok(())
        })
    }

    fn append(&self, row: NewRow) -> Result<u64, DropReason> {
        let size = row.size();
        let mut state = self.lock();
        let part = |whole: usize| match row.class {
            0 => whole / 2,
            1 => whole.saturating_sub(whole / 4),
            2 => whole.saturating_sub(whole / 8),
            _ => whole,
        };
        if size > self.limits.max_bytes {
            return Err(DropReason::TooLarge);
        }
        if state.rows.len() >= part(self.limits.max_items)
            || state.bytes.saturating_add(size) > part(self.limits.max_bytes)
        {
            return Err(DropReason::QueueFull);
        }
        let seq = state.next;
        state.next = seq.saturating_add(1);
        let holders = state.sinks.len();
        if holders > 0 {
            state.bytes = state.bytes.saturating_add(size);
            state.rows.insert(seq, Kept { row: Arc::new(row), holders });
        }
        drop(state);
        self.readable.notify_waiters();
        Ok(seq)
    }

    fn read<'a>(&'a self, sink: &'a str, max_items: usize, max_bytes: usize) -> StoreFuture<'a, Vec<Row>> {
        Box::pin(async move {
            let mut state = self.lock();
            let State { rows, sinks, .. } = &mut *state;
            let Some(cursor) = sinks.get_mut(sink) else { return Ok(Vec::new()) };
            let now = clock::now();
            let due = cursor.again.iter().filter(|(_, (_, at))| *at <= now).map(|(seq, (tries, _))| (*seq, *tries));
            let fresh = rows.range(cursor.next..).map(|(seq, _)| (*seq, 0));
            let mut out: Vec<Row> = Vec::new();
            let mut bytes = 0_usize;
            for (seq, tries) in due.chain(fresh) {
                let Some(kept) = rows.get(&seq) else { continue };
                bytes = bytes.saturating_add(kept.row.size());
                if out.len() >= max_items || (bytes > max_bytes && !out.is_empty()) {
                    break;
                }
                out.push(Row { seq, tries, row: Arc::clone(&kept.row) });
            }
            for row in &out {
                cursor.again.remove(&row.seq);
                cursor.reading.insert(row.seq, row.tries);
                cursor.next = cursor.next.max(row.seq.saturating_add(1));
            }
            Ok(out)
        })
    }

    fn settle(&self, sink: &str, seq: u64, outcome: Settled) {
        let mut state = self.lock();
        let Some(cursor) = state.sinks.get_mut(sink) else { return };
        // A row that was erased meanwhile, or is settled already.
        let Some(tries) = cursor.reading.remove(&seq) else { return };
        match outcome {
            Settled::Stored | Settled::Dropped => state.let_go(seq),
            Settled::Retry { after } => {
                let at = clock::now().checked_add(after).unwrap_or_else(clock::now);
                cursor.again.insert(seq, (tries.saturating_add(1), at));
            }
            Settled::Dead(why) => {
                cursor.dead.insert(seq, why);
            }
        }
        drop(state);
        self.readable.notify_waiters();
    }

    fn readable<'a>(&'a self, sink: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let mut changed = std::pin::pin!(self.readable.notified());
                changed.as_mut().enable();
                let until = {
                    let state = self.lock();
                    let Some(cursor) = state.sinks.get(sink) else { return Ok(()) };
                    let due = cursor.again.values().map(|(_, at)| *at).min();
                    if state.rows.range(cursor.next..).next().is_some() || due.is_some_and(|at| at <= clock::now()) {
                        return Ok(());
                    }
                    due
                };
                match until {
                    Some(until) => {
                        let _either = tokio::time::timeout_at(until.into(), changed).await;
                    }
                    None => changed.await,
                }
            }
        })
    }

    fn dead_letters<'a>(&'a self, sink: &'a str, max_items: usize) -> StoreFuture<'a, Vec<DeadLetter>> {
        Box::pin(async move {
            let state = self.lock();
            let Some(cursor) = state.sinks.get(sink) else { return Ok(Vec::new()) };
            let letters = cursor.dead.iter().filter_map(|(seq, why)| {
                Some(DeadLetter { seq: *seq, why: why.clone(), row: Arc::clone(&state.rows.get(seq)?.row) })
            });
            Ok(letters.take(max_items).collect())
        })
    }

    fn requeue<'a>(&'a self, sink: &'a str, seqs: &'a [u64]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut state = self.lock();
            let mut requeued = 0_u64;
            if let Some(cursor) = state.sinks.get_mut(sink) {
                let now = clock::now();
                for seq in seqs {
                    if cursor.dead.remove(seq).is_some() {
                        cursor.again.insert(*seq, (0, now));
                        requeued = requeued.saturating_add(1);
                    }
                }
            }
            drop(state);
            self.readable.notify_waiters();
            Ok(requeued)
        })
    }

    fn erase<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut state = self.lock();
            let erased: BTreeSet<u64> = state
                .rows
                .iter()
                .filter(|(_, kept)| kept.row.key.as_deref() == Some(key))
                .map(|(seq, _)| *seq)
                .collect();
            for seq in &erased {
                state.remove(*seq);
            }
            for cursor in state.sinks.values_mut() {
                cursor.reading.retain(|seq, _| !erased.contains(seq));
                cursor.again.retain(|seq, _| !erased.contains(seq));
                cursor.dead.retain(|seq, _| !erased.contains(seq));
            }
            Ok(erased.len() as u64)
        })
    }

    fn backlog(&self, sink: &str) -> Backlog {
        let state = self.lock();
        let Some(cursor) = state.sinks.get(sink) else { return Backlog::default() };
        let open = cursor.reading.keys().chain(cursor.again.keys()).filter_map(|seq| state.rows.get(seq));
        let open = open.chain(state.rows.range(cursor.next..).map(|(_, kept)| kept));
        let mut backlog = Backlog { dead: cursor.dead.len() as u64, ..Backlog::default() };
        for kept in open {
            backlog.items = backlog.items.saturating_add(1);
            backlog.bytes = backlog.bytes.saturating_add(kept.row.size() as u64);
            backlog.oldest = Some(backlog.oldest.map_or(kept.row.at, |oldest| oldest.min(kept.row.at)));
        }
        backlog
    }
}

impl State {
    fn let_go(&mut self, seq: u64) {
        let Some(kept) = self.rows.get_mut(&seq) else { return };
        kept.holders = kept.holders.saturating_sub(1);
        if kept.holders == 0 {
            self.remove(seq);
        }
    }

    fn remove(&mut self, seq: u64) {
        if let Some(kept) = self.rows.remove(&seq) {
            self.bytes = self.bytes.saturating_sub(kept.row.size());
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        let (rows, bytes) = (state.rows.len(), state.bytes);
        drop(state);
        f.debug_struct("MemoryStore").field("rows", &rows).field("bytes", &bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use steeple_scrub::Scrubbed;

    use super::*;

    fn row(class: u8, key: &str) -> NewRow {
        NewRow {
            id: "id".into(),
            at: Duration::from_secs(1),
            key: Some(key.as_bytes().into()),
            class,
            body: Scrubbed::from_application("{}".into()),
        }
    }

    fn run<T>(future: StoreFuture<'_, T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future).unwrap()
    }

    fn seqs(store: &MemoryStore, sink: &str, max: usize) -> Vec<u64> {
        run(store.read(sink, max, usize::MAX)).iter().map(|row| row.seq).collect()
    }

    #[test]
    fn each_sink_reads_every_row_once_until_it_is_settled() {
        let store = MemoryStore::default();
        for sink in ["a", "b"] {
            run(store.register(sink));
        }
        for _ in 0..3 {
            store.append(row(3, "u")).unwrap();
        }
        assert_eq!((seqs(&store, "a", 2), seqs(&store, "a", 9), seqs(&store, "a", 9)), (vec![0, 1], vec![2], vec![]));
        assert_eq!(seqs(&store, "b", 9), [0, 1, 2]);
        store.settle("a", 0, Settled::Stored);
        store.settle("a", 0, Settled::Stored);
        store.settle("a", 1, Settled::Retry { after: Duration::ZERO });
        store.settle("a", 2, Settled::Dead("no".into()));
        assert_eq!(seqs(&store, "a", 9), [1], "one that is to be tried again");
        for seq in 0..3 {
            store.settle("b", seq, Settled::Stored);
        }
        store.settle("a", 1, Settled::Dropped);
        assert_eq!(store.lock().rows.len(), 1, "the dead letter is kept");
        assert_eq!((store.backlog("a").items, store.backlog("a").dead, store.backlog("b")), (0, 1, Backlog::default()));
        assert_eq!(run(store.dead_letters("a", 9))[0].why.as_str(), "no");
        assert_eq!(run(store.requeue("a", &[2, 7])), 1);
        run(store.readable("a"));
        assert_eq!(seqs(&store, "a", 9), [2]);
        store.settle("a", 2, Settled::Stored);
        let state = store.lock();
        assert_eq!((state.rows.len(), state.bytes), (0, 0));
    }

    #[test]
    fn the_least_important_rows_are_refused_first() {
        let store = MemoryStore::new(MemoryLimits::new().max_items(8));
        run(store.register("a"));
        let accepted = |class| (0..9).take_while(|_| store.append(row(class, "u")).is_ok()).count();
        assert_eq!([0, 1, 2, 3].map(accepted), [4, 2, 1, 1]);
        assert_eq!(store.append(row(9, "u")), Err(DropReason::QueueFull));
        let small = MemoryStore::new(MemoryLimits::new().max_bytes(10));
        assert_eq!(small.append(row(9, "u")), Err(DropReason::TooLarge));
    }

    #[test]
    fn erasing_leaves_nothing_of_a_key() {
        let store = MemoryStore::default();
        run(store.register("a"));
        for key in ["u", "v", "u", "u"] {
            store.append(row(3, key)).unwrap();
        }
        assert_eq!(seqs(&store, "a", 3), [0, 1, 2]);
        store.settle("a", 0, Settled::Dead("no".into()));
        assert_eq!(run(store.erase(b"u")), 3);
        store.settle("a", 2, Settled::Retry { after: Duration::ZERO });
        assert_eq!(seqs(&store, "a", 9), Vec::<u64>::new());
        assert_eq!((store.backlog("a").items, store.backlog("a").dead), (1, 0));
    }
}
