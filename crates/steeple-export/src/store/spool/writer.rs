//! The thread that owns the database: it writes what waits, reads what sinks ask for, and makes room.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use steeple_core::clock;

use super::{
    cursor::{Cursor, Left},
    db::{self, Usage, newest},
    fail,
    inbox::{Shared, Work},
    intake::{self, Intake},
    marks::Marks,
    options::{Limits, SinkOptions},
    place::{self, Place},
    room::{Leaving, begin_anew, data_version, failed, first, make_room, reason, recount},
    timing::TimingOptions,
};
use crate::{
    DropReason, Health, Reason,
    store::{Backlog, NewRow, Settled, StoreError},
};

/// How long the store is idle before it removes settled rows: delivery goes first.
const REST: Duration = Duration::from_millis(5);
/// What a commit adds to SQLite's log at least, and what a row's removal does, about, in bytes.
const COMMIT: u64 = 16 << 10;
const ROW: u64 = 600;
/// After so much the log goes into the database: a checkpoint.
const CHECKPOINT: u64 = 4 << 20;

pub(super) struct Writer {
    pub(super) db: Connection,
    pub(super) root: PathBuf,
    pub(super) place: Place,
    pub(super) shared: Arc<Shared<Self>>,
    pub(super) cursors: Vec<Cursor>,
    /// Sinks that the database knows and that are not registered: how far they had come.
    pub(super) others: BTreeMap<String, u64>,
    pub(super) usage: Usage,
    pub(super) limits: Limits,
    timing: TimingOptions,
    /// Rows that left the store while they were out everywhere where they were not settled: not counted as dropped so far.
    leaving: BTreeSet<u64>,
    /// Taken from the inbox, and not written yet.
    pub(super) pending: Vec<(u64, NewRow, u64)>,
    /// The last ticket that was taken.
    taken: u64,
    /// No row up to here is to be removed any more, but for those that are exceptions.
    pub(super) swept: u64,
    again_at: Option<Instant>,
    /// All sinks are registered: what others left is taken in for each of them.
    is_complete: bool,
    pub(super) intakes: Vec<Intake>,
    pub(super) adopt_at: Instant,
    pub(super) expire_at: Instant,
    published: Option<Instant>,
    free: Option<(Instant, Option<u64>)>,
    pub(super) data_version: i64,
    /// About how much was written since the last checkpoint, in bytes.
    unchecked: u64,
}

impl Writer {
    pub(super) fn open(
        root: PathBuf,
        place: Place,
        (limits, timing): (Limits, TimingOptions),
        shared: Arc<Shared<Self>>,
    ) -> Result<Self, rusqlite::Error> {
        let mut intakes = Vec::new();
        let opened = db::open(&place.database()).and_then(|db| {
            *shared.marks_mut() = Marks::load(&db)?;
            Ok((Usage::load(&db)?, first(&db)?, intake::cursors(&db)?, data_version(&db)?, db))
        });
        let (usage, swept, others, data_version, db) = match opened {
            Ok(opened) => opened,
            Err(error) if db::is_damage(&error) => {
                let (db, intake) = begin_anew(&place)?;
                shared.seen().stats.quarantined = 1;
                intakes.extend(intake);
                (Usage::default(), 0, BTreeMap::new(), data_version(&db)?, db)
            }
            Err(error) => return Err(error),
        };
        let now = clock::now();
        let writer = Self {
            db,
            root,
            place,
            shared,
            cursors: Vec::new(),
            others,
            usage,
            limits,
            timing,
            leaving: BTreeSet::new(),
            pending: Vec::new(),
            taken: 0,
            swept: swept.saturating_sub(1),
            again_at: None,
            is_complete: false,
            intakes,
            adopt_at: now,
            expire_at: now,
            published: None,
            free: None,
            data_version,
            unchecked: 0,
        };
        writer.intakes.iter().try_for_each(|damaged| writer.inherit(&damaged.db))?;
        Ok(writer)
    }

    /// Adds a sink, or finds it again.
    pub(super) fn register(&mut self, name: &str, options: SinkOptions) -> Result<u16, StoreError> {
        if let Some(place) = self.cursors.iter().position(|cursor| &*cursor.name == name) {
            return u16::try_from(place).map_err(|_error| StoreError::new("too many sinks"));
        }
        let place = u16::try_from(self.cursors.len()).map_err(|_error| StoreError::new("too many sinks"))?;
        let cursor = match self.load(name, options) {
            Err(error) if db::is_damage(&error) => {
                self.quarantine().map_err(failed)?;
                self.load(name, options)
            }
            loaded => loaded,
        };
        let cursor = cursor.map_err(failed)?;
        self.others.remove(name);
        self.cursors.push(cursor);
        self.publish();
        self.shared.readable.notify_waiters();
        Ok(place)
    }

