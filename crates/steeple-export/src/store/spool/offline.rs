//! What can be asked of a store's files, also while their process runs: for `steeple-outbox`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension, params};
use steeple_core::clock;

use super::{
    db::{self, COLUMNS, DEAD, ERASED, RETRY},
    marks, place,
    room::failed,
};
use crate::{
    Reason,
    store::{DeadLetter, NewRow, StoreError},
};

/// The databases below a directory, the oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn databases(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let directories = place::siblings(root)?;
    Ok(directories.into_iter().map(|directory| directory.join(place::DATABASE)).filter(|path| path.exists()).collect())
}

/// What waits for one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkBacklog {
    /// Its name.
    pub sink: String,
    /// Rows that are not settled, dead letters apart.
    pub items: u64,
    /// Dead letters.
    pub dead: u64,
}

/// What a check found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Rows that are as they were written.
    pub good: u64,
    /// Rows that are not.
    pub damaged: u64,
    /// Whether SQLite found the file sound.
    pub is_sound: bool,
}

/// A database, opened beside its owner.
#[derive(Debug)]
pub struct Database(Connection);

impl Database {
    /// To look at it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        db::open_to_read(path).map(Self).map_err(failed)
    }

    /// To change it. Its process, if it runs, notices within a second.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_to_change(path: &Path) -> Result<Self, StoreError> {
        db::open(path).map(Self).map_err(failed)
    }

    /// The sinks, and what waits for them.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn backlogs(&self) -> Result<Vec<SinkBacklog>, StoreError> {
        let read = || -> rusqlite::Result<Vec<SinkBacklog>> {
            let mut statement = self.0.prepare(
                "SELECT name, (SELECT count(*) FROM ev WHERE seq > acked AND NOT EXISTS
                     (SELECT 1 FROM exc WHERE exc.seq = ev.seq AND exc.sink = name))
                   + (SELECT count(*) FROM exc WHERE sink = name AND kind = ?1),
                   (SELECT count(*) FROM exc WHERE sink = name AND kind = ?2) FROM sink ORDER BY name",
            )?;
            let backlogs = statement.query_map([RETRY, DEAD], |row| {
                Ok(SinkBacklog {
                    sink: row.get(0)?,
                    items: row.get::<_, i64>(1)?.max(0).cast_unsigned(),
                    dead: row.get::<_, i64>(2)?.max(0).cast_unsigned(),
                })
            })?;
            backlogs.collect()
        };
        read().map_err(failed)
    }

    /// Rows of a sink whose sending was noted, and not what became of it: in doubt, if their process has ended.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn attempted(&self, sink: &str) -> Result<Vec<NewRow>, StoreError> {
        let read = || -> rusqlite::Result<Vec<_>> {
            let mut statement = self.0.prepare(&format!(
                "SELECT {} FROM exc JOIN ev USING (seq) WHERE exc.sink = ?1 AND exc.kind = ?2 AND exc.attempt = 1",
                columns_of("ev")
            ))?;
            statement.query_map(params![sink, RETRY], db::row)?.collect()
        };
        Ok(read().map_err(failed)?.into_iter().filter_map(|(_, row)| row).collect())
    }

    /// Each row, the oldest first, until `each` returns `false`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn rows(&self, mut each: impl FnMut(u64, &NewRow) -> bool) -> Result<(), StoreError> {
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.0.prepare(&format!("SELECT {COLUMNS} FROM ev ORDER BY seq"))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if let (seq, Some(row)) = db::row(row)?
                    && !each(seq, &row)
                {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(failed)
    }

    /// One row.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn row(&self, id: &str) -> Result<Option<(u64, NewRow)>, StoreError> {
        let found = self
            .0
            .query_row(&format!("SELECT {COLUMNS} FROM ev WHERE id = ?1"), [id], db::row)
            .optional()
            .map_err(failed)?;
        Ok(found.and_then(|(seq, row)| Some((seq, row?))))
    }

    /// The dead letters of a sink, the oldest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn dead_letters(&self, sink: &str, max_items: usize) -> Result<Vec<DeadLetter>, StoreError> {
        dead_letters(&self.0, sink, max_items, false).map_err(failed)
    }

    /// Has the dead letters of a sink read again. Returns how many that are.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn requeue(&self, sink: &str) -> Result<u64, StoreError> {
        let changed = self.0.execute(
            "UPDATE exc SET kind = ?1, tries = 0, why = NULL WHERE sink = ?2 AND kind = ?3",
            params![RETRY, sink, DEAD],
        );
        changed.map(|changed| changed as u64).map_err(failed)
    }

    /// Removes every row and dead letter with a key. Returns how many there were.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn erase(&self, key: &[u8]) -> Result<u64, StoreError> {
        let erase = || -> rusqlite::Result<u64> {
            marks::put(&self.0, key, ERASED, db::micros(clock::unix_now()))?;
            self.0.execute("DELETE FROM exc WHERE seq IN (SELECT seq FROM ev WHERE key = ?1)", [key])?;
            let erased = self.0.execute("DELETE FROM ev WHERE key = ?1", [key])?;
            self.0.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
            Ok(erased as u64)
        };
        erase().map_err(failed)
    }

    /// Notes that the person behind a key has withdrawn consent, or given it again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_revoked(&self, key: &[u8], revoked: bool) -> Result<(), StoreError> {
        marks::set_revoked(&self.0, key, revoked).map_err(failed)
    }

    /// Reads every row, and has SQLite check the file. `progress` gets the number of rows read so far.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn check(&self, mut progress: impl FnMut(u64)) -> Result<Checked, StoreError> {
        let mut checked = Checked::default();
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.0.prepare(&format!("SELECT {COLUMNS} FROM ev ORDER BY seq"))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                match db::row(row)? {
                    (_, Some(_)) => checked.good = checked.good.saturating_add(1),
                    (_, None) => checked.damaged = checked.damaged.saturating_add(1),
                }
                let read = checked.good.saturating_add(checked.damaged);
                if read.is_multiple_of(10_000) {
                    progress(read);
                }
            }
            Ok(())
        };
        let read = read();
        let sound = self.0.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        checked.is_sound = read.is_ok() && sound.is_ok_and(|sound| sound == "ok");
        Ok(checked)
    }
}

