//! Closed log files: `combined.2026-11-23.7.log`.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    path::Path,
};

use super::rotation::{Rotation, SECONDS_PER_DAY};
use crate::encode::time::date;

/// A file that was closed.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) stem: String,
    pub(super) day: u64,
    /// Later ones have greater numbers, across all logs of the directory. Clocks go back, numbers do not.
    pub(super) number: u64,
    pub(super) name: String,
}

/// A number that is greater than this was not counted.
const MAX_NUMBER: u64 = 1_000_000_000_000;

/// How often another name is tried when one is taken.
const MAX_CLAIMS: u64 = 1_000;

impl Closed {
    fn new(stem: &str, day: u64, number: u64) -> Self {
        let (year, month, of_month) = date(day.saturating_mul(SECONDS_PER_DAY));
        let name = format!("{stem}.{year:04}-{month:02}-{of_month:02}.{number}.log");
        Self { stem: stem.to_owned(), day, number, name }
    }

    fn parse(name: &str) -> Option<Self> {
        let (rest, number) = name.strip_suffix(".log")?.rsplit_once('.')?;
        let (stem, day) = rest.rsplit_once('.')?;
        let closed = Self::new(stem, parse_day(day)?, number.parse().ok().filter(|number| *number <= MAX_NUMBER)?);
        // Only names that we would have given: not `+1`, not `01`.
        (closed.name == name).then_some(closed)
    }

    /// The closed files of all logs in a directory, in the order in which they were closed.
    pub(super) fn all(directory: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut closed: Vec<_> = names.filter_map(|name| Self::parse(&name)).collect();
        closed.sort_unstable_by_key(|closed| (closed.number, closed.day));
        closed
    }

    /// Takes the next name for this process alone, by creating the file.
    pub(super) fn claim(directory: &Path, stem: &str, day: u64) -> io::Result<Self> {
        let next = Self::all(directory).last().map_or(0, |last| last.number).saturating_add(1);
        for number in next..next.saturating_add(MAX_CLAIMS) {
            let closed = Self::new(stem, day, number);
            match OpenOptions::new().write(true).create_new(true).open(directory.join(&closed.name)) {
                Ok(_empty) => return Ok(closed),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Removes what the rotation no longer keeps of these logs. `today` is the day of the files that are open.
    ///
    /// Nothing else in the directory is ever touched, and the file of each log that was closed last always stays.
    pub(super) fn prune(directory: &Path, stems: &[&str], rotation: &Rotation, today: u64) {
        let all = Self::all(directory);
        let mut logs: BTreeMap<&str, Later> = BTreeMap::new();
        for closed in all.iter().rev() {
            let later = logs.entry(&closed.stem).or_insert(Later { day: today, days: 0, files: 0 });
            // A step of the clock is worth a day at most, like any other.
            later.days = later.days.saturating_add(u64::from(later.day > closed.day));
            later.day = closed.day;
            let newer = later.files;
            later.files = newer.saturating_add(1);
            if newer == 0 || !stems.contains(&&*closed.stem) {
                continue;
            }
            // A log with few lines, such as `error.log`, is as old as the others.
            let age = logs.values().map(|log| log.days.saturating_add(u64::from(log.day > closed.day))).max();
            let is_old = rotation.keep_days.is_some_and(|keep| age.unwrap_or(0) > keep.saturating_add(1));
            if newer >= rotation.keep_files || is_old {
                // What cannot be removed is tried again at the next rotation.
                let _kept = fs::remove_file(directory.join(&closed.name));
            }
        }
    }
}

/// The state of a log's files that were closed after another one.
struct Later {
    /// The day of the first of them; without one, that of the open file.
    day: u64,
    /// How many days they have seen pass.
    days: u64,
    files: usize,
}

/// Days since the epoch of a date such as `2026-11-23`.
pub(super) fn parse_day(text: &str) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_back_as_they_were_written() {
        for day in 0..40_000 {
            let name = Closed::new("a.b", day, 7).name;
            let closed = Closed::parse(&name).unwrap();
            assert_eq!((&*closed.stem, closed.day, closed.number), ("a.b", day, 7), "{name}");
        }
        assert_eq!(Closed::new("x", 20_780, 1).name, "x.2026-11-23.1.log");
        for other in [
            "x.log",
            "x.2026-11-23.log",
            "x.2026-11-23.01.log",
            "x.2026-02-30.1.log",
            "x.2026-11-23.1.log.gz",
            "x.2026-11-23.1000000000001.log",
        ] {
            assert!(Closed::parse(other).is_none(), "{other}");
        }
    }
}
