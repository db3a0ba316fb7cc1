//! Users who were erased, or who have taken consent back: what the table `mark` knows, for those who ask on other threads.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};
use steeple_core::clock;

use super::db::{ERASED, REVOKED, micros};

/// What a database knows of users, by the keys of their rows.
#[derive(Debug, Default)]
pub(super) struct Marks {
    revoked: HashSet<Box<[u8]>>,
    /// When, in microseconds since the Unix epoch: rows of later are new ones.
    erased: HashMap<Box<[u8]>, i64>,
    /// Something of it could not be written.
    pub(super) is_unwritten: bool,
}

impl Marks {
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut marks = Self::default();
        for (key, kind, at) in all(db)? {
            marks.add(key.into(), kind, at);
        }
        Ok(marks)
    }

    /// Another process may have changed the database. What cannot be read or written now stays as it is.
    pub(super) fn renew(&mut self, db: &Connection) {
        if self.is_unwritten && self.save(db).is_err() {
            return;
        }
        if let Ok(marks) = Self::load(db) {
            *self = marks;
        }
    }

    /// Writes all of it.
    pub(super) fn save(&self, db: &Connection) -> rusqlite::Result<()> {
        let now = micros(clock::unix_now());
        let revoked = self.revoked.iter().map(|key| (key, REVOKED, now));
        let erased = self.erased.iter().map(|(key, at)| (key, ERASED, *at));
        revoked.chain(erased).try_for_each(|(key, kind, at)| put(db, key, kind, at))
    }

    /// Something was noted about whoever is behind a key.
    pub(super) fn add(&mut self, key: Box<[u8]>, kind: i64, at: i64) {
        match kind {
            REVOKED => {
                self.revoked.insert(key);
            }
            ERASED => {
                let known = self.erased.entry(key).or_insert(at);
                *known = at.max(*known);
            }
            _ => {}
        }
    }

    pub(super) fn give_consent(&mut self, key: &[u8]) {
        self.revoked.remove(key);
    }

    pub(super) fn is_revoked(&self, key: &[u8]) -> bool {
        self.revoked.contains(key)
    }

    pub(super) fn is_erased(&self, key: &[u8], at: i64) -> bool {
        self.erased.get(key).is_some_and(|erased| at <= *erased)
    }
}

/// Notes something about the person behind a key.
pub(super) fn put(db: &Connection, key: &[u8], kind: i64, at: i64) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO mark VALUES (?1, ?2, ?3) ON CONFLICT(key, kind) DO UPDATE SET at = max(at, excluded.at)",
    )?
    .execute(params![key, kind, at])
    .map(drop)
}

/// Notes that the person behind a key has withdrawn consent, or given it again.
pub(super) fn set_revoked(db: &Connection, key: &[u8], is_revoked: bool) -> rusqlite::Result<()> {
    if is_revoked {
        return put(db, key, REVOKED, micros(clock::unix_now()));
    }
    db.prepare_cached("DELETE FROM mark WHERE key = ?1 AND kind = ?2")?.execute(params![key, REVOKED]).map(drop)
}

/// Keys, kinds and times.
pub(super) fn all(db: &Connection) -> rusqlite::Result<Vec<(Vec<u8>, i64, i64)>> {
    let mut statement = db.prepare_cached("SELECT key, kind, at FROM mark")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}
