//! How far one sink has come: rows below the cursor are settled, but for the exceptions.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    db::{self, ACKED, DEAD, DONE, RETRY},
    live::{Live, Pace},
    options::SinkOptions,
};
use crate::{DropReason, InDoubt, Reason, store::Settled};

/// A row that was read and is not settled.
#[derive(Clone, Copy, Debug)]
struct Open {
    tries: u32,
    /// Identifies its user; 0: none.
    key: u64,
    /// `None`: it is out. Otherwise it waits until then.
    again: Option<Instant>,
}

/// A change that the database does not have yet.
#[derive(Clone, Debug)]
enum Change {
    Put { kind: i64, tries: u32, attempt: bool, why: Option<Reason> },
    Remove,
}

/// What a row was to a sink when it left the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Settled: the sink had it, or never wanted it.
    Settled,
    /// Out: whether the sink has it shows once it is settled.
    Out,
    /// The sink never gets it.
    Lost,
}

pub(super) struct Cursor {
    pub(super) name: Arc<str>,
    pub(super) options: SinkOptions,
    /// Every row up to here is settled, or an exception. As the database has it.
    pub(super) acked: u64,
    /// Rows from here on were never read, but for what [`live`](Self::live) has.
    pub(super) next: u64,
    /// `Some`: so much waits that new rows go beside it.
    pub(super) live: Option<Live>,
    /// How fast what waits is read then.
    pub(super) pace: Pace,
    /// Open rows from `next` on that are not exceptions in the database: live ones.
    ahead: BTreeSet<u64>,
    open: BTreeMap<u64, Open>,
    /// Open rows that are exceptions in the database.
    saved: BTreeSet<u64>,
    /// Open rows that are not.
    unsaved: BTreeSet<u64>,
    /// A row above an unsaved one is settled.
    is_ahead: bool,
    changes: BTreeMap<u64, Change>,
    /// Rows whose exception is gone, and that may be needed no longer.
    pub(super) released: Vec<u64>,
    /// Rows that were never read.
    pub(super) fresh: u64,
    pub(super) dead: u64,
    pub(super) in_doubt: u64,
    /// Rows that left the store before the sink had them, by [`DropReason`].
    pub(super) gone: [u64; DropReason::ALL.len()],
    /// Rows that left the store while they were out, and why.
    leaving: BTreeMap<u64, DropReason>,
}

impl Cursor {
    /// Reads how far a sink had come; one that is not known begins behind the newest row.
    pub(super) fn load(db: &Connection, name: &str, options: SinkOptions, newest: u64) -> rusqlite::Result<Self> {
        let known = db.query_row(&format!("SELECT {ACKED} FROM sink WHERE name = ?1"), [name], db::acked).optional()?;
        let acked = if let Some((_, acked)) = known {
            acked
        } else {
            db::set_acked(db, name, newest)?;
            newest
        };
        let mut cursor = Self {
            name: name.into(),
            options,
            acked,
            next: acked.saturating_add(1),
            live: None,
            pace: Pace::new(options.replay_rate, steeple_core::clock::now()),
            ahead: BTreeSet::new(),
            open: BTreeMap::new(),
            saved: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            is_ahead: false,
            changes: BTreeMap::new(),
            released: Vec::new(),
            fresh: 0,
            dead: 0,
            in_doubt: 0,
            gone: [0; DropReason::ALL.len()],
            leaving: BTreeMap::new(),
        };
        cursor.reload(db)?;
        Ok(cursor)
    }

