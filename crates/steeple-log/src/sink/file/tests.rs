#![expect(clippy::arithmetic_side_effects, reason = "a test that cannot go on fails")]

use std::{
    cell::Cell,
    fs,
    sync::{Arc, Mutex},
};

use super::*;

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// 2026-11-23, at midnight.
const MONDAY: u64 = 20_780 * SECONDS_PER_DAY;

fn set_now(seconds: u64) {
    NOW.with(|now| now.set(Duration::from_secs(seconds)));
}

fn open(directory: &Path, rotation: Rotation) -> RollingFile {
    open_with(directory, rotation, FileAccess::default(), Arc::new(|text| panic!("{text}"))).unwrap()
}

fn open_with(directory: &Path, rotation: Rotation, access: FileAccess, report: Report) -> io::Result<RollingFile> {
    RollingFile::open_at(directory, "combined", rotation, access, report, || NOW.with(Cell::get))
}

/// Writes lines that are logged now. How many were lost.
fn write(file: &mut RollingFile, lines: &[u8]) -> u64 {
    write_of(file, lines, day_of(NOW.with(Cell::get)))
}

fn write_of(file: &mut RollingFile, mut lines: &[u8], day: u64) -> u64 {
    let mut lost = 0;
    while !lines.is_empty() {
        let progress = file.write(Part { lines, day, stamps: &[] }).unwrap();
        lines = &lines[progress.bytes..];
        lost += progress.lost;
    }
    lost
}

/// Names and contents, sorted by name.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort_unstable();
    files
}

#[track_caller]
fn check(directory: &Path, want: &[(&str, &str)]) {
    let found = files(directory);
    let found: Vec<_> = found.iter().map(|(name, text)| (&**name, &**text)).collect();
    assert_eq!(found, want);
}

#[test]
fn a_new_day_begins_a_new_file() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY + 86_399);
    let mut file = open(directory.path(), Rotation::daily());
    write(&mut file, b"monday\n");
    set_now(MONDAY + 86_400);
    write(&mut file, b"tuesday\n");
    check(directory.path(), &[("combined.2026-11-23.1.log", "monday\n"), ("combined.log", "tuesday\n")]);
}

#[test]
fn no_file_grows_past_its_size_and_no_line_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY);
    let mut file = open(directory.path(), Rotation::at_bytes(8));
    write(&mut file, b"one\ntwo\nthree\nlonger than that\n4\n");
    check(
        directory.path(),
        &[
            ("combined.2026-11-23.1.log", "one\ntwo\n"),
            ("combined.2026-11-23.2.log", "three\n"),
            ("combined.2026-11-23.3.log", "longer than that\n"),
            ("combined.log", "4\n"),
        ],
    );
}

#[test]
fn keep_files_limits_the_closed_files_of_its_log_and_touches_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    for other in ["combined.log.bak", "combined.2026-01-01.1.log.gz", "error.2026-01-01.1.log", "notes.txt"] {
        fs::write(directory.path().join(other), "mine").unwrap();
    }
    set_now(MONDAY);
    let mut file = open(directory.path(), Rotation::at_bytes(1).keep_files(2));
    write(&mut file, b"1\n2\n3\n4\n5\n");
    let names: Vec<_> = files(directory.path()).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "combined.2026-01-01.1.log.gz",
            "combined.2026-11-23.4.log",
            "combined.2026-11-23.5.log",
            "combined.log",
            "combined.log.bak",
            "error.2026-01-01.1.log",
            "notes.txt",
        ]
    );
}

#[test]
fn a_half_line_of_a_dead_process_ends_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("combined.log"), "half a li").unwrap();
    // The file's own time of writing is now; so is ours.
    set_now(clock::unix_now().as_secs());
    let mut file = open(directory.path(), Rotation::daily());
    write(&mut file, b"whole\n");
    check(directory.path(), &[("combined.log", "half a li\nwhole\n")]);
}

