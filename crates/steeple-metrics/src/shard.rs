//! Counters that each thread writes in its own place, so that no cache line is fought over.
//!
//! A thread claims a slot at its first recording and gives it back when it ends, so that threads that come and go
//! leave nothing behind. A slot has one owner at a time, who adds with a plain load and store. Threads that find no free
//! slot share the last one, and pay for an atomic addition.

use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{
            AtomicU64, Ordering,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

/// One bit per slot that has an owner.
static CLAIMED: Slots = Slots(AtomicU64::new(0));

const UNCLAIMED: u8 = u8::MAX;

thread_local! {
    static CLAIM: Claim = const { Claim(Cell::new(UNCLAIMED)) };
}

/// How many slots have one owner at most; the slot after them is shared.
fn owned_slots() -> usize {
    static SLOTS: OnceLock<usize> = OnceLock::new();
    // Twice the cores: not only the runtime's workers end exchanges.
    *SLOTS.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        cores.saturating_mul(2).clamp(4, 64)
    })
}

/// A shared number: the real one, or the one of a model checker.
trait Word {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    fn fetch_and(&self, value: u64, order: Ordering) -> u64;
    fn exchange(&self, old: u64, new: u64, success: Ordering) -> Result<u64, u64>;
}

macro_rules! word {
    ($atomic:ty) => {
        impl Word for $atomic {
            #[inline]
            fn load(&self, order: Ordering) -> u64 {
                self.load(order)
            }

            #[inline]
            fn store(&self, value: u64, order: Ordering) {
                self.store(value, order);
            }

            #[inline]
            fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
                self.fetch_add(value, order)
            }

            #[inline]
            fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
                self.fetch_and(value, order)
            }

            #[inline]
            fn exchange(&self, old: u64, new: u64, success: Ordering) -> Result<u64, u64> {
                self.compare_exchange(old, new, success, Relaxed)
            }
        }
    };
}

word!(AtomicU64);

/// Adds to a counter whose only writer this thread is, or to one that it shares.
#[inline]
fn add<W: Word>(cell: &W, by: u64, owned: bool) {
    if owned {
        cell.store(cell.load(Relaxed).wrapping_add(by), Relaxed);
    } else {
        cell.fetch_add(by, Relaxed);
    }
}

/// Who owns which slot.
struct Slots<W = AtomicU64>(W);

impl<W: Word> Slots<W> {
    /// Takes a free slot below `limit`. What its last owner wrote is seen by the next one.
    fn claim(&self, limit: usize) -> Option<u8> {
        let mut taken = self.0.load(Relaxed);
        loop {
            let free = (!taken).trailing_zeros();
            if free as usize >= limit {
                return None;
            }
            match self.0.exchange(taken, taken | (1 << free), Acquire) {
                Ok(_) => return u8::try_from(free).ok(),
                Err(now) => taken = now,
            }
        }
    }

    fn release(&self, slot: u8) {
        self.0.fetch_and(!(1_u64 << (slot & 63)), Release);
    }
}

/// This thread's slot, given back when the thread ends.
struct Claim(Cell<u8>);

impl Claim {
    #[cold]
    fn claim(&self) -> u8 {
        let limit = owned_slots();
        let slot = CLAIMED.claim(limit).unwrap_or_else(|| u8::try_from(limit).unwrap_or(64));
        self.0.set(slot);
        slot
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let slot = self.0.get();
        if slot != UNCLAIMED && usize::from(slot) < owned_slots() {
            CLAIMED.release(slot);
        }
    }
}

/// The slot of this thread. The shared one on a thread whose thread-locals are gone already.
#[inline]
fn slot() -> Option<usize> {
    CLAIM
        .try_with(|claim| match claim.0.get() {
            UNCLAIMED => claim.claim(),
            slot => slot,
        })
        .ok()
        .map(usize::from)
}

/// Unused cells before and after a row: two cache lines, as processors fetch them in pairs, so that no
/// neighbour's counters share one with ours.
const PADDING: usize = 16;

/// A row of counters, once per slot. A slot's row is allocated when its thread first writes here.
pub(crate) struct Cells {
    rows: Box<[OnceLock<Box<[AtomicU64]>>]>,
    len: usize,
}

impl Cells {
    pub(crate) fn new(len: usize) -> Self {
        let slots = owned_slots().saturating_add(1);
        Self { rows: (0..slots).map(|_| OnceLock::new()).collect(), len }
    }

