//! Erasure: every row with a key, and the note that keeps later adoptions from bringing them back.

use steeple_core::clock;

use super::{
    db::{ERASED, micros},
    marks::put,
    writer::Writer,
};
use crate::DropReason;

impl Writer {
    /// Removes every row with a key, also from the file's free pages and its log. Returns how many there were.
    pub(super) fn erase(&mut self, key: &[u8]) -> rusqlite::Result<u64> {
        let at = micros(clock::unix_now());
        put(&self.db, key, ERASED, at)?;
        self.shared.marks_mut().add(key.into(), ERASED, at);
        let seqs: Vec<_> = {
            let mut statement = self.db.prepare_cached("SELECT seq FROM ev WHERE key = ?1")?;
            let seqs = statement.query_map([key], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))?;
            seqs.collect::<rusqlite::Result<_>>()?
        };
        self.remove(&seqs, DropReason::NoConsent)?;
        let _busy = self.db.execute_batch("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)");
        Ok(seqs.len() as u64)
    }
}