#[test]
fn a_file_from_yesterday_is_closed_when_the_process_starts_today() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("combined.log");
    fs::write(&path, "yesterday\n").unwrap();
    let yesterday = UNIX_EPOCH + Duration::from_secs(MONDAY - 10);
    File::options().write(true).open(&path).unwrap().set_modified(yesterday).unwrap();
    set_now(MONDAY);
    let mut file = open(directory.path(), Rotation::daily());
    write(&mut file, b"today\n");
    check(directory.path(), &[("combined.2026-11-22.1.log", "yesterday\n"), ("combined.log", "today\n")]);
}

#[cfg(all(unix, not(steeple_os_other)))]
#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY);
    let mut file = open(directory.path(), Rotation::daily());
    write(&mut file, b"before\n");
    fs::rename(directory.path().join("combined.log"), directory.path().join("moved")).unwrap();
    set_now(MONDAY + 2);
    write(&mut file, b"after\n");
    check(directory.path(), &[("combined.log", "after\n"), ("moved", "before\n")]);
}

#[test]
fn a_file_keeps_the_day_of_its_first_line() {
    let directory = tempfile::tempdir().unwrap();
    let first = "{\"timestamp\":\"2026-11-21T23:59:59.999999Z\",\"level\":\"info\"}\n";
    fs::write(directory.path().join("combined.log"), first).unwrap();
    set_now(MONDAY);
    let mut file = open(directory.path(), Rotation::daily());
    write(&mut file, b"today\n");
    check(directory.path(), &[("combined.2026-11-21.1.log", first), ("combined.log", "today\n")]);
}

#[test]
fn a_line_of_yesterday_that_waited_over_midnight_is_in_yesterdays_file() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY + 86_399);
    let mut file = open(directory.path(), Rotation::daily().and_at_bytes(16));
    write(&mut file, b"monday\n");
    set_now(MONDAY + 86_400);
    write(&mut file, b"tuesday\n");
    let monday = MONDAY / SECONDS_PER_DAY;
    write_of(&mut file, b"late 1\nlate 2\nlate 3\n", monday);
    write(&mut file, b"tuesday\n");
    write_of(&mut file, b"later\n", monday - 1);
    check(
        directory.path(),
        &[
            ("combined.2026-11-22.3.log", "later\n"),
            ("combined.2026-11-23.1.log", "monday\nlate 1\n"),
            ("combined.2026-11-23.2.log", "late 2\nlate 3\n"),
            ("combined.log", "tuesday\ntuesday\n"),
        ],
    );
}

#[test]
fn a_clock_that_was_ahead_by_days_does_not_keep_its_file_open_for_days() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY + 400 * SECONDS_PER_DAY);
    let mut file = open(directory.path(), Rotation::daily());
    write(&mut file, b"ahead\n");
    set_now(MONDAY);
    write(&mut file, b"monday\n");
    check(directory.path(), &[("combined.2027-12-28.1.log", "ahead\n"), ("combined.log", "monday\n")]);
}

#[test]
fn a_clock_that_is_a_little_behind_closes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY);
    let mut file = open(directory.path(), Rotation::daily());
    for _ in 0..3 {
        write(&mut file, b"monday\n");
        set_now(MONDAY - 59);
        write(&mut file, b"sunday\n");
        set_now(MONDAY);
    }
    check(
        directory.path(),
        &[("combined.2026-11-22.1.log", "sunday\nsunday\nsunday\n"), ("combined.log", "monday\nmonday\nmonday\n")],
    );
}