    /// The row that this thread writes to.
    #[inline]
    pub(crate) fn row(&self) -> Row<'_> {
        let shared = self.rows.len().saturating_sub(1);
        let slot = slot().unwrap_or(shared);
        let cells = self.rows.get(slot).map_or(&[][..], |row| row.get_or_init(|| self.new_row()));
        Row { cells, owned: slot < shared }
    }

    #[cold]
    fn new_row(&self) -> Box<[AtomicU64]> {
        let len = self.len.saturating_add(PADDING).saturating_add(PADDING);
        (0..len).map(|_| AtomicU64::new(0)).collect()
    }

    /// Adds to one counter.
    #[inline]
    pub(crate) fn add(&self, cell: usize, by: u64) {
        self.row().add(cell, by);
    }

    /// The sum of one counter over all slots. Wraps, so that what one thread adds another can take away.
    pub(crate) fn sum(&self, cell: usize) -> u64 {
        let cell = cell.saturating_add(PADDING);
        let cells = self.rows.iter().filter_map(|row| row.get()?.get(cell));
        cells.fold(0, |sum, cell| sum.wrapping_add(cell.load(Relaxed)))
    }

    /// Adds `out.len()` counters from `first` on to `out`.
    pub(crate) fn sum_into(&self, first: usize, out: &mut [u64]) {
        for row in self.rows.iter().filter_map(OnceLock::get) {
            let cells = row.get(first.saturating_add(PADDING)..).unwrap_or_default();
            for (sum, cell) in out.iter_mut().zip(cells) {
                *sum = sum.wrapping_add(cell.load(Relaxed));
            }
        }
    }

    /// Adds what other counters of the same layout have come to.
    pub(crate) fn add_all(&self, other: &Self) {
        let row = self.row();
        for cell in 0..self.len.min(other.len) {
            row.add(cell, other.sum(cell));
        }
    }

    /// Whether this is unwritten.
    pub(crate) fn is_untouched(&self) -> bool {
        self.rows.iter().all(|row| row.get().is_none())
    }
}

/// One thread's row of [`Cells`].
pub(crate) struct Row<'a> {
    cells: &'a [AtomicU64],
    owned: bool,
}

impl Row<'_> {
    #[inline]
    pub(crate) fn add(&self, cell: usize, by: u64) {
        let Some(cell) = self.cells.get(cell.wrapping_add(PADDING)) else { return };
        add(cell, by, self.owned);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn more_threads_than_slots_lose_nothing() {
        let cells = Arc::new(Cells::new(9));
        let threads: Vec<_> = (0..owned_slots() + 8)
            .map(|_| {
                let cells = Arc::clone(&cells);
                std::thread::spawn(move || {
                    for _ in 0..10_000 {
                        cells.add(0, 1);
                        cells.add(8, 2);
                    }
                })
            })
            .collect();
        let expected = threads.len() as u64 * 10_000;
        for thread in threads {
            thread.join().unwrap();
        }
        let mut both = [0; 9];
        cells.sum_into(0, &mut both);
        assert_eq!((cells.sum(0), cells.sum(8), both[0], both[8]), (expected, 2 * expected, expected, 2 * expected));
    }

    #[test]
    fn threads_that_come_and_go_leave_no_rows_behind() {
        let cells = Arc::new(Cells::new(1));
        for _ in 0..1_000 {
            let cells = Arc::clone(&cells);
            std::thread::spawn(move || cells.add(0, 1)).join().unwrap();
        }
        assert_eq!(cells.sum(0), 1_000);
        let rows = cells.rows.iter().filter(|row| row.get().is_some()).count();
        assert!(rows <= owned_slots() + 1, "{rows} rows for 1,000 threads");
    }

    #[test]
    fn a_thread_that_is_ending_still_counts() {
        struct Late(Arc<Cells>);
        impl Drop for Late {
            fn drop(&mut self) {
                self.0.add(0, 1);
            }
        }
        thread_local!(static LATE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) });
        let cells = Arc::new(Cells::new(1));
        for claim_first in [true, false] {
            let cells = Arc::clone(&cells);
            std::thread::spawn(move || {
                if claim_first {
                    cells.add(0, 1);
                }
                LATE.set(Some(Late(Arc::clone(&cells))));
                cells.add(0, 1);
            })
            .join()
            .unwrap();
        }
        assert_eq!(cells.sum(0), 5);
    }

    word!(loom::sync::atomic::AtomicU64);

    #[test]
    fn no_order_of_claims_writes_and_releases_loses_a_count() {
        use loom::{sync::atomic::AtomicU64, thread};

        loom::model(|| {
            // One slot for two threads: they take turns in it, or one of them goes to the shared counter.
            let state = loom::sync::Arc::new((Slots(AtomicU64::new(0)), AtomicU64::new(0), AtomicU64::new(0)));
            let count = |state: &(Slots<AtomicU64>, AtomicU64, AtomicU64)| {
                if let Some(slot) = state.0.claim(1) {
                    add(&state.1, 1, true);
                    state.0.release(slot);
                } else {
                    add(&state.2, 1, false);
                }
            };
            let threads = [(); 2].map(|()| {
                let state = loom::sync::Arc::clone(&state);
                thread::spawn(move || count(&state))
            });
            count(&state);
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(state.1.load(Relaxed) + state.2.load(Relaxed), 3);
        });
    }

    #[test]
    fn a_slot_has_one_owner() {
        let slots = Slots(AtomicU64::new(0));
        assert_eq!((slots.claim(2), slots.claim(2), slots.claim(2)), (Some(0), Some(1), None));
        slots.release(0);
        assert_eq!(slots.claim(2), Some(0));
    }
}
