//! Another database that is taken in: one that a process left that has ended, or one that is damaged.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    db::{self, ACKED, COLUMNS, DONE, RETRY, Usage, newest},
    place::Place,
};

/// Rows of one transaction.
const PART: i64 = if cfg!(test) { 3 } else { 500 };

pub(super) struct Intake {
    pub(super) db: Connection,
    /// The other store's name, so that none of its rows is taken in twice.
    pub(super) store: String,
    /// What each sink had settled there. `None`: that cannot be read.
    pub(super) acked: Option<BTreeMap<String, u64>>,
    /// Rows up to here are taken in.
    pub(super) upto: u64,
    /// `Some`: the directory of a process that has ended. It is removed at the end.
    pub(super) place: Option<Place>,
    /// It is ours, and we know where we were.
    pub(super) is_begun: bool,
    /// A damaged file is read from both ends; up to here from the end.
    pub(super) from_end: Option<u64>,
    /// Rows that were found in it.
    pub(super) found: u64,
    /// How many there were, of a damaged file. `None`: that cannot be read.
    items: Option<u64>,
}

impl Intake {
    pub(super) fn damaged(path: &Path) -> Option<Self> {
        let db = Connection::open(path).ok()?;
        let store = name(&db).unwrap_or_else(|_unreadable| path.display().to_string());
        // No sink has come further than there are rows: where one has, what it has is not known.
        let newest = newest(&db).ok();
        let acked = cursors(&db).ok().filter(|acked| acked.values().all(|acked| newest.is_none_or(|to| *acked <= to)));
        let items = Usage::load(&db).ok().map(|usage| usage.total_items());
        let items = items.filter(|items| newest.is_none_or(|newest| *items <= newest));
        Some(Self { db, store, acked, upto: 0, place: None, is_begun: false, from_end: None, found: 0, items })
    }

    pub(super) fn adopted(place: Place) -> rusqlite::Result<Self> {
        let open = || {
            let db = db::open(&place.database())?;
            Ok((name(&db)?, Some(cursors(&db)?), db))
        };
        let (store, acked, db) = match open() {
            Ok(opened) => opened,
            // Whoever starts in it would set it aside. But it is ours already: no other process opens it.
            Err(error) if db::is_damage(&error) && place.is_given() => {
                let Some(damaged) = Self::damaged(&place.database()) else { return Err(error) };
                return Ok(Self { place: Some(place), ..damaged });
            }
            Err(error) => return Err(error),
        };
        let (upto, from_end, found, items) = (0, None, 0, None);
        Ok(Self { db, store, acked, upto, place: Some(place), is_begun: false, from_end, found, items })
    }

    /// Rows that were in a damaged file and were not found in it.
    pub(super) fn missing(&self) -> u64 {
        self.items.unwrap_or_default().saturating_sub(self.found)
    }

    pub(super) fn is_adoption(&self) -> bool {
        self.place.is_some()
    }

    /// The next rows, in the order of their places. Of a damaged file from the other end, once the first end is reached.
    pub(super) fn next(&self) -> rusqlite::Result<Vec<(u64, Option<crate::store::NewRow>)>> {
        let order =
            if self.from_end.is_some() { "seq < ?2 AND seq > ?1 ORDER BY seq DESC" } else { "seq > ?1 ORDER BY seq" };
        let mut statement = self.db.prepare(&format!("SELECT {COLUMNS} FROM ev WHERE {order} LIMIT {PART}"))?;
        let map = |row: &rusqlite::Row<'_>| db::row(row);
        match self.from_end {
            Some(end) => statement.query_map(params![self.upto.cast_signed(), end.cast_signed()], map)?.collect(),
            None => statement.query_map([self.upto.cast_signed()], map)?.collect(),
        }
    }

    /// What a sink has made of a row: the kind of its exception here, and why. `None`: it is still to be read.
    pub(super) fn state(&self, sink: &str, seq: u64) -> rusqlite::Result<(Option<i64>, Option<String>, bool)> {
        let Some(acked) = &self.acked else { return Ok((None, None, false)) };
        // A sink that was added later gets none of the rows before.
        let Some(acked) = acked.get(sink) else { return Ok((Some(DONE), None, false)) };
        let exception = self
            .db
            .prepare_cached("SELECT kind, why, attempt FROM exc WHERE seq = ?1 AND sink = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row(params![seq.cast_signed(), sink], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?))
                    })
                    .optional()
            });
        Ok(match db::unless_damaged(exception)?.flatten() {
            Some((RETRY, _, attempt)) => (None, None, attempt),
            Some((kind, why, _)) => (Some(kind), why, false),
            None => ((seq <= *acked).then_some(DONE), None, false),
        })
    }
}

fn name(db: &Connection) -> rusqlite::Result<String> {
    db.query_row("SELECT value FROM meta WHERE name = 'store'", [], |row| row.get(0))
}

/// How far each sink has come.
pub(super) fn cursors(db: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    db.prepare(&format!("SELECT {ACKED} FROM sink"))?.query_map([], db::acked)?.collect()
}