/// Does something in every store below a directory but the own one, whether its process runs or has ended.
pub(super) fn beside(
    root: &Path,
    own: &Path,
    each: impl Fn(&Database) -> Result<u64, StoreError>,
) -> Result<u64, StoreError> {
    let paths = databases(root).map_err(|error| StoreError::new(Reason::of_error(&error)))?;
    let mut sum = 0_u64;
    for path in paths.iter().filter(|path| *path != own) {
        match Database::open_to_change(path).and_then(|database| each(&database)) {
            Ok(count) => sum = sum.saturating_add(count),
            // Its rows are in another one by now, which knows what ours knows.
            Err(_gone) if !path.exists() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}

/// The dead letters of a sink, the oldest or the newest first.
pub(super) fn dead_letters(
    db: &Connection,
    sink: &str,
    max_items: usize,
    newest_first: bool,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let order = if newest_first { "DESC" } else { "ASC" };
    let mut statement = db.prepare_cached(&format!(
        "SELECT {}, exc.why FROM exc JOIN ev USING (seq) WHERE exc.sink = ?1 AND exc.kind = ?2
         ORDER BY exc.seq {order} LIMIT ?3",
        columns_of("ev")
    ))?;
    let max = i64::try_from(max_items).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![sink, DEAD, max])?;
    let mut letters = Vec::new();
    while let Some(row) = rows.next()? {
        let why: Option<String> = row.get(7)?;
        if let (seq, Some(new)) = db::row(row)? {
            letters.push(DeadLetter {
                seq,
                why: Reason::scrub(why.as_deref().unwrap_or_default()),
                row: Arc::new(new),
            });
        }
    }
    Ok(letters)
}

fn columns_of(table: &str) -> String {
    COLUMNS.split(", ").map(|column| format!("{table}.{column}")).collect::<Vec<_>>().join(", ")
}
