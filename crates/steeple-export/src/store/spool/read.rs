//! Reads rows for sinks: rows that are due again, new rows, and the backlog.

use std::{collections::HashSet, sync::Arc, time::Instant};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use steeple_core::clock;

use super::{
    cursor::Cursor,
    db::{self, COLUMNS, DONE, newest},
    room::{failed, hash, reason},
    writer::Writer,
};
use crate::{
    DropReason,
    store::{Row, StoreError},
};

/// Places of what waits that are looked at in one read.
const PART: u64 = 20_000;

/// Leaves out rows of a key of which an older one is not settled and not out either.
const IN_ORDER: &str = "AND (ev.key IS NULL OR NOT EXISTS (
    SELECT 1 FROM ev older WHERE older.key = ev.key AND older.seq >= ?5 AND older.seq < ev.seq AND NOT EXISTS (
        SELECT 1 FROM exc WHERE exc.seq = older.seq AND exc.sink = ?2 AND exc.kind = ?6)))";

/// What one read has found so far.
struct Reading {
    out: Vec<Row>,
    bytes: usize,
    max_bytes: usize,
    damaged: Vec<u64>,
    /// Keys that are out, where the order of a key's rows is kept.
    busy: HashSet<u64>,
    now: Instant,
}

/// Which rows that were never read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// All from the cursor on.
    All,
    /// Those that were new when much waited already.
    Live(u64),
    /// What waited then: up to this place.
    Waiting(u64),
}

impl Writer {
    /// Reads the next rows of a sink.
    pub(super) fn read(&mut self, sink: u16, max_items: usize, max_bytes: usize) -> Result<Vec<Row>, StoreError> {
        match self.read_rows(usize::from(sink), max_items, max_bytes) {
            Ok(rows) => Ok(rows),
            Err(error) => {
                if db::is_damage(&error)
                    && let Err(error) = self.quarantine()
                {
                    self.later(&reason(&error));
                }
                Err(failed(error))
            }
        }
    }

    fn read_rows(&mut self, sink: usize, max_items: usize, max_bytes: usize) -> rusqlite::Result<Vec<Row>> {
        let Self { db, cursors, .. } = self;
        let Some(cursor) = cursors.get_mut(sink) else { return Ok(Vec::new()) };
        let now = clock::now();
        let max_items = max_items.min(cursor.room());
        let mut reading =
            Reading { out: Vec::new(), bytes: 0, max_bytes, damaged: Vec::new(), busy: cursor.busy(), now };
        reading.again(db, cursor, max_items)?;
        if !cursor.is_stuffed() {
            cursor.turn(newest(db)?);
            match cursor.live.map(|live| live.next) {
                None => {
                    reading.fresh(db, cursor, Which::All, max_items)?;
                }
                Some(from) => {
                    let rows = cursor.pace.allowed(now).min(cursor.backlog_room());
                    // Half is for new rows, unless none of the backlog may be read.
                    let rest = max_items.saturating_sub(reading.out.len());
                    let live = if rows == 0 { rest } else { rest.div_ceil(2) };
                    reading.fresh(db, cursor, Which::Live(from), live)?;
                    let max = rows.min(max_items.saturating_sub(reading.out.len()));
                    // What of the new ones is out of turn waits from here on.
                    let to = cursor.live.map_or(from, |live| live.next);
                    let read = reading.fresh(db, cursor, Which::Waiting(to), max)?;
                    cursor.pace.spend(read);
                }
            }
        }
        let Reading { out, damaged, .. } = reading;
        self.forget_damaged(&damaged)?;
        Ok(out)
    }

    /// Notes, before rows are sent, that they are about to be.
    pub(super) fn attempt(&mut self, sink: usize, seqs: &[u64]) -> rusqlite::Result<()> {
        let Some(cursor) = self.cursors.get_mut(sink) else { return Ok(()) };
        cursor.attempt(seqs);
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
        cursor.save(&tx)?;
        tx.commit()?;
        // Still to be looked at when rows are removed.
        let released = std::mem::take(&mut cursor.released);
        cursor.saved();
        cursor.released = released;
        Ok(())
    }

    fn forget_damaged(&mut self, damaged: &[u64]) -> rusqlite::Result<()> {
        if damaged.is_empty() {
            return Ok(());
        }
        self.remove(damaged, DropReason::Internal)?;
        let mut seen = self.shared.seen();
        seen.stats.damaged = seen.stats.damaged.saturating_add(damaged.len() as u64);
        Ok(())
    }