/// Two processes, as far as files and locks are concerned.
#[cfg(all(unix, not(steeple_os_other)))]
#[test]
fn a_file_that_another_process_has_closed_gets_no_line_any_more() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY);
    let rotation = Rotation::daily().and_at_bytes(250);
    let (mut one, mut other) = (open(directory.path(), rotation.clone()), open(directory.path(), rotation));
    let line = |number: u32| format!("{{\"timestamp\":\"2026-11-23T00:00:00.000000Z\",\"number\":{number}}}\n");
    for number in [1, 3, 5] {
        write(&mut one, line(number).as_bytes());
        write(&mut other, line(number + 1).as_bytes());
    }
    set_now(MONDAY + 86_400);
    let tuesday = line(7).replace("-23", "-24");
    write(&mut other, tuesday.as_bytes());
    write(&mut one, tuesday.as_bytes());
    let (first, second) = ((1..=4).map(line).collect::<String>(), (5..=6).map(line).collect::<String>());
    check(
        directory.path(),
        &[
            ("combined.2026-11-23.1.log", &first),
            ("combined.2026-11-23.2.log", &second),
            ("combined.log", &tuesday.repeat(2)),
        ],
    );
}

#[test]
fn a_name_that_is_taken_is_not_taken_again() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY);
    let mut file = open(directory.path(), Rotation::at_bytes(1));
    for (name, text) in [("combined.2026-11-23.1.log", "mine"), ("error.2026-11-20.2.log", "another log's")] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    write(&mut file, b"1\n2\n");
    check(
        directory.path(),
        &[
            ("combined.2026-11-23.1.log", "mine"),
            ("combined.2026-11-23.3.log", "1\n"),
            ("combined.log", "2\n"),
            ("error.2026-11-20.2.log", "another log's"),
        ],
    );
}

/// A process that was stopped while it held the lock must not stop the others.
#[cfg(all(unix, not(steeple_os_other)))]
#[test]
fn a_lock_that_is_never_released_costs_no_line() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY);
    let held = File::open(directory.path()).unwrap();
    held.lock().unwrap();
    let mut file = open(directory.path(), Rotation::at_bytes(4));
    write(&mut file, b"one\ntwo\n");
    check(directory.path(), &[("combined.2026-11-23.1.log", "one\n"), ("combined.log", "two\n")]);
}

/// Closed files of a log that was written for `days` days, and the names of those that are left.
fn names(directory: &Path) -> Vec<String> {
    files(directory).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn closed_files_are_removed_in_closing_order_whatever_the_clock() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY);
    // The clock was ahead when the machine started, and was set right after that.
    for ahead in ["combined.2036-01-01.1.log", "combined.2036-01-02.2.log"] {
        fs::write(directory.path().join(ahead), "ahead").unwrap();
    }
    let mut file = open(directory.path(), Rotation::at_bytes(1).keep_files(3));
    write(&mut file, b"1\n2\n");
    let expected = ["combined.2026-11-23.3.log", "combined.2036-01-01.1.log", "combined.2036-01-02.2.log"];
    assert_eq!(names(directory.path())[..3], expected);
    write(&mut file, b"3\n4\n5\n");
    let expected = ["combined.2026-11-23.4.log", "combined.2026-11-23.5.log", "combined.2026-11-23.6.log"];
    assert_eq!(names(directory.path())[..3], expected, "the newest stay");
}

#[test]
fn the_file_that_was_just_closed_stays() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY);
    let mut file = open(directory.path(), Rotation::at_bytes(1).keep_files(0).keep_for(Duration::ZERO));
    write(&mut file, b"1\n2\n3\n");
    check(directory.path(), &[("combined.2026-11-23.2.log", "2\n"), ("combined.log", "3\n")]);
}

#[test]
fn closed_files_go_when_they_are_older_than_asked_for_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    set_now(MONDAY);
    let rotation = Rotation::daily().keep_files(100).keep_for(Duration::from_secs(3 * SECONDS_PER_DAY));
    let mut file = open(directory.path(), rotation);
    for day in 0..30 {
        set_now(MONDAY + day * SECONDS_PER_DAY);
        write(&mut file, b"line\n");
        let kept = names(directory.path()).len() as u64 - 1;
        assert_eq!(kept, day.min(4), "day {day}");
    }
}

