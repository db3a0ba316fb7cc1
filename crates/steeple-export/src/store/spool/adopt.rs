//! Takes in the rows of other databases.
//!
//! An adoption ends at any moment without a row lost or doubled:
//!
//! 1. The other directory is given to ours, on the disk: from then on the owner of ours alone takes it.
//! 2. Its rows come into our database in parts, each in one transaction with how far we have come.
//! 3. Directories that were given to the other are given to us, once our database has on the disk how far they have come.
//! 4. The other directory is removed, at once.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use steeple_core::clock;

use super::{
    db::{self, DEAD, DONE, micros, newest},
    fail,
    intake::Intake,
    marks,
    place::Place,
    writer::Writer,
};
use crate::{DropReason, InDoubt};

impl Writer {
    /// Looks for directories of processes that have ended.
    pub(super) fn adopt(&mut self) {
        for place in Place::abandoned(&self.root, self.place.directory()).unwrap_or_default() {
            if !place.database().exists() {
                let _left = place.remove();
                continue;
            }
            // One that cannot be read is set aside by whoever starts in it.
            if let Ok(intake) = Intake::adopted(place) {
                self.intakes.push(intake);
            }
        }
    }

    /// Takes in the next part of another database.
    pub(super) fn take_in(&mut self) -> rusqlite::Result<()> {
        let Some(mut intake) = self.intakes.pop() else { return Ok(()) };
        let took = match self.begin(&mut intake) {
            Ok(true) => self.take_part(&mut intake),
            // It is looked for again later.
            Ok(false) => return Ok(()),
            Err(error) => Err(error),
        };
        match took {
            Ok(false) => self.finish(intake),
            Ok(true) => {
                self.intakes.push(intake);
                Ok(())
            }
            Err(error) => {
                self.intakes.push(intake);
                Err(error)
            }
        }
    }

    /// Makes another database ours, and finds where we were with it. `false`: that cannot be written now.
    fn begin(&mut self, intake: &mut Intake) -> rusqlite::Result<bool> {
        if intake.is_begun {
            return Ok(true);
        }
        if let Some(place) = &intake.place {
            fail::point("mark");
            if place.give_to(self.place.directory()).is_err() {
                return Ok(false);
            }
            fail::point("marked");
        }
        // Before its rows come: users who were erased, or who took their consent back, stay so.
        self.merge_marks(&intake.db)?;
        let at = |name: &str| {
            self.db
                .query_row("SELECT upto FROM adopted WHERE store = ?1", [name], |row| row.get::<_, i64>(0))
                .optional()
                .map(|at| at.map(|at| at.max(0).cast_unsigned()))
        };
        // No one has come further than there are rows.
        let newest = db::unless_damaged(newest(&intake.db))?.unwrap_or(u64::MAX);
        intake.upto = at(&intake.store)?.filter(|upto| *upto <= newest).unwrap_or_default();
        intake.from_end = at(&from_end(&intake.store))?;
        intake.is_begun = true;
        if intake.is_adoption() {
            let mut seen = self.shared.seen();
            seen.stats.adopted = seen.stats.adopted.saturating_add(1);
        }
        Ok(true)
    }

    /// Nothing more is to be read of another database.
    fn finish(&mut self, intake: Intake) -> rusqlite::Result<()> {
        let missing = intake.missing();
        if let Some(place) = &intake.place {
            let wards = place.wards();
            // Another process looks at one of them, or the disk does not let us: it is looked for again later.
            let Ok(Some(wards)) = wards else { return Ok(()) };
            fail::point("adopted");
            self.inherit(&intake.db)?;
            for ward in &wards {
                fail::point("pass");
                if ward.give_to(self.place.directory()).is_err() {
                    return Ok(());
                }
            }
            if !wards.is_empty() {
                self.adopt_at = clock::now();
            }
        }
        // Its unreadable rows are lost.
        self.shared.damaged(missing);
        let Intake { db, place, store, .. } = intake;
        drop(db);
        fail::point("passed");
        if place.is_none_or(|place| place.remove().is_ok()) {
            fail::point("removed");
            let known = params![store, from_end(&store)];
            self.db.execute("DELETE FROM adopted WHERE store IN (?1, ?2)", known)?;
        }
        Ok(())
    }