    /// Reads the exceptions anew: another process may have changed them.
    pub(super) fn reload(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let now = steeple_core::clock::now();
        let mut statement = db.prepare_cached("SELECT seq, tries, attempt FROM exc WHERE sink = ?1 AND kind = ?2")?;
        let mut rows = statement.query(params![&*self.name, RETRY])?;
        let mut known = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)?.cast_unsigned();
            let tries = u32::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
            let was_sent: bool = row.get(2)?;
            known.insert(seq);
            // The state here that is not written yet is newer.
            if self.open.contains_key(&seq) || self.changes.contains_key(&seq) {
                continue;
            }
            if was_sent {
                // It was being sent when the process ended: the receiver may have it.
                self.in_doubt = self.in_doubt.saturating_add(1);
                if self.options.in_doubt == InDoubt::Drop {
                    self.lose(DropReason::InDoubt);
                    if seq <= self.acked {
                        self.changes.insert(seq, Change::Remove);
                        self.released.push(seq);
                    } else {
                        self.changes.insert(seq, Change::Put { kind: DONE, tries, attempt: false, why: None });
                    }
                    continue;
                }
            }
            self.saved.insert(seq);
            self.open.insert(seq, Open { tries, key: 0, again: Some(now) });
        }
        drop(rows);
        self.dead = db
            .prepare_cached("SELECT count(*) FROM exc WHERE sink = ?1 AND kind = ?2")?
            .query_row(params![&*self.name, DEAD], |row| row.get::<_, i64>(0))?
            .max(0)
            .cast_unsigned();
        Ok(())
    }

    /// Rows that wait to be read again and may be, and all rows that wait, in order; `keys` that are out are left out, for sinks
    /// that keep the order of a user's rows.
    pub(super) fn due(&self, now: Instant, max: usize, busy: &mut HashSet<u64>) -> Vec<u64> {
        let mut out = Vec::new();
        for (seq, open) in &self.open {
            let is_due = open.again.is_some_and(|again| again <= now) && out.len() < max;
            if is_due && !(self.options.per_key && open.key != 0 && busy.contains(&open.key)) {
                out.push(*seq);
            }
            if self.options.per_key && open.key != 0 {
                busy.insert(open.key);
            }
        }
        out
    }

    /// Keys of rows that are out: those that wait come after them.
    pub(super) fn busy(&self) -> HashSet<u64> {
        if !self.options.per_key {
            return HashSet::new();
        }
        self.open.values().filter(|open| open.again.is_none() && open.key != 0).map(|open| open.key).collect()
    }

    /// When the next of the rows that wait may be read, of those that may not be yet.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.open.values().filter_map(|open| open.again).filter(|again| *again > now).min()
    }

    /// How many rows may be read now.
    pub(super) fn room(&self) -> usize {
        let out = self.open.values().filter(|open| open.again.is_none()).count();
        self.options.window.saturating_sub(out)
    }

    /// Whether so many rows are held back that no fresh ones are read.
    pub(super) fn is_stuffed(&self) -> bool {
        self.open.len() >= self.options.window.saturating_mul(4).max(1_024)
    }

    /// A row goes out. Returns how often it was tried.
    pub(super) fn go(&mut self, seq: u64, key: u64) -> u32 {
        let open = self.open.entry(seq).or_insert(Open { tries: 0, key, again: None });
        (open.again, open.key) = (None, key);
        let tries = open.tries;
        if !self.saved.contains(&seq) {
            self.keep_open(seq);
        }
        tries
    }

    /// A row that is not in the database is open.
    fn keep_open(&mut self, seq: u64) {
        if seq >= self.next {
            self.ahead.insert(seq);
        } else {
            self.unsaved.insert(seq);
        }
    }

    /// Whether a row was read, and is not settled.
    pub(super) fn is_open(&self, seq: u64) -> bool {
        self.open.contains_key(&seq)
    }

    /// How many of the rows that wait may be read now: half of the window is for new ones.
    pub(super) fn backlog_room(&self) -> usize {
        let out = self.open.range(..self.next).filter(|(_, open)| open.again.is_none()).count();
        self.options.window.div_ceil(2).saturating_sub(out)
    }

    /// A row was read, and waits for the one before of the same user.
    pub(super) fn hold(&mut self, seq: u64, key: u64, now: Instant) {
        self.open.insert(seq, Open { tries: 0, key, again: Some(now) });
        self.keep_open(seq);
    }

    /// A row was read fresh.
    pub(super) fn advance(&mut self, seq: u64) {
        self.advance_to(seq.saturating_add(1));
        self.fresh = self.fresh.saturating_sub(1);
    }

    /// Moves the cursor to `next`. Open rows that it has passed wait to be settled like all others that were read.
    pub(super) fn advance_to(&mut self, next: u64) {
        self.next = self.next.max(next);
        let ahead = self.ahead.split_off(&self.next);
        self.unsaved.append(&mut std::mem::replace(&mut self.ahead, ahead));
    }

    /// A row was read beside what waits.
    pub(super) fn advance_live(&mut self, seq: u64) {
        if let Some(live) = &mut self.live {
            live.advance(seq);
        }
        self.fresh = self.fresh.saturating_sub(1);
    }

    /// Rows were appended.
    pub(super) fn appended(&mut self, rows: u64) {
        self.fresh = self.fresh.saturating_add(rows);
        if let Some(live) = &mut self.live {
            live.fresh = live.fresh.saturating_add(rows);
        }
    }

    /// Begins to read new rows beside what waits, where that is much; or gives up what of the new ones waits too long.
    /// `newest`: the place of the newest row.
    pub(super) fn turn(&mut self, newest: u64) {
        let much = u64::try_from(self.options.window.saturating_mul(2)).unwrap_or(u64::MAX);
        let waits = self.live.as_ref().map_or(self.fresh, |live| live.fresh);
        if waits > much && self.next <= newest && !self.options.in_order {
            self.live = Some(Live { next: newest.saturating_add(1), fresh: 0 });
        }
    }

    /// The backlog was read: only live rows follow.
    pub(super) fn rejoin(&mut self) {
        if let Some(live) = self.live.take() {
            self.fresh = live.fresh;
            self.advance_to(live.next);
        }
    }

    /// Forgets a row that leaves the store: evicted, expired, erased, damaged. `exception`: what the database had of it.
    pub(super) fn forget(&mut self, seq: u64, exception: Option<i64>, reason: DropReason) -> Left {
        let change = self.changes.remove(&seq);
        let _any = self.saved.remove(&seq) | self.unsaved.remove(&seq) | self.ahead.remove(&seq);
        if let Some(open) = self.open.remove(&seq) {
            if open.again.is_none() {
                self.leaving.insert(seq, reason);
                return Left::Out;
            }
            self.lose(reason);
            return Left::Lost;
        }
        let kind = match change {
            Some(Change::Put { kind, .. }) => Some(kind),
            Some(Change::Remove) => Some(DONE),
            None => exception,
        };
        match kind {
            Some(DEAD) => {
                self.dead = self.dead.saturating_sub(1);
                Left::Settled
            }
            Some(DONE) => Left::Settled,
            None if seq < self.next => Left::Settled,
            Some(_) | None => {
                if kind.is_none() {
                    self.fresh = self.fresh.saturating_sub(1);
                    if let Some(live) = self.live.as_mut().filter(|live| seq >= live.next) {
                        live.fresh = live.fresh.saturating_sub(1);
                    }
                }
                self.lose(reason);
                Left::Lost
            }
        }
    }

    /// A row is lost to this sink.
    pub(super) fn lose(&mut self, reason: DropReason) {
        if let Some(count) = self.gone.get_mut(reason as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Whether a row left the store while it was out, and is not settled since.
    pub(super) fn is_leaving(&self, seq: u64) -> bool {
        self.leaving.contains_key(&seq)
    }

    fn close(&mut self, seq: u64) {
        if seq >= self.next {
            // The backlog is behind it: the cursor alone does not settle it.
            self.saved.remove(&seq);
            self.ahead.remove(&seq);
            self.changes.insert(seq, Change::Put { kind: DONE, tries: 0, attempt: false, why: None });
            return;
        }
        if self.saved.remove(&seq) {
            self.changes.insert(seq, Change::Remove);
            self.released.push(seq);
        } else {
            self.unsaved.remove(&seq);
        }
        self.is_ahead |= self.unsaved.first().is_some_and(|first| *first < seq);
    }

    /// Settles a row. Returns why it is lost, if it left the store while it was out and would have to be sent again.
    pub(super) fn settle(&mut self, seq: u64, outcome: Settled, now: Instant) -> Option<DropReason> {
        if let Some(reason) = self.leaving.remove(&seq) {
            return matches!(outcome, Settled::Retry { .. }).then(|| {
                self.lose(reason);
                reason
            });
        }
        let open = self.open.get_mut(&seq)?;
        match outcome {
            Settled::Stored | Settled::Dropped => {
                self.open.remove(&seq);
                self.close(seq);
            }
            Settled::Retry { after } => {
                open.tries = open.tries.saturating_add(1);
                open.again = now.checked_add(after).or(Some(now));
                let tries = open.tries;
                if self.saved.contains(&seq) {
                    self.changes.insert(seq, Change::Put { kind: RETRY, tries, attempt: false, why: None });
                }
            }
            Settled::Dead(why) => {
                let tries = open.tries;
                self.open.remove(&seq);
                self.close(seq);
                self.released.retain(|released| *released != seq);
                self.changes.insert(seq, Change::Put { kind: DEAD, tries, attempt: false, why: Some(why) });
                self.dead = self.dead.saturating_add(1);
            }
        }
        None
    }

    /// Rows are about to be sent, and it has to be known if no answer comes.
    pub(super) fn attempt(&mut self, seqs: &[u64]) {
        for seq in seqs {
            if let Some(open) = self.open.get(seq) {
                let tries = open.tries;
                self.unsaved.remove(seq);
                self.ahead.remove(seq);
                self.saved.insert(*seq);
                self.changes.insert(*seq, Change::Put { kind: RETRY, tries, attempt: true, why: None });
            }
        }
    }

    /// Whether the database has to learn something.
    pub(super) fn is_dirty(&self) -> bool {
        !self.changes.is_empty() || !self.released.is_empty() || self.frontier() > self.acked
    }

    /// How far the cursor may move.
    fn frontier(&self) -> u64 {
        match self.unsaved.first() {
            Some(_) if self.is_ahead => self.next.saturating_sub(1),
            Some(first) => first.saturating_sub(1),
            None => self.next.saturating_sub(1),
        }
    }

    /// Writes what has changed. Call [`saved`](Self::saved) once that is committed.
    pub(super) fn save(&self, db: &Connection) -> rusqlite::Result<()> {
        let mut put = db.prepare_cached("INSERT OR REPLACE INTO exc VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for (seq, change) in &self.changes {
            match change {
                Change::Put { kind, tries, attempt, why } => {
                    let why = why.as_ref().map(Reason::as_str);
                    put.execute(params![seq.cast_signed(), &*self.name, kind, tries, attempt, why])?;
                }
                Change::Remove => {
                    db.prepare_cached("DELETE FROM exc WHERE seq = ?1 AND sink = ?2")?
                        .execute(params![seq.cast_signed(), &*self.name])?;
                }
            }
        }
        if self.is_ahead {
            for seq in &self.unsaved {
                let tries = self.open.get(seq).map_or(0, |open| open.tries);
                put.execute(params![seq.cast_signed(), &*self.name, RETRY, tries, false, None::<String>])?;
            }
        }
        let frontier = self.frontier();
        if frontier > self.acked {
            db::set_acked(db, &self.name, frontier)?;
            db.prepare_cached("DELETE FROM exc WHERE kind = ?1 AND sink = ?2 AND seq <= ?3")?.execute(params![
                DONE,
                &*self.name,
                frontier.cast_signed()
            ])?;
        }
        Ok(())
    }

    /// What [`save`](Self::save) wrote is committed.
    pub(super) fn saved(&mut self) {
        self.acked = self.acked.max(self.frontier());
        if self.is_ahead {
            self.saved.append(&mut self.unsaved);
            self.is_ahead = false;
        }
        self.changes.clear();
        self.released.clear();
    }

    pub(super) fn open_rows(&self) -> u64 {
        self.open.len() as u64
    }

    /// Rows that a sink has to settle: read ones, those among them that have left the store since, and unread ones.
    pub(super) fn waiting(&self) -> u64 {
        self.fresh.saturating_add(self.open_rows()).saturating_add(self.leaving.len() as u64)
    }

    pub(super) fn oldest_open(&self) -> Option<u64> {
        self.open.keys().next().copied()
    }

    /// Nothing is known of what went out: the database was made again.
    pub(super) fn reset(&mut self, acked: u64) {
        self.open.clear();
        self.saved.clear();
        self.unsaved.clear();
        self.ahead.clear();
        self.leaving.clear();
        self.live = None;
        self.changes.clear();
        self.released.clear();
        (self.acked, self.next, self.is_ahead) = (acked, acked.saturating_add(1), false);
        (self.fresh, self.dead) = (0, 0);
    }
}
