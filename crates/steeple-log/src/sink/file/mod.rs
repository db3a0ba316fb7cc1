use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use steeple_core::clock;

use super::{
    access::FileAccess,
    closed::{Closed, parse_day},
    lock::DirectoryLock,
    queue::Part,
    rotation::{Rotation, SECONDS_PER_DAY, day_of},
    worker::{Destination, Progress, Report},
};
use crate::os::{self, Identity};

/// The logs of a directory.
pub(crate) const STEMS: [&str; 2] = ["combined", "error"];

/// `combined.log`, which becomes `combined.2026-11-23.7.log` when it is closed.
///
/// Any number of processes may write into the same directory. Everything that concerns a name happens under the
/// directory's lock: a process looks whether the name still belongs to the file that it has open, closes the file if that
/// is due, and writes. A closed name is claimed by creating it, so that even without the lock nothing is overwritten.
pub(crate) struct RollingFile {
    directory: PathBuf,
    /// `combined`.
    stem: String,
    rotation: Rotation,
    access: FileAccess,
    now: fn() -> Duration,
    report: Report,
    lock: DirectoryLock,
    open: Option<Open>,
    /// It was reported that the file cannot be closed.
    complained: bool,
}

struct Open {
    file: File,
    identity: Option<Identity>,
    /// A device has no size and no last byte.
    is_regular: bool,
    day: u64,
    /// Where the file ended when we last wrote. It has been written by another process, or cut, if it ends elsewhere.
    end: u64,
    /// Whether that is known to be the end of a line of ours.
    is_ours: bool,
    /// The last write ended within a line.
    mid_line: bool,
    /// Its size when it was last tried to close it, in vain.
    refused_at: u64,
}

/// The clock may be a minute behind another machine's before a file of tomorrow is taken for a mistake.
const SKEW: Duration = Duration::from_secs(60);

/// How often the file is closed within one write: once, unless another process interferes.
const MAX_ROTATIONS: usize = 4;

/// Enough for the timestamp that each of our lines begins with.
const FIRST_BYTES: usize = 32;

impl RollingFile {
    /// Opens the file, creates it if need be, and removes closed files that are too old.
    pub(crate) fn open(
        directory: &Path,
        stem: &str,
        rotation: Rotation,
        access: FileAccess,
        report: Report,
    ) -> io::Result<Self> {
        Self::open_at(directory, stem, rotation, access, report, clock::unix_now)
    }

    pub(crate) fn open_at(
        directory: &Path,
        stem: &str,
        rotation: Rotation,
        access: FileAccess,
        report: Report,
        now: fn() -> Duration,
    ) -> io::Result<Self> {
        os::make_directory(directory, access)?;
        let mut file = Self {
            directory: directory.to_owned(),
            stem: stem.to_owned(),
            rotation,
            access,
            now,
            report,
            lock: DirectoryLock::open(directory, access),
            open: None,
            complained: false,
        };
        let today = day_of((file.now)());
        file.locked(|file| file.reopen(today))?;
        file.prune(today);
        Ok(file)
    }

