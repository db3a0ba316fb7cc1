//! Processes that end in the midst of an adoption, at each place of it, one after the other: each row is sent once.

#![expect(clippy::arithmetic_side_effects, reason = "small counts")]

use std::{
    collections::BTreeMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::Duration,
};

use steeple_core::clock;
use steeple_scrub::Scrubbed;

use super::{
    SinkOptions, TimingOptions,
    db::unless_damaged,
    fail::in_test::end_at,
    inbox::Shared,
    options::{Limits, QueueLimits},
    place::{self, Place},
    writer::Writer,
};
use crate::{
    DropReason, InDoubt,
    store::{NewRow, Settled},
};

/// Every place of an adoption.
const PLACES: &[&str] = &["mark", "marked", "adopt", "taken", "adopted", "pass", "passed", "removing", "removed"];

/// In memory where that is possible: the disk is waited for at each place.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_none| tempfile::tempdir()).unwrap()
}

/// A process, and its one sink.
struct Process {
    writer: Writer,
}

/// What the receiver got: each id, as often as it came. It does not notice what comes twice.
type Got = BTreeMap<String, u32>;

fn start(root: &Path) -> Process {
    let mut writer = open(root);
    writer.register("ga4", SinkOptions::default().in_doubt(InDoubt::Drop)).unwrap();
    Process { writer }
}

fn open(root: &Path) -> Writer {
    let timing = TimingOptions::new().idle(Duration::from_millis(1)).adopt(Duration::ZERO);
    let limits = Limits { max_bytes: 1 << 30, max_age: Duration::from_secs(86_400), min_free_bytes: 0 };
    let shared = Arc::new(Shared::new(QueueLimits { max_items: 100, max_bytes: 1 << 20 }));
    let place = Place::claim(root).unwrap();
    Writer::open(root.to_owned(), place, (limits, timing), shared).unwrap()
}

impl Process {
    fn store(&mut self, ids: impl Iterator<Item = String>) {
        for id in ids {
            let body = Scrubbed::from_application("{}".into());
            let row =
                NewRow { id: id.into(), at: clock::unix_now(), key: Some(b"ada".as_slice().into()), class: 1, body };
            let size = row.size();
            self.writer.shared.append(Arc::new(row), 1, size);
        }
        self.writer.turn();
        assert_eq!(self.writer.shared.waiting(), (0, 0));
    }

    /// Sends what is there. The first of `keeps` that are read stay without an answer.
    fn send(&mut self, got: &mut Got, max: usize, mut keeps: usize) {
        let rows = self.writer.read(0, max, usize::MAX).unwrap();
        let seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
        self.writer.attempt(0, &seqs).unwrap();
        for row in rows {
            *got.entry(row.row.id.to_string()).or_default() += 1;
            if keeps > 0 {
                keeps -= 1;
            } else {
                self.writer.settle(0, row.seq, Settled::Stored, clock::now());
            }
        }
    }

    /// Works until all that others left is in and sent. `false`: it has ended before.
    fn work(mut self, root: &Path, got: &mut Got) -> bool {
        let worked = catch_unwind(AssertUnwindSafe(|| {
            self.writer.release_others();
            for _ in 0..400 {
                self.writer.turn();
                self.send(got, 2, 0);
                let is_alone = place::siblings(root).unwrap().len() == 1;
                if is_alone && self.writer.intakes.is_empty() && self.writer.usage.total_items() == 0 {
                    return;
                }
            }
            panic!("it never ends: {:?}", place::siblings(root));
        }));
        lived(worked)
    }

    /// Works for a while beside another process.
    fn work_beside(mut self, got: &mut Got) -> bool {
        let worked = catch_unwind(AssertUnwindSafe(|| {
            self.writer.release_others();
            for _ in 0..12 {
                self.writer.turn();
                self.send(got, 2, 0);
            }
            self.writer.turn();
        }));
        lived(worked)
    }
}

/// Whether it has not ended at one of the places.
fn lived(worked: std::thread::Result<()>) -> bool {
    let Err(end) = worked else { return true };
    if end.downcast_ref::<String>().is_none_or(|place| !PLACES.contains(&place.as_str())) {
        std::panic::resume_unwind(end);
    }
    false
}

