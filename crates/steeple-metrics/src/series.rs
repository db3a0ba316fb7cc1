//! One series: its labels as they are printed, its histogram, its exemplars.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError},
    time::Duration,
};

use steeple_core::{TraceContext, clock};

use crate::{
    indicator,
    layout::Layout,
    shard::{Between, Cells, Row},
};

pub(crate) type Name = Cow<'static, str>;

/// What label values that do not fit become.
pub(crate) const OVERFLOW: &str = "_OTHER";

/// The labels of a series, ready to be printed.
pub(crate) struct Labels {
    pub(crate) pairs: Box<[(Name, Name)]>,
    /// `method="GET",route="/users/{id}"`, escaped. The same in each text format.
    pub(crate) text: Box<str>,
    /// Whether the registry has added its own labels already.
    pub(crate) is_complete: bool,
    /// When the series came to be, in milliseconds since the Unix epoch.
    pub(crate) created_ms: u64,
}

impl Labels {
    pub(crate) fn new(pairs: impl IntoIterator<Item = (Name, Name)>) -> Self {
        let pairs: Box<[_]> = pairs.into_iter().collect();
        let mut text = String::new();
        for (name, value) in &pairs {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            escape_label_into(value, &mut text);
            text.push('"');
        }
        Self { pairs, text: text.into(), is_complete: false, created_ms: unix_ms() }
    }

    /// Labels of a series that there is for as long as the process measures.
    pub(crate) fn of_process(pairs: impl IntoIterator<Item = (Name, Name)>) -> Self {
        Self { created_ms: begun_ms(), ..Self::new(pairs) }
    }

    /// Labels as a registry hands them out.
    pub(crate) fn complete(pairs: impl IntoIterator<Item = (Name, Name)>) -> Self {
        Self { is_complete: true, ..Self::new(pairs) }
    }
}

/// When the process began to measure, in milliseconds since the Unix epoch.
pub(crate) fn begun_ms() -> u64 {
    static BEGUN: OnceLock<u64> = OnceLock::new();
    *BEGUN.get_or_init(unix_ms)
}

pub(crate) fn unix_ms() -> u64 {
    u64::try_from(clock::unix_now().as_millis()).unwrap_or(u64::MAX)
}

/// Escapes a label's value: backslash, quote and line feed, in every text format.
pub(crate) fn escape_label_into(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Where a histogram's cells are: its sum, and one cell per bound and one above.
#[derive(Clone)]
pub(crate) struct HistogramPlace {
    pub(crate) layout: Arc<Layout>,
    sum: usize,
    first: usize,
    between: Between,
}

impl HistogramPlace {
    /// The sum, and right behind it the cells.
    pub(crate) fn new(layout: Arc<Layout>, sum: usize) -> Self {
        Self::at(layout, sum, sum.saturating_add(1), Between::None)
    }

    pub(crate) fn at(layout: Arc<Layout>, sum: usize, first: usize, between: Between) -> Self {
        Self { layout, sum, first, between }
    }

    /// The cell after the last. For a histogram whose cells are side by side.
    pub(crate) fn end(&self) -> usize {
        self.first.saturating_add(self.layout.len())
    }

    #[inline]
    fn cell(&self, cell: usize) -> usize {
        self.first.wrapping_add(cell << self.between as usize)
    }

    /// Records a value. Returns the cell that it fell into.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a row that is known to be owned is added to without asking")]
    pub(crate) fn record(&self, row: Row<'_>, value: u64) -> usize {
        self.record_in(row, value, self.layout.cell(value))
    }

    /// Records a value that is at least as large as one in a cell, and probably about as large. Returns the cell that it fell into.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `record`")]
    pub(crate) fn record_from(&self, row: Row<'_>, value: u64, from: usize) -> usize {
        self.record_in(row, value, self.layout.cell_from(value, from))
    }

    #[inline]
    fn record_in(&self, row: Row<'_>, value: u64, cell: usize) -> usize {
        row.add(self.sum, value);
        row.add(self.cell(cell), 1);
        cell
    }

    /// Records a size, which is often 0.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as for `record`")]
    pub(crate) fn record_size(&self, row: Row<'_>, bytes: u64) {
        if bytes == 0 {
            row.add(self.cell(0), 1);
        } else {
            self.record(row, bytes);
        }
    }

    /// The sum of what was recorded.
    pub(crate) fn sum(&self, cells: &Cells) -> u64 {
        cells.sum(self.sum)
    }

    /// Adds the count of each cell to `out`.
    pub(crate) fn counts_into(&self, cells: &Cells, out: &mut [u64]) {
        cells.sum_into(self.first, self.between, out);
    }

    /// Adds what the cells hold to `out`.
    pub(crate) fn read(&self, cells: &Cells, out: &mut HistogramCounts) {
        out.sum = out.sum.wrapping_add(self.sum(cells));
        out.cells.resize(self.layout.len(), 0);
        self.counts_into(cells, &mut out.cells);
    }

    /// Adds what another place of the same layout holds to a row.
    pub(crate) fn add_all(&self, row: Row<'_>, other: &Self, cells: &Cells) {
        let mut counts = HistogramCounts::default();
        other.read(cells, &mut counts);
        row.add(self.sum, counts.sum);
        for (cell, count) in counts.cells.into_iter().enumerate() {
            row.add(self.cell(cell), count);
        }
    }
}

/// What a histogram's cells hold, added up.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistogramCounts {
    pub(crate) sum: u64,
    pub(crate) cells: Vec<u64>,
}

