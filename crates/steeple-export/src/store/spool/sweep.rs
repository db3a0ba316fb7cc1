//! Removes rows that every sink has settled. Delivery goes first.

use rusqlite::{Transaction, params};

use super::{
    db::{SIZE, Usage, newest},
    room::{data_version, recount},
    writer::Writer,
};

/// How many places one transaction looks at when the store is idle.
const SWEEP: u64 = 5_000;

impl Writer {
    pub(super) fn needs_sweep(&self) -> bool {
        self.done_to() > self.swept
    }

    /// Every sink has settled everything up to here.
    fn done_to(&self) -> u64 {
        let done = self.cursors.iter().map(|cursor| cursor.acked).min().unwrap_or_default();
        self.others.values().copied().min().map_or(done, |others| done.min(others))
    }

    /// Removes settled rows: a part of them, and as many as make room for `written` bytes of new rows. Returns the place up to which
    /// they are removed.
    pub(super) fn sweep_for(
        &self,
        tx: &Transaction<'_>,
        usage: &mut Usage,
        written: u64,
        budget: u64,
        is_busy: bool,
    ) -> rusqlite::Result<u64> {
        // Beside other work twice as many places as new rows: the store does not grow under a load that never ends.
        let places = if is_busy { (self.pending.len() as u64).saturating_mul(2) } else { SWEEP };
        let mut swept = self.sweep(tx, usage, self.swept, places)?;
        // Settled rows are removed before any row is evicted.
        while usage.total_bytes().saturating_add(written) > budget && swept < self.done_to() {
            swept = self.sweep(tx, usage, swept, SWEEP)?;
        }
        Ok(swept)
    }

    /// Removes settled rows from the next `places` places behind `from`. Returns the place up to which they are removed.
    fn sweep(&self, tx: &Transaction<'_>, usage: &mut Usage, from: u64, places: u64) -> rusqlite::Result<u64> {
        let to = self.done_to().min(from.saturating_add(places)).max(from);
        let mut remove = tx.prepare_cached(&format!(
            "DELETE FROM ev WHERE seq > ?1 AND seq <= ?2
             AND NOT EXISTS (SELECT 1 FROM exc WHERE exc.seq = ev.seq AND exc.kind < 2) RETURNING class, {SIZE}"
        ))?;
        let mut between = |from: u64, to: u64| -> rusqlite::Result<()> {
            let mut rows = remove.query(params![from.cast_signed(), to.cast_signed()])?;
            while let Some(row) = rows.next()? {
                let class: i64 = row.get(0)?;
                usage.remove(u8::try_from(class).unwrap_or_default(), row.get::<_, i64>(1)?.max(0).cast_unsigned());
            }
            Ok(())
        };
        if to > from {
            between(from, to)?;
        }
        for seq in self.cursors.iter().flat_map(|cursor| &cursor.released) {
            if *seq <= to {
                between(seq.saturating_sub(1), *seq)?;
            }
        }
        // Rows are removed in the order of their places, and a gap may be long.
        if to < self.done_to() {
            let next: Option<i64> =
                tx.query_row("SELECT min(seq) FROM ev WHERE seq > ?1", [to.cast_signed()], |row| row.get(0))?;
            let next = next.map_or(self.done_to(), |next| next.cast_unsigned().saturating_sub(1));
            return Ok(to.max(next.min(self.done_to())));
        }
        Ok(to)
    }

    /// Rows that are counted and not there, where no sink has anything left to read: damage took them without a trace.
    pub(super) fn vanished(&self, tx: &Transaction<'_>, usage: &mut Usage, swept: u64) -> rusqlite::Result<u64> {
        let kept: u64 = self.cursors.iter().map(|cursor| cursor.dead).sum();
        let is_done = self.others.is_empty() && self.cursors.iter().all(|cursor| cursor.open_rows() == 0);
        if usage.total_items() <= kept || !is_done || swept < newest(tx)? || data_version(tx)? != self.data_version {
            return Ok(0);
        }
        let (counted, there) = (usage.total_items(), recount(tx)?);
        *usage = there;
        // More than there ever were: it is the count that is damaged.
        let is_count = counted <= newest(tx)?;
        Ok(if is_count { counted.saturating_sub(there.total_items()) } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use steeple_core::clock;
    use steeple_scrub::Scrubbed;

    use super::*;
    use crate::{
        DropReason,
        store::{
            NewRow, Settled,
            spool::{
                SinkOptions, TimingOptions,
                inbox::Shared,
                options::{Limits, QueueLimits},
                place::Place,
            },
        },
    };

    /// Of this many bytes, without what a row weighs beside its body.
    const BODY: usize = 1_000;

    fn open(root: &Path, max_bytes: u64) -> Writer {
        let limits = Limits { max_bytes, max_age: std::time::Duration::from_secs(86_400), min_free_bytes: 0 };
        let shared = Arc::new(Shared::new(QueueLimits { max_items: 1_000, max_bytes: 1 << 24 }));
        let place = Place::claim(root).unwrap();
        let mut writer = Writer::open(root.to_owned(), place, (limits, TimingOptions::new()), shared).unwrap();
        writer.register("one", SinkOptions::default()).unwrap();
        writer
    }

    fn store(writer: &mut Writer, rows: std::ops::Range<u32>, class: u8) {
        for n in rows {
            let body = Scrubbed::from_application("x".repeat(BODY).into());
            let row = NewRow { id: format!("{n:05}").into(), at: clock::unix_now(), key: None, class, body };
            let size = row.size();
            writer.shared.append(Arc::new(row), class, size);
        }
        writer.turn();
    }

    /// Sends so many rows. The store knows of it once something is written.
    fn send(writer: &mut Writer, rows: usize) {
        for row in writer.read(0, rows, usize::MAX).unwrap() {
            writer.settle(0, row.seq, Settled::Stored, clock::now());
        }
    }

    fn items(writer: &Writer) -> u64 {
        writer.usage.total_items()
    }

    #[test]
    fn settled_rows_are_removed_when_the_store_is_idle_and_beside_new_rows_twice_as_fast_as_they_come() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = open(directory.path(), 1 << 30);
        store(&mut writer, 0..100, 1);
        send(&mut writer, 100);
        // It is written that they are delivered; they are looked at from the next time on.
        store(&mut writer, 100..101, 1);
        assert_eq!(items(&writer), 101);
        store(&mut writer, 101..111, 1);
        assert_eq!(items(&writer), 111 - 20);
        writer.turn();
        assert_eq!(items(&writer), 11, "those that wait");
    }

    #[test]
    fn settled_rows_are_removed_before_any_row_is_evicted() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = open(directory.path(), 110 * (BODY as u64 + 101));
        store(&mut writer, 0..10, 0);
        store(&mut writer, 10..100, 2);
        send(&mut writer, 100);
        store(&mut writer, 100..109, 0);
        store(&mut writer, 109..110, 0);
        let all = items(&writer);
        store(&mut writer, 110..150, 2);
        assert!(all > 60, "hardly anything had gone before: {all}");
        let rows = writer.read(0, 1_000, usize::MAX).unwrap();
        assert_eq!(rows.len(), 50, "those of the lowest class among them");
        assert_eq!(writer.shared.seen().stats.dropped(DropReason::QueueFull), 0);
    }
}
