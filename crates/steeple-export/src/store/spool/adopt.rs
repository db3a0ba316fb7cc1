//! Takes in the rows of other databases.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    db::{self, DEAD, DONE},
    fail,
    intake::Intake,
    place::Place,
    writer::Writer,
};
use crate::{DropReason, InDoubt};

impl Writer {
    /// Looks for directories of processes that have ended.
    pub(super) fn adopt(&mut self) {
        if !self.intakes.is_empty() {
            return;
        }
        for place in Place::abandoned(&self.root, self.place.directory()).unwrap_or_default() {
            if !place.database().exists() {
                let _left = place.remove();
                continue;
            }
            match Intake::adopted(place) {
                Ok(intake) => {
                    let mut seen = self.shared.seen();
                    seen.stats.adopted = seen.stats.adopted.saturating_add(1);
                    drop(seen);
                    self.intakes.push(intake);
                }
                // Whoever starts next in it sets it aside.
                Err(_unreadable) => {}
            }
        }
    }

    /// Takes in the next part of another database.
    pub(super) fn take_in(&mut self) -> rusqlite::Result<()> {
        let Some(mut intake) = self.intakes.pop() else { return Ok(()) };
        if intake.upto == 0 {
            let known = self
                .db
                .query_row("SELECT upto FROM adopted WHERE store = ?1", [&intake.store], |row| row.get::<_, i64>(0))
                .optional()?;
            intake.upto = known.unwrap_or_default().max(0).cast_unsigned();
        }
        match self.take_part(&mut intake) {
            Ok(true) => {
                self.intakes.push(intake);
                Ok(())
            }
            Ok(false) => {
                // What was in it and could not be read is lost.
                self.shared.damaged(intake.missing());
                if intake.is_adoption() {
                    // Known no more once the other is gone.
                    self.merge_marks(&intake.db)?;
                }
                let Intake { db, place, .. } = intake;
                drop(db);
                fail::point("adopted");
                if let Some(place) = place {
                    let _left = place.remove();
                }
                Ok(())
            }
            Err(error) => {
                self.intakes.push(intake);
                Err(error)
            }
        }
    }

    /// `false`: there is nothing more.
    fn take_part(&mut self, intake: &mut Intake) -> rusqlite::Result<bool> {
        let rows = match intake.next() {
            Ok(rows) => rows,
            // Here it is damaged: the rest is read from the other end.
            Err(_damage) if intake.from_end.is_none() => {
                intake.from_end = Some(i64::MAX.cast_unsigned());
                return Ok(true);
            }
            Err(_damage) => return Ok(false),
        };
        let Some((last, _)) = rows.last() else { return Ok(false) };
        let last = *last;
        // Places that do not go on in order are damage: they could come round for ever.
        let goes_on = intake.from_end.map_or(last > intake.upto, |end| last < end);
        if !goes_on {
            let is_from_start = intake.from_end.is_none();
            intake.from_end.get_or_insert(i64::MAX.cast_unsigned());
            return Ok(is_from_start);
        }
        intake.found = intake.found.saturating_add(rows.len() as u64);
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let (mut usage, mut inserted, mut damaged, mut doubts) = (self.usage, 0_u64, 0_u64, Vec::new());
        // Of each sink: rows that it has not settled.
        let mut fresh = vec![0_u64; self.cursors.len()];
        for (seq, row) in &rows {
            let Some(row) = row else {
                damaged = damaged.saturating_add(1);
                continue;
            };
            let states: Vec<_> = self.cursors.iter().map(|cursor| intake.state(&cursor.name, *seq)).collect();
            if !states.iter().any(|(kind, _, _)| kind.is_none_or(|kind| kind == DEAD)) {
                continue;
            }
            let Some(here) = db::insert(&tx, row)? else { continue };
            usage.add(row.class, row.size() as u64);
            inserted = inserted.saturating_add(1);
            for (place, (cursor, (kind, why, attempt))) in self.cursors.iter().zip(states).enumerate() {
                let is_dropped = attempt && cursor.options.in_doubt == InDoubt::Drop;
                if attempt {
                    doubts.push((place, is_dropped));
                }
                let kind = if is_dropped { Some(DONE) } else { kind };
                if let Some(fresh) = fresh.get_mut(place).filter(|_| kind.is_none()) {
                    *fresh = fresh.saturating_add(1);
                }
                if let Some(kind) = kind {
                    tx.prepare_cached("INSERT OR REPLACE INTO exc VALUES (?1, ?2, ?3, 0, 0, ?4)")?.execute(params![
                        here.cast_signed(),
                        &*cursor.name,
                        kind,
                        why
                    ])?;
                }
            }
        }
        usage.save(&tx)?;
        if intake.from_end.is_none() {
            tx.execute("INSERT OR REPLACE INTO adopted VALUES (?1, ?2)", params![&intake.store, last.cast_signed()])?;
        }
        fail::point("adopt");
        tx.commit()?;
        if intake.from_end.is_some() {
            intake.from_end = Some(last);
        } else {
            intake.upto = last;
        }
        self.usage = usage;
        self.wrote(inserted);
        for (cursor, fresh) in self.cursors.iter_mut().zip(fresh) {
            cursor.appended(fresh);
            cursor.reload(&self.db)?;
        }
        for (place, is_dropped) in doubts {
            if let Some(cursor) = self.cursors.get_mut(place) {
                cursor.in_doubt = cursor.in_doubt.saturating_add(1);
                if is_dropped {
                    cursor.lose(DropReason::InDoubt);
                }
            }
        }
        self.shared.damaged(damaged);
        self.shared.readable.notify_waiters();
        Ok(true)
    }

    /// Users who were erased, or who took their consent back, stay so.
    fn merge_marks(&self, other: &Connection) -> rusqlite::Result<()> {
        let mut statement = other.prepare("SELECT key, kind, at FROM mark")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (key, kind, at): (Vec<u8>, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            self.db.execute("INSERT OR IGNORE INTO mark VALUES (?1, ?2, ?3)", params![key, kind, at])?;
        }
        let mut statement = other.prepare("SELECT store, upto FROM adopted")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (store, upto): (String, i64) = (row.get(0)?, row.get(1)?);
            self.db.execute("INSERT OR IGNORE INTO adopted VALUES (?1, ?2)", params![store, upto])?;
        }
        Ok(())
    }
}
