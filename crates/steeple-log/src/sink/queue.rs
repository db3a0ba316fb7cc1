use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use steeple_core::{TraceId, clock};
use tracing::Level;

use super::{DropReason, rotation::day_of};

/// Lines on their way to one output: a bounded buffer between requests and a writer's thread.
///
/// A request appends its line under a lock that guards nothing else, and is never made to wait for the output: where
/// it is full the line is dropped and counted. The writer takes everything at once, at most once per `collect` while
/// there is traffic, so that a busy service makes few system calls and a request hardly ever wakes a thread.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// For the writer: there is something to do.
    work: Condvar,
    /// For those who flush: something was written.
    progress: Condvar,
    capacity: usize,
    /// How long the writer collects before it writes.
    collect: Duration,
    /// Whether the writer wants to know more of a line than its text. Then lines of all days stay together.
    has_stamps: bool,
    /// Dropped lines, by [`DropReason`].
    dropped: [AtomicU64; DropReason::ALL.len()],
}

/// What became of the lines of an output, all from one moment.
#[cfg(feature = "export")]
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Lines that found room.
    pub(crate) accepted: u64,
    pub(crate) exported: u64,
    pub(crate) queued: u64,
    pub(crate) queued_bytes: u64,
    pub(crate) dropped: [u64; DropReason::ALL.len()],
    /// Why the output fails, if it does.
    pub(crate) trouble: Option<String>,
}

#[derive(Default)]
struct State {
    batch: Batch,
    /// The day of the last line.
    day: u64,
    /// Bytes ever accepted, and how many of those are written or given up.
    accepted: u64,
    settled: u64,
    /// The same in lines.
    accepted_lines: u64,
    settled_lines: u64,
    /// How much was settled when a flush timed out.
    stuck_at: Option<u64>,
    /// Lines that were given up of those that are not settled yet.
    given_up: u64,
    /// Why the output fails, if it does.
    trouble: Option<String>,
    rest: Rest,
    /// Someone waits for a flush.
    urgent: bool,
    closed: bool,
    finished: bool,
}

impl State {
    /// Notes where lines of another day begin.
    fn set_day(&mut self, day: u64, start: usize) {
        if start == 0 {
            self.batch.first_day = day;
        } else if day != self.day && self.batch.changes.len() < MAX_CHANGES {
            self.batch.changes.push((start, day));
        }
        self.day = day;
    }
}

/// What the writer is doing. Decides whether a new line has to wake it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Rest {
    #[default]
    Awake,
    /// Comes back by itself very soon.
    Napping,
    /// Has seen nothing for a while.
    Asleep,
}

/// With so many bytes the writer collects no more: a buffer that had to grow further would make requests wait, for it grows
/// under the lock, into memory that no cache holds.
const PLENTY: usize = 256 * 1024;

/// Naps without a line before the writer sleeps.
const IDLE_NAPS: u32 = 20;

/// What a buffer begins with.
const FIRST_CAPACITY: usize = 64 * 1024;

/// A buffer that grew past this in a burst is given back after it.
const KEPT_CAPACITY: usize = 1024 * 1024;

/// The facts about a line beside its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    /// Its length, newline included. Set by the queue.
    pub(crate) bytes: usize,
    /// Since the epoch.
    pub(crate) at: Duration,
    pub(crate) level: Level,
    pub(crate) trace_id: Option<TraceId>,
}

impl Stamp {
    pub(crate) fn new(at: Duration, level: Level, trace_id: Option<TraceId>) -> Self {
        Self { bytes: 0, at, level, trace_id }
    }
}

/// Lines of one day that are to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) lines: &'a [u8],
    /// Days since the epoch. Of the first line only, where there are stamps.
    pub(crate) day: u64,
    /// One for each line, if the queue keeps them.
    pub(crate) stamps: &'a [Stamp],
}

impl Part<'_> {
    /// The rest after so many bytes are written.
    pub(crate) fn after(self, bytes: usize) -> Self {
        let mut stamps = self.stamps;
        let mut left = bytes;
        while let [first, rest @ ..] = stamps
            && first.bytes <= left
        {
            left = left.saturating_sub(first.bytes);
            stamps = rest;
        }
        Part { lines: self.lines.get(bytes..).unwrap_or_default(), day: self.day, stamps }
    }
}