impl HistogramCounts {
    pub(crate) fn clear(&mut self) {
        self.sum = 0;
        self.cells.clear();
    }

    pub(crate) fn count(&self) -> u64 {
        self.cells.iter().sum()
    }
}

/// One exchange that stands for a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    /// In the layout's whole numbers.
    pub(crate) value: u64,
    pub(crate) unix_ms: u64,
    failed: bool,
}

/// How long a failed exchange keeps its bucket from those that did not fail.
const FAILED_STAYS_MS: u64 = 60_000;

/// One exemplar per classic bucket. Nothing is allocated before there is one.
#[derive(Default)]
pub(crate) struct Exemplars(OnceLock<Box<[Mutex<Option<Exemplar>>]>>);

impl Exemplars {
    /// Keeps an exchange as its bucket's exemplar. The newest stays, but a failed one stays for a minute.
    ///
    /// Never waits: while a scrape reads the bucket, its old exemplar stays.
    pub(crate) fn offer(&self, layout: &Layout, cell: usize, value: u64, trace: &TraceContext, failed: bool) {
        let slots = self.0.get_or_init(|| (0..=layout.classic.len()).map(|_| Mutex::new(None)).collect());
        let Some(slot) = slots.get(layout.classic_of(cell)) else { return };
        let mut slot = match slot.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let now = unix_ms();
        let keep = slot.is_some_and(|old| old.failed && !failed && now.saturating_sub(old.unix_ms) < FAILED_STAYS_MS);
        if !keep {
            let (trace_id, span_id) = (trace.trace_id().to_bytes(), trace.span_id().to_bytes());
            *slot = Some(Exemplar { trace_id, span_id, value, unix_ms: now, failed });
        }
    }

    /// The exemplars of durations of requests with this status.
    pub(crate) fn read(&self, status: u16) -> impl Iterator<Item = indicator::Exemplar> {
        let slots = self.0.get().into_iter().flatten();
        let found = slots.filter_map(|slot| *slot.lock().unwrap_or_else(PoisonError::into_inner));
        found.map(move |found| indicator::Exemplar {
            trace_id: found.trace_id,
            span_id: found.span_id,
            duration: Duration::from_nanos(found.value),
            unix: Duration::from_millis(found.unix_ms),
            status,
            failed: found.failed,
        })
    }

    /// The exemplars, one place per classic bucket and one above; empty if there never was one.
    pub(crate) fn read_into(&self, out: &mut Vec<Option<Exemplar>>) {
        let Some(slots) = self.0.get() else { return };
        out.resize(slots.len(), None);
        for (out, slot) in out.iter_mut().zip(slots) {
            let found = *slot.lock().unwrap_or_else(PoisonError::into_inner);
            if found.is_some_and(|new| out.is_none_or(|old| old.unix_ms < new.unix_ms)) {
                *out = found;
            }
        }
    }
}