    /// `false`: there is nothing more.
    fn take_part(&mut self, intake: &mut Intake) -> rusqlite::Result<bool> {
        let rows = match intake.next() {
            Ok(rows) => rows,
            // Another process holds it, or memory is short: it can be read a moment later.
            Err(error) if !db::is_damage(&error) => return Err(error),
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
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let (mut usage, mut inserted, mut damaged, mut doubts) = (self.usage, 0_u64, 0_u64, Vec::new());
        // Of each sink: rows that it has not settled; rows that it never gets.
        let (mut fresh, mut erased) = (vec![0_u64; self.cursors.len()], Vec::new());
        for (seq, row) in &rows {
            let Some(row) = row else {
                damaged = damaged.saturating_add(1);
                continue;
            };
            let states = self.cursors.iter().map(|cursor| intake.state(&cursor.name, *seq));
            let states: Vec<_> = states.collect::<rusqlite::Result<_>>()?;
            if !states.iter().any(|(kind, _, _)| kind.is_none_or(|kind| kind == DEAD)) {
                continue;
            }
            if row.key.as_deref().is_some_and(|key| self.shared.marks().is_erased(key, micros(row.at))) {
                erased.push(states.iter().map(|(kind, _, _)| kind.is_none()).collect::<Vec<_>>());
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
        let name = if intake.from_end.is_none() { intake.store.clone() } else { from_end(&intake.store) };
        tx.execute("INSERT OR REPLACE INTO adopted VALUES (?1, ?2)", params![name, last.cast_signed()])?;
        fail::point("adopt");
        tx.commit()?;
        fail::point("taken");
        intake.found = intake.found.saturating_add(rows.len() as u64);
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
        for wanted in erased {
            for (cursor, _) in self.cursors.iter_mut().zip(&wanted).filter(|(_, wanted)| **wanted) {
                cursor.lose(DropReason::NoConsent);
            }
            self.shared.drop_rows(DropReason::NoConsent, u64::from(wanted.contains(&true)));
        }
        self.shared.damaged(damaged);
        self.shared.readable.notify_waiters();
        Ok(true)
    }

    /// Users who were erased, or who took their consent back, as another database knows them. What is damaged is left out.
    fn merge_marks(&self, other: &Connection) -> rusqlite::Result<()> {
        for (key, kind, at) in db::unless_damaged(marks::all(other))?.unwrap_or_default() {
            marks::put(&self.db, &key, kind, at)?;
            self.shared.marks_mut().add(key.into(), kind, at);
        }
        Ok(())
    }

    /// Notes, on the disk, what another database knows of users, and how far it had come with those that it took in. With it,
    /// everything before is on the disk.
    pub(super) fn inherit(&self, other: &Connection) -> rusqlite::Result<()> {
        self.merge_marks(other)?;
        self.db.execute_batch("PRAGMA synchronous = FULL")?;
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        for (store, upto) in db::unless_damaged(adopted(other))?.unwrap_or_default() {
            tx.execute(
                "INSERT INTO adopted VALUES (?1, ?2) ON CONFLICT(store) DO UPDATE SET upto = max(upto, excluded.upto)",
                params![store, upto],
            )?;
        }
        // There is something to put onto the disk, whatever was committed before.
        tx.execute("INSERT OR REPLACE INTO meta VALUES ('inherited', ?1)", [micros(clock::unix_now())])?;
        tx.commit()
    }
}

/// Under this name stands how far a database was read from its end.
fn from_end(store: &str) -> String {
    format!("{store} end")
}

fn adopted(db: &Connection) -> rusqlite::Result<Vec<(String, i64)>> {
    db.prepare("SELECT store, upto FROM adopted")?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
