use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use steeple_core::clock;

use super::worker::{Destination, Progress};
use crate::encode::time::date;

/// When a log file is closed and a new one begun. Default: at midnight UTC.
#[must_use = "options do nothing until the log is set up with them"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    daily: bool,
    max_bytes: Option<u64>,
    keep_files: usize,
    keep_for: Option<Duration>,
}

impl Rotation {
    /// A new file each day, at midnight UTC.
    pub fn daily() -> Self {
        Self { daily: true, max_bytes: None, keep_files: 14, keep_for: None }
    }

    /// A new file before this one has more than so many bytes. A single longer line gets a file of its own.
    pub fn at_bytes(max_bytes: u64) -> Self {
        Self { daily: false, max_bytes: Some(max_bytes), ..Self::daily() }
    }

    /// A new file each day as well.
    pub fn and_daily(mut self) -> Self {
        self.daily = true;
        self
    }

    /// Before a day is over, a new file as well when this one would have more than so many bytes.
    pub fn and_at_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = Some(max_bytes);
        self
    }

    /// How many closed files stay, of each log. The oldest go. Default: 14.
    pub fn keep_files(mut self, files: usize) -> Self {
        self.keep_files = files;
        self
    }

    /// How long closed files stay, counted in days from the day that their name says. Default: no limit.
    pub fn keep_for(mut self, age: Duration) -> Self {
        self.keep_for = Some(age);
        self
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self::daily()
    }
}

/// `combined.log`, which becomes `combined.2026-11-23.1.log` when it is closed.
pub(crate) struct RollingFile {
    directory: PathBuf,
    /// `combined`.
    stem: String,
    rotation: Rotation,
    now: fn() -> Duration,
    open: Option<Open>,
    /// When the file's place was last looked at, for those who move files away.
    looked_at: Duration,
}

struct Open {
    file: File,
    bytes: u64,
    day: u64,
    /// The last write ended within a line.
    mid_line: bool,
    identity: Option<(u64, u64)>,
}