#[test]
fn a_log_with_few_lines_is_as_old_as_the_days_that_the_others_saw() {
    let directory = tempfile::tempdir().unwrap();
    let rotation = || Rotation::daily().keep_files(100).keep_for(Duration::from_secs(3 * SECONDS_PER_DAY));
    set_now(MONDAY);
    let mut file = open(directory.path(), rotation());
    let mut errors = RollingFile::open_at(
        directory.path(),
        "error",
        rotation(),
        FileAccess::default(),
        Arc::new(|text| panic!("{text}")),
        || NOW.with(Cell::get),
    )
    .unwrap();
    for day in 0..60 {
        set_now(MONDAY + day * SECONDS_PER_DAY);
        write(&mut file, b"line\n");
        if day % 7 == 0 {
            write(&mut errors, b"error\n");
        }
    }
    let names = names(directory.path());
    let of = |stem: &str| names.iter().filter(|name| name.starts_with(stem)).count();
    assert_eq!((of("combined."), of("error.")), (5, 2), "{names:?}");
}

#[test]
fn a_clock_that_jumps_removes_nothing() {
    let year = 365 * SECONDS_PER_DAY;
    for jump in [year, 40 * year] {
        let directory = tempfile::tempdir().unwrap();
        let rotation = || Rotation::daily().keep_files(100).keep_for(Duration::from_secs(7 * SECONDS_PER_DAY));
        set_now(MONDAY);
        let mut file = open(directory.path(), rotation());
        for day in 0..8 {
            set_now(MONDAY + day * SECONDS_PER_DAY);
            write(&mut file, b"line\n");
        }
        let before = names(directory.path());
        set_now(MONDAY + 7 * SECONDS_PER_DAY + jump);
        write(&mut file, b"ahead\n");
        // Also when the process starts with the wrong clock.
        drop(open(directory.path(), rotation()));
        let after = names(directory.path());
        assert_eq!(after.len(), before.len() + 1, "{after:?}");
        assert!(before.iter().all(|name| after.contains(name)), "{before:?}, {after:?}");
        // And when it is set right.
        set_now(MONDAY + 7 * SECONDS_PER_DAY);
        write(&mut file, b"back\n");
        assert!(before.iter().all(|name| names(directory.path()).contains(name)), "{before:?}");
    }
}

#[cfg(all(unix, not(steeple_os_other)))]
#[test]
fn a_moved_or_removed_file_is_noticed_at_once_whatever_the_clock_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("combined.log");
    set_now(MONDAY + 5_000);
    let mut file = open(directory.path(), Rotation::daily());
    write(&mut file, b"before\n");
    set_now(MONDAY);
    fs::rename(&path, directory.path().join("moved")).unwrap();
    write(&mut file, b"after\n");
    check(directory.path(), &[("combined.log", "after\n"), ("moved", "before\n")]);
    fs::remove_file(&path).unwrap();
    write(&mut file, b"new\n");
    check(directory.path(), &[("combined.log", "new\n"), ("moved", "before\n")]);
}

#[cfg(all(unix, not(steeple_os_other)))]
#[test]
fn a_removed_directory_is_created_again_and_reported_once() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("log");
    set_now(MONDAY);
    let reports = Arc::new(Mutex::new(Vec::new()));
    let report = Arc::clone(&reports);
    let report: Report = Arc::new(move |text: &str| report.lock().unwrap().push(text.to_owned()));
    let mut file = open_with(&directory, Rotation::at_bytes(4), FileAccess::default(), report).unwrap();
    write(&mut file, b"1\n");
    fs::remove_dir_all(&directory).unwrap();
    write(&mut file, b"2\n3\n4\n");
    check(&directory, &[("combined.2026-11-23.1.log", "2\n3\n"), ("combined.log", "4\n")]);
    let reports = reports.lock().unwrap();
    assert!(reports.len() == 1 && reports[0].contains("created again"), "{reports:?}");
}

