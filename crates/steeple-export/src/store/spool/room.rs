//! What the thread asks the database: counts, room, a new beginning.

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{
    db::{self, SIZE, Usage, newest},
    intake::Intake,
    place::Place,
};
use crate::{
    Reason,
    store::{NewRow, StoreError},
};

/// Sets a damaged database aside. Returns a new one, and what can be read of the old.
pub(super) fn begin_anew(place: &Place) -> rusqlite::Result<(Connection, Option<Intake>)> {
    let aside = place.set_aside().map_err(|error| {
        rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(error.to_string()),
        )
    })?;
    let db = db::open(&place.database())?;
    Ok((db, Intake::damaged(&aside)))
}

/// A row that leaves the store although a sink may not have it.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) seq: u64,
    /// What the database had of it: a sink, and the kind of its exception.
    exceptions: Vec<(String, i64)>,
}

impl Leaving {
    /// Removes the exceptions of a row.
    pub(super) fn take(tx: &Connection, seq: u64) -> rusqlite::Result<Self> {
        let mut statement = tx.prepare_cached("DELETE FROM exc WHERE seq = ?1 RETURNING sink, kind")?;
        let exceptions = statement.query_map([seq.cast_signed()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self { seq, exceptions: exceptions.collect::<rusqlite::Result<_>>()? })
    }

    pub(super) fn exception(&self, sink: &str) -> Option<i64> {
        self.exceptions.iter().find(|(name, _)| name == sink).map(|(_, kind)| *kind)
    }
}

/// Evicts the newest rows of lower classes until there is room. `false`: no room for this class.
pub(super) fn make_room(
    tx: &Transaction<'_>,
    usage: &mut Usage,
    class: u8,
    size: u64,
    budget: u64,
    gone: &mut Vec<Leaving>,
) -> rusqlite::Result<bool> {
    while usage.total_bytes().saturating_add(size) > budget {
        let Some(lowest) = usage.lowest_below(class) else { return Ok(false) };
        let mut statement = tx.prepare_cached(&format!(
            "DELETE FROM ev WHERE seq = (SELECT max(seq) FROM ev WHERE class = ?1) RETURNING seq, {SIZE}"
        ))?;
        match statement.query_row([lowest], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional()? {
            Some((seq, bytes)) => {
                usage.remove(lowest, bytes.max(0).cast_unsigned());
                gone.push(Leaving::take(tx, seq.cast_unsigned())?);
            }
            // The count was wrong.
            None => *usage = recount(tx)?,
        }
    }
    Ok(true)
}

/// Counts all rows: only where the count may be wrong.
pub(super) fn recount(db: &Connection) -> rusqlite::Result<Usage> {
    let mut usage = Usage::default();
    let mut statement = db.prepare_cached(&format!("SELECT class, count(*), sum({SIZE}) FROM ev GROUP BY class"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let class = Usage::class(u8::try_from(row.get::<_, i64>(0)?).unwrap_or(u8::MAX));
        if let (Some(items), Some(bytes)) = (usage.items.get_mut(class), usage.bytes.get_mut(class)) {
            *items = items.saturating_add(row.get::<_, i64>(1)?.max(0).cast_unsigned());
            *bytes = bytes.saturating_add(row.get::<_, i64>(2)?.max(0).cast_unsigned());
        }
    }
    Ok(usage)
}

/// Changes when another process has changed the database.
pub(super) fn data_version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA data_version", [], |row| row.get(0))
}

/// The place of the first row there is.
pub(super) fn first(db: &Connection) -> rusqlite::Result<u64> {
    let end =
        |which: &str| db.query_row(&format!("SELECT {which}(seq) FROM ev"), [], |row| row.get::<_, Option<i64>>(0));
    let last = end("max")?.unwrap_or_default();
    // A place that was never given away is damage: behind the last number that there is, no row could be inserted.
    if last.max(0).cast_unsigned() > newest(db)? {
        return Err(rusqlite::Error::IntegralValueOutOfRange(0, last));
    }
    Ok(end("min")?.unwrap_or_default().max(0).cast_unsigned())
}

pub(super) fn hash(row: &NewRow) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    row.key.as_ref().map_or(0, |key| {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish().max(1)
    })
}

pub(super) fn reason(error: &rusqlite::Error) -> Reason {
    Reason::of_error(error)
}

#[expect(clippy::needless_pass_by_value, reason = "handed to `map_err`")]
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::new(Reason::of_error(&error))
}