    fn locked<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        self.lock.acquire();
        let value = f(self);
        self.lock.release();
        value
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.log", self.stem))
    }

    /// Opens the file for lines of this day. A file that was begun on an earlier day keeps that day.
    fn reopen(&mut self, day: u64) -> io::Result<()> {
        self.open = None;
        let path = self.path();
        let mut file = match os::open_to_append(&path, true, self.access) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                os::make_directory(&self.directory, self.access)?;
                self.lock.release();
                self.lock = DirectoryLock::open(&self.directory, self.access);
                self.lock.acquire();
                (self.report)(&format!("log directory {} was removed, and is created again", self.directory.display()));
                os::open_to_append(&path, true, self.access)?
            }
            opened => opened?,
        };
        let metadata = file.metadata()?;
        let is_regular = metadata.is_file();
        let end = if is_regular { metadata.len() } else { 0 };
        let begun = if end > 0 {
            let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            first_day(&mut file).or(written.map(day_of)).unwrap_or(day)
        } else {
            day
        };
        let identity = os::identity(&metadata);
        let is_ours = end == 0;
        self.open = Some(Open { file, identity, is_regular, day: begun, end, is_ours, mid_line: false, refused_at: 0 });
        Ok(())
    }

    /// Whether the file's name belongs to another file by now, or to none.
    fn was_moved(&self) -> bool {
        let Some(open) = &self.open else { return false };
        open.identity.is_some() && open.identity != path_identity(&self.path(), self.access)
    }

    /// Writes a first part of these lines of one day, under the lock.
    fn write_locked(&mut self, lines: &[u8], day: u64) -> io::Result<Progress> {
        if self.was_moved() {
            // Closed at once: a file that was removed to make room holds its room for as long as it is open.
            let mid_line = self.open.take().is_some_and(|open| open.mid_line);
            if mid_line {
                // The first half of this line is gone with the file. The second must not stand alone.
                return Ok(Progress { bytes: line_end(lines), lost: 1 });
            }
        }
        for _ in 0..MAX_ROTATIONS {
            if self.open.is_none() {
                self.reopen(day)?;
            }
            let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
            let size = open.size()?;
            if size != open.end {
                open.is_ours = size == 0;
                open.end = size;
                if std::mem::take(&mut open.mid_line) {
                    // The file was truncated, or another process wrote behind the half line.
                    return Ok(Progress { bytes: line_end(lines), lost: 1 });
                }
            }
            if open.mid_line {
                return self.append(lines);
            }
            if self.rotation.daily && size == 0 {
                open.day = day;
            }
            if self.rotation.daily && day < open.day && !is_behind((self.now)(), open.day) {
                return self.append_late(lines, day);
            }
            let is_another_day = self.rotation.daily && day != open.day;
            let filled = size.saturating_sub(open.refused_at).saturating_add(line_end(lines) as u64);
            let is_full = self.rotation.max_bytes.is_some_and(|max| filled > max);
            if size == 0 || !(is_another_day || is_full) || !self.close(day) {
                return self.append(lines);
            }
        }
        self.append(lines)
    }

    /// Closes the file. Where it cannot be renamed, `false`: it goes on being written.
    fn close(&mut self, day: u64) -> bool {
        let Some(open) = self.open.take() else { return false };
        let path = self.path();
        let renamed = Closed::claim(&self.directory, &self.stem, open.day).and_then(|closed| {
            let claimed = self.directory.join(closed.name);
            // Another process may have closed it, if the lock is not to be had.
            let is_same = open.identity.is_none() || path_identity(&path, self.access) == open.identity;
            let renamed = if is_same { fs::rename(&path, &claimed) } else { Ok(()) };
            if renamed.is_err() || !is_same {
                let _empty = fs::remove_file(&claimed);
            }
            renamed
        });
        match renamed {
            Ok(()) => {
                self.complained = false;
                self.prune(day);
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    (self.report)(&format!("log {}.log cannot be closed and goes on growing: {error}", self.stem));
                }
                // Tried again at the next midnight, or when as many bytes have come again.
                let refused_at = open.end;
                self.open = Some(Open { day, refused_at, ..open });
                false
            }
        }
    }

    fn prune(&self, today: u64) {
        Closed::prune(&self.directory, &[STEMS.as_slice(), &[&self.stem]].concat(), &self.rotation, today);
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<Progress> {
        let max_bytes = self.rotation.max_bytes;
        let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
        open.append(lines, max_bytes)
    }

    /// Writes lines of a day whose file is closed already: they waited while midnight passed.
    fn append_late(&mut self, lines: &[u8], day: u64) -> io::Result<Progress> {
        let closed = Closed::all(&self.directory);
        let last = closed.iter().rev().find(|closed| closed.stem == self.stem && closed.day == day);
        if let Some(last) = last
            && let Ok(mut open) = self.open_closed(&last.name, day)
        {
            let filled = open.end.saturating_add(line_end(lines) as u64);
            if self.rotation.max_bytes.is_none_or(|max| filled <= max) {
                return open.append_whole(lines, self.rotation.max_bytes);
            }
        }
        let claimed = Closed::claim(&self.directory, &self.stem, day)?;
        self.open_closed(&claimed.name, day)?.append_whole(lines, self.rotation.max_bytes)
    }

    fn open_closed(&self, name: &str, day: u64) -> io::Result<Open> {
        let file = os::open_to_append(&self.directory.join(name), false, self.access)?;
        let end = file.metadata()?.len();
        let is_ours = end == 0;
        Ok(Open { file, identity: None, is_regular: true, day, end, is_ours, mid_line: false, refused_at: 0 })
    }
}

