use std::time::Duration;

/// When a log file is closed and a new one begun, and how long closed files are kept. Default: daily at midnight UTC, 14
/// closed files.
///
/// `combined.log` becomes `combined.2026-11-23.7.log`: the day of its lines, and a number that counts the closed files of
/// the directory. A line is in a file of the day that its own timestamp has, also when it is written after midnight.
///
/// Several processes may write into one directory, as they do while a service restarts: each line is written once, and
/// the files roll as if one process wrote them. This needs a local file system on Unix.
#[must_use = "options do nothing until the log is set up with them"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    pub(super) daily: bool,
    pub(super) max_bytes: Option<u64>,
    pub(super) keep_files: usize,
    pub(super) keep_days: Option<u64>,
}

pub(super) const SECONDS_PER_DAY: u64 = 86_400;

impl Rotation {
    /// A new file each day, at midnight UTC.
    pub fn daily() -> Self {
        Self { daily: true, max_bytes: None, keep_files: 14, keep_days: None }
    }

    /// A new file before this one has more than so many bytes. A single longer line gets a file to itself.
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

    /// How many closed files of each log are kept; at least 1. Those that were closed first are removed first, whatever
    /// the clock showed. Default: 14.
    pub fn keep_files(mut self, files: usize) -> Self {
        self.keep_files = files.max(1);
        self
    }

    /// How long closed files are kept, in whole days, rounded up. Default: no limit; [`keep_files`](Self::keep_files) holds
    /// as well.
    ///
    /// Implies a new file each day. A file's age is the number of days on which a file of the directory was closed since;
    /// a file is removed when it is more than a day older than asked for. So a clock that jumps removes nothing, and days
    /// without any log line do not count.
    pub fn keep_for(mut self, age: Duration) -> Self {
        self.keep_days = Some(age.as_secs().div_ceil(SECONDS_PER_DAY));
        self.daily = true;
        self
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self::daily()
    }
}

/// Days since the epoch.
pub(crate) fn day_of(since_epoch: Duration) -> u64 {
    since_epoch.as_secs() / SECONDS_PER_DAY
}
