//! State that survives a deploy, over overlapping instances in one directory.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use steeple_metrics::{
    Metrics,
    indicator::{Clock, HistoryOptions, Tier},
    state::{State, StateOptions},
};

fn open(directory: &Path, version: &str) -> State {
    State::open(StateOptions::new(directory, "shop", "production").version(version)).unwrap()
}

/// A section that counts: its number is saved, and that of the predecessor is added.
fn counting(state: &State) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let (saving, loading) = (Arc::clone(&count), Arc::clone(&count));
    state.section(
        "count",
        move || saving.load(SeqCst).to_le_bytes().to_vec(),
        move |_, bytes| {
            loading.fetch_add(u64::from_le_bytes(bytes.try_into().unwrap()), SeqCst);
        },
    );
    count
}

fn wait(what: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if what() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it does not happen");
}

fn files(directory: &Path, extension: &str) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|found| found == extension)).count()
}

#[test]
fn an_instance_adopts_what_its_predecessor_left() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep").join("er");
    let first = open(&path, "1.8.1");
    assert_eq!(first.adopted(), None);
    counting(&first).store(7, SeqCst);
    first.save().unwrap();
    drop(first);
    let second = open(&path, "1.8.2");
    let adopted = second.adopted().unwrap();
    assert_eq!(adopted.version, "1.8.1");
    assert!(adopted.saved_unix > Duration::from_secs(1_700_000_000));
    let count = counting(&second);
    assert_eq!(count.load(SeqCst), 7);
    count.store(9, SeqCst);
    // Killed before it saved: the former state is still there.
    drop(second);
    let third = open(&path, "1.8.3");
    assert_eq!((third.adopted().unwrap().version, counting(&third).load(SeqCst)), ("1.8.1".to_owned(), 7));
    #[cfg(all(unix, not(steeple_os_other)))]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        for entry in std::fs::read_dir(&path).unwrap().flatten() {
            assert_eq!(mode(&entry.path()), 0o600, "{entry:?}");
        }
    }
}

#[test]
fn instances_that_run_are_left_alone_and_so_are_other_services() {
    let directory = tempfile::tempdir().unwrap();
    let all: Vec<_> = (0..64).map(|_| open(directory.path(), "1")).collect();
    assert!(all.iter().all(|state| state.adopted().is_none()));
    let full = State::open(StateOptions::new(directory.path(), "shop", "production")).unwrap_err();
    assert!(full.is_full(), "{full}");
    drop(all);
    for (service, environment) in [("shop", "staging"), ("sh/op", "production"), ("shop.production", "")] {
        let other = State::open(StateOptions::new(directory.path(), service, environment)).unwrap();
        assert_eq!(other.adopted(), None, "{service} {environment}");
    }
    assert!(open(directory.path(), "2").adopted().is_some());
}

#[test]
fn the_newest_of_several_is_adopted_and_a_damaged_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (older, newer) = (open(directory.path(), "older"), open(directory.path(), "newer"));
    older.save().unwrap();
    std::thread::sleep(Duration::from_millis(5));
    newer.save().unwrap();
    drop((older, newer));
    let adopter = open(directory.path(), "x");
    assert_eq!(adopter.adopted().unwrap().version, "newer");
    drop(adopter);
    for entry in std::fs::read_dir(directory.path()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "state") {
            let mut file = std::fs::read(entry.path()).unwrap();
            *file.last_mut().unwrap() ^= 1;
            std::fs::write(entry.path(), file).unwrap();
        }
    }
    assert_eq!(open(directory.path(), "x").adopted(), None);
}

#[test]
fn twenty_overlapping_restarts_lose_nothing_and_count_nothing_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut running: Option<(State, _, Arc<AtomicU64>)> = None;
    let mut total = 0;
    for deploy in 1..=20_u64 {
        let next = open(directory.path(), &deploy.to_string());
        let count = counting(&next);
        let guard = next.spawn(Duration::from_hours(1)).unwrap();
        // Both serve for a while.
        count.fetch_add(deploy, SeqCst);
        if let Some((old, old_guard, old_count)) = running.take() {
            assert_eq!(next.adopted(), None, "the predecessor runs");
            old_count.fetch_add(100, SeqCst);
            total += 100;
            drop(old_guard);
            drop(old);
            wait(|| next.adopted().is_some());
        }
        total += deploy;
        wait(|| count.load(SeqCst) == total);
        running = Some((next, guard, count));
    }
    drop(running);
    assert_eq!(counting(&open(directory.path(), "last")).load(SeqCst), total);
    assert_eq!(files(directory.path(), "state"), 1);
    assert_eq!(files(directory.path(), "new"), 0);
}

#[test]
fn a_section_that_panics_or_is_too_large_is_left_out_alone() {
    let directory = tempfile::tempdir().unwrap();
    let state = open(directory.path(), "1");
    state.section("bad", || panic!("a section of the test"), |_, _| ());
    state.section("huge", || vec![0; 5_000_000], |_, _| ());
    counting(&state).store(3, SeqCst);
    state.save().unwrap();
    assert_eq!(state.dropped(), 2);
    drop(state);
    let next = open(directory.path(), "2");
    let loaded = Arc::new(Mutex::new(Vec::new()));
    for name in ["bad", "huge", "count", "none"] {
        let loaded = Arc::clone(&loaded);
        next.section(name, Vec::new, move |_, _| {
            loaded.lock().unwrap().push(name);
            panic!("a load of the test");
        });
    }
    assert_eq!(*loaded.lock().unwrap(), ["count"]);
}

#[test]
fn an_unusable_directory_is_an_error_with_its_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = State::open(StateOptions::new(file.path().join("below"), "shop", "production")).unwrap_err();
    assert!(error.is_directory() && std::error::Error::source(&error).is_some(), "{error}");
}

#[test]
fn the_history_continues_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Duration::from_secs(1_790_000_000));
    let run = |minutes: u32| {
        let metrics = Metrics::new().unwrap();
        let history = metrics.history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
        let state = open(directory.path(), "1");
        history.keep_in(&state);
        history.sample();
        for _ in 0..minutes {
            clock.advance(Duration::from_secs(60));
            history.sample();
        }
        state.save().unwrap();
        history.frames(Tier::Minute, 0)
    };
    assert_eq!(run(3).len(), 3);
    clock.advance(Duration::from_secs(30));
    let frames = run(2);
    assert_eq!(frames.len(), 5);
    assert!(frames.is_sorted_by(|a, b| a.unix < b.unix && a.seq < b.seq));
}