const SECONDS_PER_DAY: u64 = 86_400;
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl RollingFile {
    /// Opens the file, makes it if need be, and removes what is too old.
    pub(crate) fn open(directory: &Path, stem: &str, rotation: Rotation) -> io::Result<Self> {
        Self::open_at(directory, stem, rotation, clock::unix_now)
    }

    pub(crate) fn open_at(directory: &Path, stem: &str, rotation: Rotation, now: fn() -> Duration) -> io::Result<Self> {
        let mut file = Self {
            directory: directory.to_owned(),
            stem: stem.to_owned(),
            rotation,
            now,
            open: None,
            looked_at: Duration::ZERO,
        };
        file.reopen()?;
        file.prune();
        Ok(file)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.stem))
    }

    fn reopen(&mut self) -> io::Result<&mut Open> {
        self.open = None;
        let path = self.path();
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let metadata = file.metadata()?;
        let bytes = if metadata.is_file() { metadata.len() } else { 0 };
        let today = (self.now)().as_secs() / SECONDS_PER_DAY;
        // A file that was begun on an earlier day still has that day's name to get.
        let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let day = written.filter(|_| bytes > 0).map_or(today, |time| (time.as_secs() / SECONDS_PER_DAY).min(today));
        let mid_line = bytes > 0 && !ends_in_newline(&mut file).unwrap_or(true);
        if mid_line {
            // Cut off when the process before this one died. Its line ends here, so that ours begins as one.
            file.write_all(b"\n")?;
        }
        let bytes = bytes.saturating_add(u64::from(mid_line));
        self.looked_at = (self.now)();
        Ok(self.open.insert(Open { file, bytes, day, mid_line: false, identity: identity(&metadata) }))
    }

    /// Closes the file and begins a new one. Where it cannot be renamed, it goes on being written.
    fn rotate(&mut self) -> io::Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let day = open.day;
        drop(open);
        let renamed = fs::rename(self.path(), self.free_name(day));
        let today = (self.now)().as_secs() / SECONDS_PER_DAY;
        let open = self.reopen()?;
        if renamed.is_err() {
            // Asked again at the next midnight, or when as many bytes have come again.
            open.day = today;
            open.bytes = 0;
        }
        self.prune();
        Ok(())
    }

    fn free_name(&self, day: u64) -> PathBuf {
        let last = self.closed().into_iter().filter(|closed| closed.day == day).map(|closed| closed.number).max();
        self.directory.join(closed_name(&self.stem, day, last.unwrap_or(0).saturating_add(1)))
    }

    /// The closed files of this log, oldest first. Nothing else in the directory is ever touched.
    fn closed(&self) -> Vec<Closed> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let mut closed: Vec<_> = entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name();
                Closed::parse(&self.stem, name.to_str()?)
            })
            .collect();
        closed.sort_unstable_by_key(|closed| (closed.day, closed.number));
        closed
    }

    fn prune(&self) {
        let closed = self.closed();
        let surplus = closed.len().saturating_sub(self.rotation.keep_files);
        let today = (self.now)().as_secs() / SECONDS_PER_DAY;
        let oldest = self.rotation.keep_for.map(|age| today.saturating_sub(age.as_secs() / SECONDS_PER_DAY));
        for (place, closed) in closed.iter().enumerate() {
            if place < surplus || oldest.is_some_and(|oldest| closed.day < oldest) {
                // What cannot be removed is tried again at the next rotation.
                let _kept = fs::remove_file(self.directory.join(&closed.name));
            }
        }
    }

    /// Whether somebody has moved or removed the file, as logrotate does.
    fn was_moved(&mut self) -> bool {
        let now = (self.now)();
        if now.saturating_sub(self.looked_at) < LOOK_EVERY {
            return false;
        }
        self.looked_at = now;
        let there = fs::metadata(self.path()).ok().and_then(|metadata| identity(&metadata));
        self.open.as_ref().is_some_and(|open| open.identity.is_some() && open.identity != there)
    }

    fn is_due(&self, first_line: usize) -> bool {
        let Some(open) = self.open.as_ref().filter(|open| open.bytes > 0) else { return false };
        let today = (self.now)().as_secs() / SECONDS_PER_DAY;
        let full = |max| open.bytes.saturating_add(first_line as u64) > max;
        (self.rotation.daily && open.day < today) || self.rotation.max_bytes.is_some_and(full)
    }
}

impl Destination for RollingFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<Progress> {
        let mid_line = self.open.as_ref().is_some_and(|open| open.mid_line);
        if self.was_moved() {
            // Closed at once: a file that was removed to make room holds its room for as long as it is open.
            self.open = None;
            if mid_line {
                // The first half of this line is gone with the file. The second must not stand alone.
                return Ok(Progress { bytes: line_end(lines), lost: 1 });
            }
        }
        if self.open.is_none() {
            self.reopen()?;
        }
        if !mid_line && self.is_due(line_end(lines)) {
            self.rotate()?;
        }
        let max_bytes = self.rotation.max_bytes;
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        let part = max_bytes.map_or(lines, |max| whole_lines(lines, max.saturating_sub(open.bytes)));
        let bytes = open.file.write(part)?;
        open.bytes = open.bytes.saturating_add(bytes as u64);
        open.mid_line = part.get(..bytes).and_then(<[u8]>::last).is_some_and(|last| *last != b'\n');
        Ok(Progress { bytes, lost: 0 })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As many whole lines as have room, at least one.
fn whole_lines(lines: &[u8], room: u64) -> &[u8] {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return lines;
    }
    let fits = lines.get(..room).and_then(|fits| fits.iter().rposition(|byte| *byte == b'\n'));
    let end = fits.map_or_else(|| line_end(lines), |newline| newline.saturating_add(1));
    lines.get(..end).unwrap_or(lines)
}