/// Lines, and on which day each was logged.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    lines: Vec<u8>,
    stamps: Vec<Stamp>,
    /// How many lines.
    count: u64,
    first_day: u64,
    /// Where lines of another day begin. Empty, but for one batch a day.
    changes: Vec<(usize, u64)>,
    /// The file is to be opened again after these lines.
    reopen: bool,
}

/// Lines from different days that arrive in turn stay apart so many times; more than that, and they stay together.
const MAX_CHANGES: usize = 64;

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        self.stamps.clear();
        self.count = 0;
        self.changes.clear();
        self.reopen = false;
    }

    pub(crate) fn wants_reopen(&self) -> bool {
        self.reopen
    }

    /// The lines of each day in turn.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let starts = std::iter::once((0, self.first_day)).chain(self.changes.iter().copied());
        let ends = self.changes.iter().map(|(end, _)| *end).chain([self.lines.len()]);
        let part = |((start, day), end)| Part {
            lines: self.lines.get(start..end).unwrap_or_default(),
            day,
            stamps: &self.stamps,
        };
        starts.zip(ends).map(part)
    }
}

/// What the writer finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Lines,
    /// Nothing, and nothing will come any more.
    Closed,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            has_stamps: false,
            state: Mutex::new(State {
                batch: Batch { lines: Self::buffer(capacity), ..Batch::default() },
                ..State::default()
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
            capacity,
            collect: Duration::ZERO,
            dropped: [const { AtomicU64::new(0) }; DropReason::ALL.len()],
        }
    }

    /// A queue that keeps a stamp beside each line, which counts as bytes as well.
    pub(crate) fn with_stamps(capacity: usize) -> Self {
        Self { has_stamps: true, ..Self::new(capacity) }
    }

    /// Sets how long the writer collects before it writes.
    pub(crate) fn collect(self, time: Duration) -> Self {
        Self { collect: time, ..self }
    }

    /// A buffer that a calm service's lines fit into, so that no request has to make it grow.
    fn buffer(capacity: usize) -> Vec<u8> {
        Vec::with_capacity(capacity.min(FIRST_CAPACITY))
    }

    /// Appends a line, newline included, or counts it as lost.
    pub(crate) fn push(&self, line: &[u8], stamp: &Stamp) {
        let mut guard = self.state();
        let state = &mut *guard;
        let start = state.batch.lines.len();
        let mut filled = start.saturating_add(line.len());
        if self.has_stamps {
            let stamps = state.batch.stamps.len().saturating_add(1);
            filled = filled.saturating_add(stamps.saturating_mul(size_of::<Stamp>()));
        }
        if state.closed || filled > self.capacity {
            let reason = if state.closed { DropReason::Shutdown } else { DropReason::QueueFull };
            drop(guard);
            self.add_dropped(reason, 1);
            return;
        }
        if self.has_stamps {
            state.batch.stamps.push(Stamp { bytes: line.len(), ..*stamp });
        } else {
            state.set_day(day_of(stamp.at), start);
        }
        state.batch.lines.extend_from_slice(line);
        state.batch.count = state.batch.count.saturating_add(1);
        state.accepted = state.accepted.saturating_add(line.len() as u64);
        state.accepted_lines = state.accepted_lines.saturating_add(1);
        let wake = match state.rest {
            Rest::Awake => false,
            Rest::Napping => filled > PLENTY.min(self.capacity / 2),
            Rest::Asleep => true,
        };
        if wake {
            state.rest = Rest::Awake;
        }
        drop(guard);
        if wake {
            self.work.notify_one();
        }
    }

    /// Lines that were dropped, for whatever reason.
    pub(crate) fn lost(&self) -> u64 {
        self.dropped_by_reason().into_iter().fold(0, u64::saturating_add)
    }

    /// Lines that were dropped, by [`DropReason`].
    pub(crate) fn dropped_by_reason(&self) -> [u64; DropReason::ALL.len()] {
        self.dropped.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    fn add_dropped(&self, reason: DropReason, lines: u64) {
        if let Some(count) = self.dropped.get(reason as usize) {
            count.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// For the writer: these lines of the batch are never written.
    pub(crate) fn give_up(&self, lines: u64) {
        if lines > 0 {
            let mut state = self.state();
            state.given_up = state.given_up.saturating_add(lines);
            self.add_dropped(DropReason::WriteFailed, lines);
        }
    }

    /// For the writer: why it cannot write, or that it can.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        self.state().trouble = trouble;
    }

    /// For the writer: waits for lines and swaps them into `batch`, which must be empty.
    pub(crate) fn take(&self, batch: &mut Batch) -> Taken {
        if !(FIRST_CAPACITY..=KEPT_CAPACITY).contains(&batch.lines.capacity()) {
            batch.lines = Self::buffer(self.capacity);
        }
        let mut naps = 0_u32;
        let mut state = self.state();
        // Lines that came while the last ones were written are collected for a nap as well.
        while !state.closed && !state.urgent && (naps == 0 || state.batch.is_empty()) {
            if naps < IDLE_NAPS {
                state.rest = Rest::Napping;
                state = self.work.wait_timeout(state, self.collect).unwrap_or_else(PoisonError::into_inner).0;
                naps = naps.saturating_add(1);
            } else {
                state.rest = Rest::Asleep;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        state.rest = Rest::Awake;
        state.urgent = false;
        std::mem::swap(&mut state.batch, batch);
        if batch.is_empty() && state.closed { Taken::Closed } else { Taken::Lines }
    }

    /// For the writer: waits before it tries again, but not when the end is near.
    pub(crate) fn pause(&self, pause: Duration) {
        let state = self.state();
        if !state.closed {
            drop(self.work.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// For the writer: the batch is written, or given up.
    pub(crate) fn settle(&self, batch: &Batch) {
        let mut state = self.state();
        state.settled = state.settled.saturating_add(batch.lines.len() as u64);
        state.settled_lines = state.settled_lines.saturating_add(batch.count);
        state.given_up = 0;
        drop(state);
        self.progress.notify_all();
    }

    /// For the writer: the last thing it does.
    pub(crate) fn finish(&self) {
        self.state().finished = true;
        self.progress.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Accepts no more lines; the writer ends when it has written what there is.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.work.notify_one();
    }

    /// Asks the writer to open its file again once it has written what there is.
    pub(crate) fn reopen(&self) {
        self.state().batch.reopen = true;
        self.hurry();
    }

    /// Makes the writer write what there is now.
    pub(crate) fn hurry(&self) {
        self.state().urgent = true;
        self.work.notify_one();
    }

    /// Waits until all lines accepted before this call are written or given up, at most until the deadline.
    pub(crate) fn flush(&self, deadline: Instant) -> bool {
        let mut wanted = None;
        let written = self.wait_until(deadline, |state| state.settled >= *wanted.get_or_insert(state.accepted));
        let mut state = self.state();
        state.stuck_at = (!written).then_some(state.settled);
        written
    }

    /// Whether the last flush timed out, and nothing was written since.
    pub(crate) fn is_stuck(&self) -> bool {
        let state = self.state();
        state.stuck_at == Some(state.settled)
    }

    /// Waits for the writer's end, at most until the deadline.
    pub(crate) fn join(&self, deadline: Instant) -> bool {
        self.wait_until(deadline, |state| state.finished)
    }

    /// How many lines were accepted so far.
    #[cfg(feature = "export")]
    pub(crate) fn accepted_lines(&self) -> u64 {
        self.state().accepted_lines
    }

    /// Waits until so many lines are written or given up, at most until the deadline. How many are left of them.
    #[cfg(feature = "export")]
    pub(crate) fn wait_for(&self, lines: u64, deadline: Instant) -> u64 {
        self.wait_until(deadline, |state| state.settled_lines >= lines);
        let state = self.state();
        lines.saturating_sub(state.settled_lines).saturating_sub(state.given_up)
    }

    /// What became of all lines.
    #[cfg(feature = "export")]
    pub(crate) fn counts(&self) -> Counts {
        let state = self.state();
        let dropped = self.dropped_by_reason();
        let [queue_full, write_failed, shutdown] = dropped;
        let refused = queue_full.saturating_add(shutdown);
        Counts {
            accepted: state.accepted_lines.saturating_add(refused),
            exported: state.settled_lines.saturating_add(state.given_up).saturating_sub(write_failed),
            queued: state.accepted_lines.saturating_sub(state.settled_lines).saturating_sub(state.given_up),
            queued_bytes: state.accepted.saturating_sub(state.settled),
            dropped,
            trouble: state.trouble.clone(),
        }
    }

    fn wait_until(&self, deadline: Instant, mut reached: impl FnMut(&State) -> bool) -> bool {
        let mut state = self.state();
        loop {
            if reached(&state) {
                return true;
            }
            let left = deadline.saturating_duration_since(clock::now());
            if left.is_zero() || state.finished {
                return false;
            }
            state.urgent = true;
            self.work.notify_one();
            state = self.progress.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// No user code runs while this is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn on(day: u64) -> Stamp {
        Stamp::new(Duration::from_hours(day.saturating_mul(24)), Level::INFO, None)
    }

    #[test]
    fn lines_without_room_are_counted_and_the_others_are_whole() {
        let queue = Queue::new(10);
        for _ in 0..5 {
            queue.push(b"abc\n", &on(1));
        }
        assert_eq!(queue.lost(), 3);
        queue.close();
        queue.push(b"late\n", &on(1));
        let mut batch = Batch::default();
        assert_eq!((queue.take(&mut batch), &batch.lines[..], queue.lost()), (Taken::Lines, &b"abc\nabc\n"[..], 4));
        batch.clear();
        assert_eq!(queue.take(&mut batch), Taken::Closed);
    }

    #[test]
    fn lines_of_each_day_stay_apart_and_in_order() {
        let queue = Queue::new(1000);
        let mut batch = Batch::default();
        for days in [&[1, 1, 2, 2, 1, 2][..], &[2, 2], &[3, 4], &[4]] {
            for day in days {
                queue.push(format!("{day}\n").as_bytes(), &on(*day));
            }
            assert_eq!(queue.take(&mut batch), Taken::Lines);
            let mut found = String::new();
            for Part { lines, day, .. } in batch.parts() {
                let lines = str::from_utf8(lines).unwrap();
                assert!(!lines.is_empty() && lines.lines().all(|line| line == day.to_string()), "{day}: {lines}");
                found.push_str(lines);
            }
            assert!(found.lines().eq(days.iter().map(u64::to_string)), "{found}");
            batch.clear();
        }
    }

    #[test]
    fn a_stamp_counts_as_bytes_and_stays_with_its_line() {
        let queue = Queue::with_stamps(3 * (size_of::<Stamp>() + 4));
        for day in 1..=5 {
            queue.push(format!("{day:03}\n").as_bytes(), &on(day));
        }
        assert_eq!(queue.lost(), 2);
        let mut batch = Batch::default();
        assert_eq!(queue.take(&mut batch), Taken::Lines);
        let mut part = batch.parts().next().unwrap();
        for day in 1..=3 {
            assert_eq!((&part.lines[..4], part.stamps[0].at), (format!("{day:03}\n").as_bytes(), on(day).at));
            part = part.after(4);
        }
        assert!(part.lines.is_empty() && part.stamps.is_empty());
    }

    #[test]
    fn a_nap_ends_when_there_is_plenty_to_write() {
        for (capacity, enough) in [(16 * PLENTY, PLENTY), (100, 50)] {
            let queue = Queue::new(capacity);
            queue.state().rest = Rest::Napping;
            queue.push(&vec![b'\n'; enough], &on(1));
            assert!(queue.state().rest == Rest::Napping, "{enough} of {capacity}");
            queue.push(b"\n", &on(1));
            assert!(queue.state().rest == Rest::Awake, "{enough} of {capacity} and a line");
        }
    }

    #[test]
    fn a_flush_without_a_writer_ends_at_its_deadline() {
        let queue = Queue::new(100);
        assert!(queue.flush(clock::now()), "nothing to wait for");
        queue.push(b"line\n", &on(1));
        assert!(!queue.flush(clock::now() + Duration::from_millis(20)));
    }

    #[test]
    fn lines_of_many_threads_arrive_whole_and_each_once() {
        let queue = Arc::new(Queue::new(1 << 20));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || {
                    for number in 0..500 {
                        queue.push(format!("{writer}:{number}\n").as_bytes(), &on(1));
                    }
                })
            })
            .collect();
        let reader = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                let (mut all, mut batch) = (Vec::new(), Batch::default());
                while queue.take(&mut batch) == Taken::Lines {
                    queue.settle(&batch);
                    all.append(&mut batch.lines);
                    batch.clear();
                }
                queue.finish();
                String::from_utf8(all).unwrap()
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        let soon = clock::now() + Duration::from_secs(10);
        assert!(queue.flush(soon));
        queue.close();
        assert!(queue.join(soon));
        let mut lines: Vec<_> = reader.join().unwrap().lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!((lines.len(), queue.lost()), (2000, 0));
    }
}