/// A process that has ended, one that takes over from it and ends at the `first`th place, one that takes over from both and ends at
/// the `second`th, and one that does the rest. `runs`: the third ran all the time. Returns which of them came to their end.
fn take_over(first: u32, second: u32, runs: bool) -> (bool, bool) {
    let directory = directory();
    let root = directory.path();
    let mut got = Got::new();
    let mut left = start(root);
    left.store((0..8).map(|n| format!("left-{n}")));
    // One has its answer, one has none.
    left.send(&mut got, 2, 1);
    left.writer.turn();
    let mut heir = start(root);
    heir.store((0..2).map(|n| format!("heir-{n}")));
    let mut running = runs.then(|| start(root));
    if let Some(running) = &mut running {
        running.store((0..2).map(|n| format!("running-{n}")));
    }
    let expected = if runs { 12 } else { 10 };
    assert_eq!(place::siblings(root).unwrap().len(), if runs { 3 } else { 2 });
    drop(left);
    end_at(Some((PLACES, first)));
    // A process that ran all the time is not left, so that the heir is never alone.
    let first_is_done = if runs { heir.work_beside(&mut got) } else { heir.work(root, &mut got) };
    end_at(Some((PLACES, second)));
    let third = running.unwrap_or_else(|| start(root));
    let second_is_done = third.work(root, &mut got);
    end_at(None);
    assert!(start(root).work(root, &mut got), "{first} {second}");
    let twice: Vec<_> = got.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "{first} {second} {runs}: {twice:?}");
    assert_eq!(got.len(), expected, "{first} {second} {runs}: {got:?}");
    assert_eq!(fs::read_dir(root).unwrap().count(), 1);
    (first_is_done, second_is_done)
}

fn each_place(runs: bool) {
    let mut ends = 0;
    for first in 1.. {
        let mut is_done = false;
        for second in 1.. {
            let (first_is_done, second_is_done) = take_over(first, second, runs);
            is_done = first_is_done;
            ends += 1;
            if second_is_done {
                break;
            }
        }
        if is_done {
            break;
        }
    }
    // Each place of two adoptions at least, the second of which has the first in it.
    assert!(ends > 60, "{ends}");
}

#[test]
fn wherever_an_adoption_ends_each_row_is_sent_once_by_who_starts_next() {
    each_place(false);
}

#[test]
fn wherever_an_adoption_ends_each_row_is_sent_once_by_who_runs() {
    each_place(true);
}

#[test]
fn what_is_taken_in_leaves_out_who_was_erased_here_and_knows_who_took_consent_back_there() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut left = start(root);
    left.store((0..4).map(|n| format!("left-{n}")));
    left.send(&mut Got::new(), 1, 0);
    left.writer.turn();
    super::marks::set_revoked(&left.writer.db, b"bob", true).unwrap();
    let mut heir = start(root);
    assert_eq!(heir.writer.erase(b"ada").unwrap(), 0);
    drop(left);
    heir.writer.release_others();
    while place::siblings(root).unwrap().len() > 1 {
        heir.writer.turn();
    }
    let marks = heir.writer.shared.marks();
    assert_eq!((marks.is_revoked(b"bob"), marks.is_revoked(b"ada")), (true, false));
    drop(marks);
    assert_eq!((heir.writer.usage.total_items(), heir.writer.read(0, 10, usize::MAX).unwrap().len()), (0, 0));
    // The one that was sent before is not among them.
    assert_eq!(heir.writer.shared.seen().stats.dropped(DropReason::NoConsent), 3);
    // Whoever comes back is someone new.
    heir.store(std::iter::once("new".to_owned()));
    assert_eq!(heir.writer.read(0, 10, usize::MAX).unwrap().len(), 1);
}

#[test]
fn what_is_damaged_while_it_is_taken_in_is_read_as_far_as_it_goes() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut left = start(root);
    left.store((0..8).map(|n| format!("left-{n}")));
    let own = left.writer.place.directory().to_owned();
    let heir = start(root);
    drop(left);
    end_at(Some((&["taken"], 1)));
    let mut got = Got::new();
    assert!(!heir.work(root, &mut got));
    // No other process may take it, and it has no name any more.
    rusqlite::Connection::open(own.join(place::DATABASE)).unwrap().execute_batch("DROP TABLE meta").unwrap();
    assert!(start(root).work(root, &mut got));
    assert_eq!((got.len(), got.values().max()), (8, Some(&1)), "{got:?}");
}

#[test]
fn what_others_left_waits_until_all_sinks_are_registered_however_long_that_takes() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let mut left = start(root);
    left.store((0..4).map(|n| format!("left-{n}")));
    let mut writer = open(root);
    drop(left);
    let turns = |writer: &mut Writer| {
        for _ in 0..20 {
            writer.turn();
        }
        place::siblings(root).unwrap().len()
    };
    assert_eq!(turns(&mut writer), 2);
    writer.register("ga4", SinkOptions::default()).unwrap();
    assert_eq!(turns(&mut writer), 2);
    let mut got = Got::new();
    assert!(Process { writer }.work(root, &mut got));
    assert_eq!((got.len(), got.values().max()), (4, Some(&1)), "{got:?}");
}

#[test]
fn a_database_that_cannot_be_read_at_this_moment_is_not_taken_for_damaged() {
    let failed = |code| Err::<(), _>(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
    for code in [rusqlite::ffi::SQLITE_BUSY, rusqlite::ffi::SQLITE_LOCKED, rusqlite::ffi::SQLITE_NOMEM] {
        assert!(unless_damaged(failed(code)).is_err(), "{code}");
    }
    assert_eq!(unless_damaged(failed(rusqlite::ffi::SQLITE_CORRUPT)), Ok(None));
}