impl Open {
    fn size(&self) -> io::Result<u64> {
        if self.is_regular { Ok(self.file.metadata()?.len()) } else { Ok(self.end) }
    }

    fn append(&mut self, lines: &[u8], max_bytes: Option<u64>) -> io::Result<Progress> {
        if !self.is_ours && !self.mid_line {
            if !ends_in_newline(&mut self.file).unwrap_or(true) {
                // A line that was cut off, when a process died or the disk was full, ends here. Ours begins as one.
                self.file.write_all(b"\n")?;
                self.end = self.end.saturating_add(1);
            }
            self.is_ours = true;
        }
        let room = |max: u64| max.saturating_add(self.refused_at).saturating_sub(self.end);
        let part = max_bytes.map_or(lines, |max| whole_lines(lines, room(max)));
        let bytes = self.file.write(part)?;
        if self.is_regular {
            self.end = self.end.saturating_add(bytes as u64);
        }
        self.mid_line = part.get(..bytes).and_then(<[u8]>::last).is_some_and(|last| *last != b'\n');
        Ok(Progress { bytes, lost: 0 })
    }

    /// The same for a file that is not kept open: a line that is written in part is lost.
    fn append_whole(&mut self, lines: &[u8], max_bytes: Option<u64>) -> io::Result<Progress> {
        let progress = self.append(lines, max_bytes)?;
        if !self.mid_line {
            return Ok(progress);
        }
        let rest = line_end(lines.get(progress.bytes..).unwrap_or_default());
        Ok(Progress { bytes: progress.bytes.saturating_add(rest), lost: 1 })
    }
}

impl Destination for RollingFile {
    fn write(&mut self, part: Part<'_>) -> io::Result<Progress> {
        self.locked(|file| file.write_locked(part.lines, part.day))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reopen(&mut self) {
        if self.open.as_ref().is_none_or(|open| !open.mid_line) {
            let today = day_of((self.now)());
            // If it fails, the next write tries again, and reports it.
            let _later = self.locked(|file| file.reopen(today));
        }
    }
}

/// Whether the clock was set back, so that a day which seemed to have begun is still to come.
fn is_behind(now: Duration, day: u64) -> bool {
    now.saturating_add(SKEW) < Duration::from_secs(day.saturating_mul(SECONDS_PER_DAY))
}

fn path_identity(path: &Path, access: FileAccess) -> Option<Identity> {
    let metadata = if access.follow_links { fs::metadata(path) } else { fs::symlink_metadata(path) };
    metadata.ok().and_then(|metadata| os::identity(&metadata))
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

fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The day of the first line's timestamp, which is more precise than the time of the last write.
fn first_day(file: &mut File) -> Option<u64> {
    let mut first = [0; FIRST_BYTES];
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_exact(&mut first).ok()?;
    let text = str::from_utf8(&first).ok()?;
    let value = text.strip_prefix("{\"timestamp\":\"").or_else(|| text.strip_prefix("{\"@timestamp\":\""))?;
    let (date, _time) = value.split_once('T')?;
    parse_day(date)
}

#[cfg(all(test, unix))]
mod processes;
#[cfg(test)]
mod tests;
