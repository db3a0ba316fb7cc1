//! Rows that leave before every sink has them: those of a user who is erased, and those that are too old.
//!
//! Of an erasure a note stays, which keeps later adoptions from bringing the rows back.

use rusqlite::{Transaction, TransactionBehavior};
use steeple_core::clock;

use super::{
    db::{ERASED, micros},
    marks::put,
    room::{Leaving, recount},
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

    /// Removes rows that are older than they may become.
    pub(super) fn expire(&mut self) -> rusqlite::Result<()> {
        // Old by both clocks: one that was set a moment ago makes nothing old.
        let (wall, steady) = (clock::unix_now(), clock::unix_steady());
        let Some(before) = wall.min(steady).checked_sub(self.limits.max_age) else { return Ok(()) };
        let (before, now) = (micros(before), micros(wall.max(steady)));
        let mut expired = Vec::new();
        {
            let mut statement = self.db.prepare_cached("SELECT seq, at FROM ev ORDER BY seq LIMIT 5000")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let at: i64 = row.get(1)?;
                if at >= before {
                    // A row from the future (the clock was ahead then) allows no conclusion on those behind it.
                    if at > now {
                        continue;
                    }
                    break;
                }
                expired.push(row.get::<_, i64>(0)?.cast_unsigned());
            }
        }
        if expired.len() >= 5_000 {
            self.expire_at = clock::now();
        }
        // A row from before then would be too old by now.
        self.db.execute("DELETE FROM mark WHERE kind = ?1 AND at < ?2", [ERASED, before])?;
        self.remove(&expired, DropReason::Expired)
    }

    /// Removes rows, and whatever is known of them. They count as dropped for this reason.
    pub(super) fn remove(&mut self, seqs: &[u64], reason: DropReason) -> rusqlite::Result<()> {
        if seqs.is_empty() {
            return Ok(());
        }
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let mut gone = Vec::new();
        for seq in seqs {
            tx.prepare_cached("DELETE FROM ev WHERE seq = ?1")?.execute([seq.cast_signed()])?;
            gone.push(Leaving::take(&tx, *seq)?);
        }
        let usage = recount(&tx)?;
        usage.save(&tx)?;
        tx.commit()?;
        self.usage = usage;
        self.wrote(seqs.len() as u64);
        self.left(&gone, reason);
        self.publish();
        Ok(())
    }
}