    /// Whether there may be something to read for a sink; `Err`: not before then.
    pub(super) fn is_readable(&self, sink: u16) -> Result<(), Option<Instant>> {
        let Some(cursor) = self.cursors.get(usize::from(sink)) else { return Err(None) };
        if cursor.room() == 0 {
            return Err(None);
        }
        let now = clock::now();
        if !cursor.due(now, 1, &mut cursor.busy()).is_empty() {
            return Ok(());
        }
        let mut wake = cursor.next_due(now);
        if !cursor.is_stuffed() && cursor.fresh > 0 {
            let Some(live) = &cursor.live else { return Ok(()) };
            if live.fresh > 0 {
                return Ok(());
            }
            if cursor.backlog_room() > 0 {
                let Some(paced) = cursor.pace.ready_at(now) else { return Ok(()) };
                wake = Some(wake.map_or(paced, |wake| wake.min(paced)));
            }
        }
        Err(wake)
    }
}

impl Reading {
    fn is_full(&self, size: usize) -> bool {
        self.bytes.saturating_add(size) > self.max_bytes && !self.out.is_empty()
    }

    /// Rows that were read before, and are due again.
    fn again(&mut self, db: &Connection, cursor: &mut Cursor, max: usize) -> rusqlite::Result<()> {
        let due = cursor.due(self.now, max, &mut self.busy);
        if due.is_empty() {
            return Ok(());
        }
        let mut one = db.prepare_cached(&format!("SELECT {COLUMNS} FROM ev WHERE seq = ?1"))?;
        for seq in due {
            match one.query_row([seq.cast_signed()], db::row).optional()? {
                Some((_, Some(row))) if self.is_full(row.size()) => break,
                Some((_, Some(row))) => {
                    self.bytes = self.bytes.saturating_add(row.size());
                    let tries = cursor.go(seq, hash(&row));
                    self.out.push(Row { seq, tries, row: Arc::new(row) });
                }
                Some((_, None)) => self.damaged.push(seq),
                // Another process has erased it.
                None => {
                    cursor.forget(seq, None, DropReason::NoConsent);
                }
            }
        }
        Ok(())
    }

    /// Rows that were never read. Returns how many were.
    fn fresh(&mut self, db: &Connection, cursor: &mut Cursor, which: Which, max: usize) -> rusqlite::Result<usize> {
        if max == 0 || self.bytes >= self.max_bytes {
            return Ok(0);
        }
        let is_live = matches!(which, Which::Live(_));
        let (from, to) = match which {
            Which::All => (cursor.next, u64::MAX >> 1),
            Which::Live(from) => (from, u64::MAX >> 1),
            // A part at a time: there may be many that are settled, and the thread has other things to do.
            Which::Waiting(to) => (cursor.next, to.min(cursor.next.saturating_add(PART))),
        };
        // A row of someone of whom older ones wait is not live: it waits as well.
        let in_order = if is_live && cursor.options.per_key { IN_ORDER } else { "" };
        let mut fresh = db.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM ev WHERE seq >= ?1 AND seq < ?4
             AND NOT EXISTS (SELECT 1 FROM exc WHERE exc.seq = ev.seq AND exc.sink = ?2)
             {in_order} ORDER BY seq LIMIT ?3"
        ))?;
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let name = Arc::clone(&cursor.name);
        let (first, end) = (from.cast_signed(), to.cast_signed());
        let mut rows = if in_order.is_empty() {
            fresh.query(params![first, &*name, max, end])?
        } else {
            fresh.query(params![first, &*name, max, end, cursor.next.cast_signed(), DONE])?
        };
        let (mut read, mut seen) = (0_usize, 0_i64);
        while let Some(row) = rows.next()? {
            seen = seen.saturating_add(1);
            let (seq, row) = db::row(row)?;
            if cursor.is_open(seq) {
                // Read as live before.
                if !is_live {
                    cursor.advance_to(seq.saturating_add(1));
                }
                continue;
            }
            let size = row.as_ref().map_or(0, crate::store::NewRow::size);
            if self.is_full(size) {
                return Ok(read);
            }
            if is_live {
                cursor.advance_live(seq);
            } else {
                cursor.advance(seq);
            }
            read = read.saturating_add(1);
            let Some(row) = row else {
                cursor.hold(seq, 0, self.now);
                self.damaged.push(seq);
                continue;
            };
            let key = hash(&row);
            if cursor.options.per_key && key != 0 && !self.busy.insert(key) {
                cursor.hold(seq, key, self.now);
                continue;
            }
            self.bytes = self.bytes.saturating_add(size);
            let tries = cursor.go(seq, key);
            self.out.push(Row { seq, tries, row: Arc::new(row) });
        }
        if seen < max {
            // There is nothing more of these: exceptions alone are left, or nothing.
            match which {
                Which::All => {
                    cursor.advance_to(newest(db)?.saturating_add(1));
                    cursor.fresh = 0;
                }
                Which::Live(_) => {
                    if let Some(live) = &mut cursor.live {
                        (live.next, live.fresh) = (newest(db)?.saturating_add(1), 0);
                    }
                }
                Which::Waiting(all) if all > to => cursor.advance_to(to),
                Which::Waiting(_) => cursor.rejoin(),
            }
        }
        Ok(read)
    }
}