/// Where the first line ends.
fn line_end(lines: &[u8]) -> usize {
    lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |newline| newline.saturating_add(1))
}

/// A file that was closed: `combined.2026-11-23.1.log`.
struct Closed {
    day: u64,
    number: u32,
    name: String,
}

impl Closed {
    fn parse(stem: &str, name: &str) -> Option<Self> {
        let middle = name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(".log")?;
        let (day, number) = middle.split_once('.')?;
        let (day, number) = (parse_day(day)?, number.parse().ok()?);
        // Only what we would have written ourselves: not `+1`, not `01`.
        let closed = Self { day, number, name: closed_name(stem, day, number) };
        (closed.name == name).then_some(closed)
    }
}

fn closed_name(stem: &str, day: u64, number: u32) -> String {
    let (year, month, of_month) = date(day.saturating_mul(SECONDS_PER_DAY));
    format!("{stem}.{year:04}-{month:02}-{of_month:02}.{number}.log")
}

/// Days since the epoch of a date such as `2026-11-23`.
fn parse_day(text: &str) -> Option<u64> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let (year, month, day): (u64, u64, u64) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, as in `date`.
    let shifted = if month > 2 { year } else { year.checked_sub(1)? };
    let in_year = (month.checked_add(9)? % 12).checked_mul(153)?.checked_add(2)? / 5;
    let leap = (shifted / 4).checked_sub(shifted / 100)?.checked_add(shifted / 400)?;
    let days = shifted.checked_mul(365)?.checked_add(leap)?.checked_add(in_year)?.checked_add(day)?;
    days.checked_sub(719_469)
}

fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "other systems have none")]
fn identity(metadata: &fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_metadata: &fs::Metadata) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

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
        RollingFile::open_at(directory, "combined", rotation, || NOW.with(Cell::get)).unwrap()
    }

    fn write(file: &mut RollingFile, mut lines: &[u8]) {
        while !lines.is_empty() {
            let progress = file.write(lines).unwrap();
            lines = &lines[progress.bytes..];
        }
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
    fn days_read_back_as_what_they_were() {
        for day in 0..40_000 {
            let name = closed_name("a.b", day, 7);
            let closed = Closed::parse("a.b", &name).unwrap();
            assert_eq!((closed.day, closed.number), (day, 7), "{name}");
        }
        assert_eq!(closed_name("x", MONDAY / SECONDS_PER_DAY, 1), "x.2026-11-23.1.log");
        for other in ["x.log", "x.2026-11-23.log", "x.2026-11-23.01.log", "x.2026-02-30.1.log", "x.2026-11-23.1.log.gz"]
        {
            assert!(Closed::parse("x", other).is_none(), "{other}");
        }
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
    fn only_as_many_closed_files_stay_as_were_asked_for_and_nothing_else_is_touched() {
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
                "combined.2026-11-23.3.log",
                "combined.2026-11-23.4.log",
                "combined.log",
                "combined.log.bak",
                "error.2026-01-01.1.log",
                "notes.txt",
            ]
        );
    }

    #[test]
    fn closed_files_go_when_they_are_too_old() {
        let directory = tempfile::tempdir().unwrap();
        for old in ["combined.2026-11-15.1.log", "combined.2026-11-16.1.log", "combined.2026-11-22.12.log"] {
            fs::write(directory.path().join(old), "old").unwrap();
        }
        set_now(MONDAY);
        let _file = open(directory.path(), Rotation::daily().keep_for(Duration::from_secs(7 * SECONDS_PER_DAY)));
        let names: Vec<_> = files(directory.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["combined.2026-11-16.1.log", "combined.2026-11-22.12.log", "combined.log"]);
    }

    #[test]
    fn a_line_that_a_dead_process_left_half_written_ends_where_it_is() {
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

    #[cfg(unix)]
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
}
