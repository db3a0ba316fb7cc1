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
        cores.saturating_mul(2).clamp(NEAR, 64)
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

/// The slot of this thread. `None` on a thread whose thread-locals are gone already: the shared one.
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

/// Cells of two cache lines, as processors fetch them in pairs. A row begins with such a pair and has all of its last one, so that no
/// neighbor's counters share one with ours.
const PAIR: usize = 16;

/// A row, with room for it to begin with a pair.
type Cached = OnceLock<Box<[AtomicU64]>>;

/// The cells of a row, from its first pair on.
#[inline]
fn aligned(row: &[AtomicU64]) -> &[AtomicU64] {
    const CELL: u32 = size_of::<AtomicU64>().ilog2();
    let before = row.as_ptr().addr().wrapping_neg().wrapping_shr(CELL) % PAIR;
    row.get(before..).unwrap_or_default()
}

/// How many slots have their rows beside the cells' other data: one step less than for the others, of which there are none on two
/// cores. Each of these has an owner: see [`owned_slots`].
const NEAR: usize = 4;

/// A row of counters, once per slot. A slot's row is allocated when its thread first writes here.
pub(crate) struct Cells {
    near: [Cached; NEAR],
    /// Of the slots after those. The last is shared.
    far: Box<[Cached]>,
    len: usize,
}

impl Cells {
    pub(crate) fn new(len: usize) -> Self {
        let far = owned_slots().saturating_add(1).saturating_sub(NEAR);
        Self { near: [const { OnceLock::new() }; NEAR], far: (0..far).map(|_| OnceLock::new()).collect(), len }
    }

    /// The row that this thread writes to.
    #[inline]
    pub(crate) fn row(&self) -> Row<'_> {
        self.near_row().unwrap_or_else(|| self.far_row())
    }

    /// The same, if it is near. No other thread writes to it, and the compiler knows that.
    #[inline]
    pub(crate) fn near_row(&self) -> Option<Row<'_>> {
        let place = slot().and_then(|slot| self.near.get(slot))?;
        Some(Row { cells: self.cells(place), is_owned: true })
    }

    #[inline(never)]
    fn far_row(&self) -> Row<'_> {
        let shared = self.far.len().saturating_sub(1);
        let slot = slot().map_or(shared, |slot| slot.saturating_sub(NEAR));
        let cells = self.far.get(slot).map_or(&[][..], |place| self.cells(place));
        Row { cells, is_owned: slot < shared }
    }

    #[inline]
    fn cells<'a>(&self, place: &'a Cached) -> &'a [AtomicU64] {
        aligned(match place.get() {
            Some(row) => row,
            None => self.new_row(place),
        })
    }

    #[cold]
    fn new_row<'a>(&self, place: &'a Cached) -> &'a [AtomicU64] {
        let len = self.len.next_multiple_of(PAIR).saturating_add(PAIR - 1);
        place.get_or_init(|| (0..len).map(|_| AtomicU64::new(0)).collect())
    }

    fn rows(&self) -> impl Iterator<Item = &[AtomicU64]> {
        self.near.iter().chain(&self.far).filter_map(|row| Some(aligned(row.get()?)))
    }

    /// Adds to one counter.
    #[inline]
    pub(crate) fn add(&self, cell: usize, by: u64) {
        match self.near_row() {
            Some(row) => row.add(cell, by),
            None => self.far_row().add(cell, by),
        }
    }

    /// The sum of one counter over all slots. Wraps, so that what one thread adds another can take away.
    pub(crate) fn sum(&self, cell: usize) -> u64 {
        let cells = self.rows().filter_map(|row| row.get(cell));
        cells.fold(0, |sum, cell| sum.wrapping_add(cell.load(Relaxed)))
    }

    /// Adds `out.len()` counters to `out`: from `first` on, with so many of others between two of them.
    pub(crate) fn sum_into(&self, first: usize, between: Between, out: &mut [u64]) {
        for row in self.rows() {
            let cells = row.get(first..).unwrap_or_default();
            match between {
                Between::None => out.iter_mut().zip(cells).for_each(add_to),
                Between::One => out.iter_mut().zip(cells.iter().step_by(2)).for_each(add_to),
            }
        }
    }

    /// How many there are in a row.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether this is unwritten.
    pub(crate) fn is_untouched(&self) -> bool {
        self.rows().next().is_none()
    }
}

fn add_to((sum, cell): (&mut u64, &AtomicU64)) {
    *sum = sum.wrapping_add(cell.load(Relaxed));
}

/// How many cells of others lie between two of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Between {
    None = 0,
    One = 1,
}

/// One thread's row of [`Cells`].
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    cells: &'a [AtomicU64],
    is_owned: bool,
}

impl Row<'_> {
    #[inline]
    pub(crate) fn add(self, cell: usize, by: u64) {
        let Some(cell) = self.cells.get(cell) else { return };
        add(cell, by, self.is_owned);
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
        cells.sum_into(0, Between::None, &mut both);
        assert_eq!((cells.sum(0), cells.sum(8), both[0], both[8]), (expected, 2 * expected, expected, 2 * expected));
    }

    #[test]
    fn interleaved_cells_are_summed_each_with_its_own() {
        let cells = Cells::new(70);
        for cell in 0..70 {
            cells.add(cell, cell as u64);
        }
        for first in 0..40 {
            for len in 0..15 {
                for (between, step) in [(Between::None, 1), (Between::One, 2)] {
                    let mut sums = vec![1000; len];
                    cells.sum_into(first, between, &mut sums);
                    let want: Vec<u64> = (0..len).map(|place| 1000 + (first + step * place) as u64).collect();
                    assert_eq!(sums, want, "{len} from {first} on, {between:?}");
                }
            }
        }
    }

    #[test]
    fn the_last_of_interleaved_cells_is_summed_as_well() {
        for len in [15, 16, 31, 32] {
            let cells = Cells::new(len);
            cells.add(len - 1, 7);
            for behind in 0..3 {
                let mut sums = vec![0; behind + 1];
                cells.sum_into(len - 1 - 2 * behind, Between::One, &mut sums);
                assert_eq!(sums.last(), Some(&7), "{len} {behind}");
                assert!(sums.iter().rev().skip(1).all(|sum| *sum == 0), "{sums:?}");
            }
        }
    }

    #[test]
    fn threads_that_come_and_go_leave_no_rows_behind() {
        let cells = Arc::new(Cells::new(1));
        for _ in 0..1_000 {
            let cells = Arc::clone(&cells);
            std::thread::spawn(move || cells.add(0, 1)).join().unwrap();
        }
        assert_eq!(cells.sum(0), 1_000);
        let rows = cells.rows().count();
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
