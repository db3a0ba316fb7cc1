//! What can be asked of a store's files, also while their process runs: for `steeple-outbox`.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension, params};
use steeple_core::clock;

use super::{
    db::{self, COLUMNS, DEAD, ERASED, RETRY},
    place,
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

/// A database, opened beside whoever owns it.
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
    /// When it cannot be read.
    pub fn attempts(&self, sink: &str) -> Result<u64, StoreError> {
        let count = "SELECT count(*) FROM exc WHERE sink = ?1 AND kind = ?2 AND attempt = 1";
        let count = self.0.query_row(count, params![sink, RETRY], |row| row.get::<_, i64>(0));
        count.map(|count| count.max(0).cast_unsigned()).map_err(failed)
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
            mark(&self.0, key, ERASED)?;
            self.0.execute("DELETE FROM exc WHERE seq IN (SELECT seq FROM ev WHERE key = ?1)", [key])?;
            let erased = self.0.execute("DELETE FROM ev WHERE key = ?1", [key])?;
            self.0.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
            Ok(erased as u64)
        };
        erase().map_err(failed)
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
        COLUMNS.split(", ").map(|column| format!("ev.{column}")).collect::<Vec<_>>().join(", ")
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

/// Notes something about whoever is behind a key.
pub(super) fn mark(db: &Connection, key: &[u8], kind: i64) -> rusqlite::Result<()> {
    let at = i64::try_from(clock::unix_now().as_secs()).unwrap_or(i64::MAX);
    db.execute("INSERT OR REPLACE INTO mark VALUES (?1, ?2, ?3)", params![key, kind, at]).map(drop)
}