#[cfg(all(unix, not(steeple_os_other)))]
#[test]
fn files_and_directories_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    set_now(MONDAY);
    let check = |directory: &Path, access: FileAccess, want: (u32, u32)| {
        let mut file = open_with(directory, Rotation::at_bytes(1), access, Arc::new(|_| ())).unwrap();
        write(&mut file, b"1\n2\n");
        for (name, _) in files(directory) {
            assert_eq!(mode(&directory.join(&name)) & !want.0, 0, "{name}");
        }
        assert_eq!(mode(directory) & !want.1, 0);
    };
    check(&root.path().join("a/b"), FileAccess::default(), (0o640, 0o750));
    let strict = FileAccess { file_mode: 0o600, directory_mode: 0o700, ..FileAccess::default() };
    check(&root.path().join("c"), strict, (0o600, 0o700));
}

#[cfg(all(unix, not(steeple_os_other)))]
#[test]
fn links_are_followed_only_if_that_is_asked_for() {
    use std::os::unix::fs::symlink;
    let directory = tempfile::tempdir().unwrap();
    let (path, target) = (directory.path().join("combined.log"), directory.path().join("target"));
    fs::write(&target, "untouched\n").unwrap();
    symlink(&target, &path).unwrap();
    set_now(MONDAY);
    let refused = open_with(directory.path(), Rotation::daily(), FileAccess::default(), Arc::new(|_| ()));
    let error = refused.err().unwrap().to_string();
    assert!(error.contains("symbolic link"), "{error}");

    // Put there while the log is written.
    fs::remove_file(&path).unwrap();
    let mut file = open(directory.path(), Rotation::daily());
    fs::remove_file(&path).unwrap();
    symlink(&target, &path).unwrap();
    assert!(file.write(Part { lines: b"line\n", day: MONDAY / SECONDS_PER_DAY, stamps: &[] }).is_err());
    assert_eq!(fs::read_to_string(&target).unwrap(), "untouched\n");
    fs::remove_file(&path).unwrap();
    symlink("/dev/null", &path).unwrap();
    assert!(file.write(Part { lines: b"line\n", day: MONDAY / SECONDS_PER_DAY, stamps: &[] }).is_err());

    fs::remove_file(&path).unwrap();
    symlink(&target, &path).unwrap();
    set_now(clock::unix_now().as_secs());
    let follow = FileAccess { follow_links: true, ..FileAccess::default() };
    let mut file = open_with(directory.path(), Rotation::daily(), follow, Arc::new(|_| ())).unwrap();
    write(&mut file, b"line\n");
    assert!(fs::read_to_string(&target).unwrap().ends_with("line\n"));
}

/// Writes only a part, as a disk that is nearly full.
fn write_half_a_line(file: &mut RollingFile) {
    let open = file.open.as_mut().unwrap();
    open.file.write_all(b"half a ").unwrap();
    open.end += 7;
    open.mid_line = true;
}

#[test]
fn the_second_half_of_a_line_follows_the_first_or_is_counted_as_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("combined.log");
    set_now(clock::unix_now().as_secs());
    let mut file = open(directory.path(), Rotation::daily());
    write_half_a_line(&mut file);
    assert_eq!(write(&mut file, b"line\n"), 0);
    check(directory.path(), &[("combined.log", "half a line\n")]);

    // Cut in place, to make room.
    write_half_a_line(&mut file);
    File::options().write(true).truncate(true).open(&path).unwrap();
    assert_eq!(write(&mut file, b"line\nwhole\n"), 1);
    check(directory.path(), &[("combined.log", "whole\n")]);

    // Another process writes behind the half line: it ends the line first.
    write_half_a_line(&mut file);
    let mut other = open(directory.path(), Rotation::daily());
    write(&mut other, b"other\n");
    assert_eq!(write(&mut file, b"line\nwhole\n"), 1);
    check(directory.path(), &[("combined.log", "whole\nhalf a \nother\nwhole\n")]);

    // Cut within a line.
    File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
    assert_eq!(write(&mut file, b"whole\n"), 0);
    check(directory.path(), &[("combined.log", "who\nwhole\n")]);
}