    fn load(&self, name: &str, options: SinkOptions) -> rusqlite::Result<Cursor> {
        let newest = newest(&self.db)?;
        let mut cursor = Cursor::load(&self.db, name, options, newest)?;
        // Settled rows are removed: to count them is cheaper than to count the others.
        let next = cursor.next.cast_signed();
        let done: i64 = self.db.query_row("SELECT count(*) FROM ev WHERE seq < ?1", [next], |row| row.get(0))?;
        let apart: i64 = self.db.query_row(
            "SELECT count(*) FROM exc WHERE seq >= ?1 AND sink = ?2",
            params![next, name],
            |row| row.get(0),
        )?;
        let read = done.max(0).cast_unsigned().saturating_add(apart.max(0).cast_unsigned());
        cursor.fresh = self.usage.total_items().saturating_sub(read);
        Ok(cursor)
    }

    /// Until nothing more comes, and for what waits then.
    pub(super) fn run(mut self) {
        loop {
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn()));
            match turn {
                Ok(true) => {}
                Ok(false) => break,
                // A fault of ours must not end the store: what it was about stays pending.
                Err(_panic) => self.later(&"the thread that writes panicked".into()),
            }
        }
        let _closing = self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        let Self { db, place, shared, intakes, .. } = self;
        drop((intakes, db, place));
        // A caller that waits for the end may open the store again.
        shared.end();
    }

    pub(super) fn turn(&mut self) -> bool {
        let now = clock::now();
        let may_write = self.pending.is_empty() && self.again_at.is_none_or(|at| at <= now);
        let Work { rows, settled, jobs, sync, is_last } = self.shared.take(may_write, self.wake_at(now));
        let is_busy = !rows.is_empty() || !settled.is_empty() || !jobs.is_empty();
        let now = clock::now();
        for (ticket, row) in rows {
            self.taken = self.taken.max(ticket);
            match catch_unwind(AssertUnwindSafe(|| row.row())) {
                Ok(Some(row)) => {
                    let size = row.size() as u64;
                    self.pending.push((ticket, row, size));
                }
                Ok(None) => self.shared.lose(ticket, DropReason::NoConsent),
                Err(_panic) => self.shared.lose(ticket, DropReason::Internal),
            }
        }
        for (sink, seq, outcome) in settled {
            self.settle(usize::from(sink), seq, outcome, now);
        }
        let may_write = self.again_at.is_none_or(|at| at <= now);
        if may_write && (sync || self.has_changes()) {
            self.write(sync, is_busy);
        } else if may_write {
            self.shared.decide(self.taken, false);
        }
        for job in jobs {
            job(self);
        }
        self.look_around(now);
        if is_last && (self.pending.is_empty() || self.again_at.is_some()) {
            for (ticket, _row, _size) in std::mem::take(&mut self.pending) {
                self.shared.lose(ticket, DropReason::Shutdown);
            }
            return false;
        }
        true
    }

    pub(super) fn settle(&mut self, sink: usize, seq: u64, outcome: Settled, now: Instant) {
        let Some(cursor) = self.cursors.get_mut(sink) else { return };
        let lost = cursor.settle(seq, outcome, now);
        if self.leaving.is_empty() {
            return;
        }
        if let Some(reason) = lost {
            self.shared.drop_rows(reason, u64::from(self.leaving.remove(&seq)));
        } else if !self.cursors.iter().any(|cursor| cursor.is_leaving(seq)) {
            self.leaving.remove(&seq);
        }
    }

    /// Rows have left the store: each counts as dropped once, unless every sink has it after all.
    pub(super) fn left(&mut self, gone: &[Leaving], reason: DropReason) {
        let mut dropped = 0_u64;
        for row in gone {
            let (mut is_lost, mut is_out) = (false, false);
            for cursor in &mut self.cursors {
                match cursor.forget(row.seq, row.exception(&cursor.name), reason) {
                    Left::Lost => is_lost = true,
                    Left::Out => is_out = true,
                    Left::Settled => {}
                }
            }
            if is_lost {
                dropped = dropped.saturating_add(1);
            } else if is_out {
                self.leaving.insert(row.seq);
            }
        }
        self.shared.drop_rows(reason, dropped);
    }

    fn wake_at(&self, now: Instant) -> Instant {
        let idle = now.checked_add(self.timing.idle).unwrap_or(now);
        match self.again_at {
            // Nothing is written or read before.
            Some(at) if at > now => at.min(idle),
            Some(_) if !self.pending.is_empty() => now,
            _ if self.is_complete && !self.intakes.is_empty() => now,
            _ if self.needs_sweep() => now.checked_add(REST).unwrap_or(now),
            _ => idle,
        }
    }

    fn has_changes(&self) -> bool {
        !self.pending.is_empty() || self.needs_sweep() || self.cursors.iter().any(Cursor::is_dirty)
    }

    /// Sinks that are not registered hold nothing back any more, and get nothing of what others left.
    pub(super) fn release_others(&mut self) {
        self.others.clear();
        self.is_complete = true;
    }

    /// Writes pending changes. Those that cannot be written now stay.
    fn write(&mut self, sync: bool, is_busy: bool) {
        match self.commit(sync, is_busy) {
            Ok(()) => {
                self.again_at = None;
                if self.shared.set_health(Health::Ok) {
                    crate::runtime::aloud(|| tracing::info!(target: "steeple::export", "the store is written again"));
                }
                self.shared.decide(self.taken, sync);
                self.shared.readable.notify_waiters();
            }
            Err(error) if db::is_damage(&error) => {
                if let Err(error) = self.quarantine() {
                    self.later(&reason(&error));
                }
            }
            Err(error) => self.later(&reason(&error)),
        }
    }

    /// Tries again a moment later; rows gather in the queue, which has its own bounds.
    pub(super) fn later(&mut self, why: &Reason) {
        self.again_at = clock::now().checked_add(self.timing.retry);
        if self.shared.set_health(Health::Failing(why.clone())) {
            crate::runtime::aloud(
                || tracing::error!(target: "steeple::export", %why, "the store cannot be written: rows wait in memory"),
            );
        }
    }

    fn commit(&mut self, sync: bool, is_busy: bool) -> rusqlite::Result<()> {
        let budget = self.budget();
        self.db.execute_batch(if sync { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" })?;
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        let mut usage = self.usage;
        let (mut inserted, mut gone, mut refused) = (0_u64, Vec::new(), Vec::new());
        let is_wanted = !self.cursors.is_empty();
        // Before rows leave: their state is in the database then.
        for cursor in &self.cursors {
            cursor.save(&tx)?;
        }
        let written: u64 = self.pending.iter().map(|(_, _, size)| *size).sum();
        let swept = self.sweep_for(&tx, &mut usage, written, budget, is_busy)?;
        for (ticket, row, size) in &self.pending {
            if !is_wanted {
                break;
            }
            if !make_room(&tx, &mut usage, row.class, *size, budget, &mut gone)? {
                refused.push(*ticket);
            } else if db::insert(&tx, row)?.is_some() {
                usage.add(row.class, *size);
                inserted = inserted.saturating_add(1);
            }
        }
        let vanished = self.vanished(&tx, &mut usage, swept)?;
        usage.save(&tx)?;
        if sync {
            // There is something to put onto the disk, whatever was committed before.
            tx.execute("INSERT OR REPLACE INTO meta VALUES ('synced', ?1)", [self.taken.to_string()])?;
        }
        fail::point("commit");
        fail::during("committing");
        tx.commit()?;
        fail::point("committed");
        let removed =
            self.usage.total_items().saturating_add(inserted).saturating_sub(usage.total_items()).saturating_mul(ROW);
        self.unchecked = self.unchecked.saturating_add(written).saturating_add(removed).saturating_add(COMMIT);
        (self.usage, self.swept) = (usage, swept);
        self.pending.clear();
        for cursor in &mut self.cursors {
            cursor.saved();
            cursor.appended(inserted);
        }
        self.left(&gone, DropReason::QueueFull);
        self.shared.damaged(vanished);
        for ticket in refused {
            self.shared.lose(ticket, DropReason::QueueFull);
        }
        Ok(())
    }

    /// How many bytes rows may take: no more than now where the disk is nearly full.
    fn budget(&mut self) -> u64 {
        let now = clock::now();
        let known = self.free.filter(|(at, _)| now.saturating_duration_since(*at) < self.timing.disk);
        let (_, free) = *self.free.insert(known.unwrap_or_else(|| (now, place::free_bytes(self.place.directory()))));
        if free.is_some_and(|free| free < self.limits.min_free_bytes) {
            self.limits.max_bytes.min(self.usage.total_bytes())
        } else {
            self.limits.max_bytes
        }
    }

    /// What there is to do between two commits.
    fn look_around(&mut self, now: Instant) {
        if self.again_at.is_some_and(|at| at > now) {
            return;
        }
        // A sink would miss rows that are taken in before it is registered.
        if self.is_complete {
            if self.adopt_at <= now && self.intakes.is_empty() {
                self.adopt_at = now.checked_add(self.timing.adopt).unwrap_or(now);
                self.adopt();
            }
            if let Err(error) = self.take_in() {
                self.later(&reason(&error));
            }
        }
        if self.expire_at <= now {
            self.expire_at = now.checked_add(self.timing.expire).unwrap_or(now);
            if let Err(error) = self.expire() {
                self.later(&reason(&error));
            }
        }
        if let Err(error) = self.shrink().and_then(|()| self.checkpoint()) {
            self.later(&reason(&error));
        }
        if self.published.is_none_or(|at| now.saturating_duration_since(at) >= self.timing.stats) {
            self.notice_others();
            self.publish();
        }
    }

    /// Gives pages that are free back to the file system, a part at a time.
    fn shrink(&mut self) -> rusqlite::Result<()> {
        let free: i64 = self.db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if free > 64 {
            fail::during("vacuum");
            let mut statement = self.db.prepare_cached("PRAGMA incremental_vacuum(1024)")?;
            let mut rows = statement.query([])?;
            // It does a page a step.
            while rows.next()?.is_some() {}
            fail::point("vacuumed");
            // The file gets smaller once the log is in it.
            self.unchecked = self.unchecked.saturating_add(CHECKPOINT);
        }
        Ok(())
    }

    /// Rows were written or removed outside of a commit of appended rows.
    pub(super) fn wrote(&mut self, rows: u64) {
        self.unchecked = self.unchecked.saturating_add(rows.saturating_mul(ROW)).saturating_add(COMMIT);
    }

    /// Moves SQLite's log into the database, now and then. Those who read beside us are not waited for.
    fn checkpoint(&mut self) -> rusqlite::Result<()> {
        if self.unchecked < CHECKPOINT {
            return Ok(());
        }
        self.unchecked = 0;
        fail::during("checkpoint");
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_row| Ok(()))?;
        fail::point("checkpointed");
        Ok(())
    }

    /// Another process (`steeple-outbox`) may have changed the database.
    fn notice_others(&mut self) {
        let Ok(version) = data_version(&self.db) else { return };
        if self.data_version != version {
            for cursor in &mut self.cursors {
                let _next_time = cursor.reload(&self.db);
            }
            if let Ok(usage) = recount(&self.db) {
                self.usage = usage;
            }
            self.shared.marks_mut().renew(&self.db);
            self.shared.readable.notify_waiters();
        }
        self.data_version = version;
    }

    /// Sets the database aside and begins anew; what can be read of the old one is taken in.
    pub(super) fn quarantine(&mut self) -> rusqlite::Result<()> {
        self.db = Connection::open_in_memory()?;
        let (db, intake) = begin_anew(&self.place)?;
        self.db = db;
        (self.usage, self.swept, self.data_version) = (Usage::default(), 0, data_version(&self.db)?);
        self.others.clear();
        self.shared.marks_mut().save(&self.db)?;
        self.intakes.retain(Intake::is_adoption);
        if let Some(damaged) = &intake {
            self.inherit(&damaged.db)?;
        }
        self.intakes.extend(intake);
        for cursor in &mut self.cursors {
            cursor.reset(0);
            db::set_acked(&self.db, &cursor.name, 0)?;
        }
        {
            let mut seen = self.shared.seen();
            seen.stats.quarantined = seen.stats.quarantined.saturating_add(1);
        }
        crate::runtime::aloud(
            || tracing::error!(target: "steeple::export", "the store was damaged: it is set aside, and a new one begun"),
        );
        Ok(())
    }

    /// Shows others what waits.
    pub(super) fn publish(&mut self) {
        self.published = Some(clock::now());
        let average = self.usage.total_bytes().checked_div(self.usage.total_items()).unwrap_or_default();
        let mut backlogs = BTreeMap::new();
        for cursor in &self.cursors {
            let items = cursor.waiting();
            let unread = (cursor.fresh > 0).then_some(cursor.next);
            let oldest = cursor.oldest_open().into_iter().chain(unread).min();
            let oldest = oldest.and_then(|seq| {
                let mut statement =
                    self.db.prepare_cached("SELECT at FROM ev WHERE seq >= ?1 ORDER BY seq LIMIT 1").ok()?;
                let at: i64 = statement.query_row([seq.cast_signed()], |row| row.get(0)).ok()?;
                Some(std::time::Duration::from_micros(at.max(0).cast_unsigned()))
            });
            let backlog = Backlog { items, bytes: items.saturating_mul(average), dead: cursor.dead, oldest };
            backlogs.insert(Arc::clone(&cursor.name), backlog);
        }
        let mut seen = self.shared.seen();
        seen.backlogs = backlogs;
        seen.stats.items = self.usage.total_items();
        seen.stats.bytes = self.usage.total_bytes();
        seen.stats.gone = self.cursors.iter().map(|cursor| (Arc::clone(&cursor.name), cursor.gone)).collect();
        seen.stats.in_doubt = self.cursors.iter().map(|cursor| (Arc::clone(&cursor.name), cursor.in_doubt)).collect();
    }
}
