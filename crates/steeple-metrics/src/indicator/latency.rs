use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use crate::{
    layout::{Layout, to_f64},
    series::{HistogramCounts, HistogramPlace},
    shard::Cells,
};

/// How durations are distributed: counts in cells, each 9 % wider than the one before.
///
/// - Quantiles are at most 4.5 % off the exact quantile of the same data (2^(1/16) − 1) between 1 µs and 17 minutes, at
///   most 1 µs off below, and cut at 17 minutes above. With
///   [classic histograms only](crate::MetricsBuilder::classic_histograms_only), they are as coarse as those buckets.
/// - Memory: 16 bytes per cell that is not empty.
#[derive(Clone, Default)]
pub struct Latency {
    /// `None` where nothing was recorded.
    layout: Option<Arc<Layout>>,
    sum: u64,
    /// Cell and count, ascending, none of them 0.
    cells: Vec<(usize, u64)>,
}

/// A layout, and those of its cells that are not empty.
pub(super) type Parts<'a> = (&'a Arc<Layout>, &'a [(usize, u64)]);

impl Latency {
    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.cells.iter().map(|(_, count)| count).sum()
    }

    /// The sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// The mean duration. `None` without any.
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// The duration that this part of all durations did not exceed: 0.95 for p95. `None` without any, and for a number
    /// that is not from 0 to 1.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        Duration::try_from_secs_f64(self.quantile_shown(q)?).ok()
    }

    /// The same in the layout's unit: seconds or bytes.
    pub(crate) fn quantile_shown(&self, q: f64) -> Option<f64> {
        let layout = self.layout.as_ref()?;
        quantile(layout, self.cells.iter().copied(), self.count(), q)
    }

    /// How many durations were longer than this. Exact where it is the bound of a bucket.
    pub fn slower_than(&self, target: Duration) -> u64 {
        let Some(layout) = &self.layout else { return 0 };
        let within = layout.cell(u64::try_from(target.as_nanos()).unwrap_or(u64::MAX));
        self.cells.iter().filter(|(cell, _)| *cell > within).map(|(_, count)| count).sum()
    }

    /// The cells that are not empty: the middle of each in seconds, and its count; ascending.
    pub fn cells(&self) -> impl Iterator<Item = (f64, u64)> {
        let layout = self.layout.as_deref();
        self.cells.iter().filter_map(move |(cell, count)| Some((layout?.middle_of(*cell), *count)))
    }

    /// The layout of the cells, and those that are not empty. `None` where nothing was recorded.
    pub(super) fn parts(&self) -> Option<Parts<'_>> {
        self.layout.as_ref().map(|layout| (layout, &*self.cells))
    }

    /// What came since an older reading of the same.
    #[must_use]
    pub fn since(&self, older: &Self) -> Self {
        let mut before = older.cells.iter().copied().peekable();
        let since = |(cell, count): &(usize, u64)| {
            while before.next_if(|(other, _)| other < cell).is_some() {}
            let counted = before.next_if(|(other, _)| other == cell).map_or(0, |(_, count)| count);
            (*cell, count.saturating_sub(counted))
        };
        let cells = self.cells.iter().map(since).filter(|(_, count)| *count > 0).collect();
        Self { layout: self.layout.clone(), sum: self.sum.saturating_sub(older.sum), cells }
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [0.5, 0.99].map(|q| self.quantile(q));
        f.debug_struct("Latency").field("count", &self.count()).field("p50", &p50).field("p99", &p99).finish()
    }
}

/// The middle of the cell with this part of all counts below it or in it.
pub(crate) fn quantile(
    layout: &Layout,
    cells: impl IntoIterator<Item = (usize, u64)>,
    count: u64,
    q: f64,
) -> Option<f64> {
    if count == 0 || !(0.0..=1.0).contains(&q) {
        return None;
    }
    // The smallest value that at least this part of all values do not exceed.
    let rank = (q * to_f64(count)).ceil().max(1.0);
    let mut seen = 0_u64;
    cells.into_iter().find_map(|(cell, count)| {
        seen = seen.saturating_add(count);
        (to_f64(seen) >= rank).then(|| layout.middle_of(cell))
    })
}

/// Which cell of one layout takes the count of each cell of another.
struct Onto {
    from: Arc<Layout>,
    cells: Box<[usize]>,
}

/// The cells that all durations of one suite of metrics are added up in, and how those of routes with buckets of their
/// own fall into them.
pub(crate) struct Grid {
    pub(crate) layout: Arc<Layout>,
    others: RwLock<Vec<Onto>>,
}

/// Most layouts that are remembered; there is one for each route with its own buckets.
const MAX_REMEMBERED: usize = 1024;

impl Grid {
    pub(crate) fn new(layout: Arc<Layout>) -> Self {
        Self { layout, others: RwLock::default() }
    }

    fn onto(&self, from: &Arc<Layout>, mut each: impl FnMut(&[usize])) {
        {
            let known = self.others.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(onto) = known.iter().find(|onto| Arc::ptr_eq(&onto.from, from)) {
                return each(&onto.cells);
            }
        }
        let cells: Box<[usize]> = (0..from.len()).map(|cell| self.layout.cell(from.whole_middle_of(cell))).collect();
        each(&cells);
        let mut known = self.others.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_REMEMBERED {
            known.push(Onto { from: Arc::clone(from), cells });
        }
    }
}

/// Adds histograms up. Used again for the next sum.
pub(crate) struct Sum<'a> {
    grid: &'a Grid,
    pub(crate) total: u64,
    pub(crate) cells: Vec<u64>,
    scratch: HistogramCounts,
}

impl<'a> Sum<'a> {
    pub(crate) fn new(grid: &'a Grid) -> Self {
        Self { grid, total: 0, cells: vec![0; grid.layout.len()], scratch: HistogramCounts::default() }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.grid.layout
    }

    pub(crate) fn clear(&mut self) {
        self.total = 0;
        self.cells.fill(0);
    }

    pub(crate) fn add(&mut self, place: &HistogramPlace, cells: &Cells) {
        if Arc::ptr_eq(&place.layout, &self.grid.layout) {
            self.total = self.total.wrapping_add(place.sum(cells));
            place.counts_into(cells, &mut self.cells);
            return;
        }
        self.scratch.clear();
        place.read(cells, &mut self.scratch);
        self.total = self.total.wrapping_add(self.scratch.sum);
        let (sums, counts) = (&mut self.cells, &self.scratch.cells);
        self.grid.onto(&place.layout, |onto| {
            for (cell, count) in onto.iter().zip(counts) {
                if let Some(sum) = sums.get_mut(*cell) {
                    *sum = sum.wrapping_add(*count);
                }
            }
        });
    }

    pub(crate) fn latency(&self) -> Latency {
        let cells = self.cells.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        Latency { layout: Some(Arc::clone(&self.grid.layout)), sum: self.total, cells }
    }
}

impl From<(&Arc<Layout>, &HistogramCounts)> for Latency {
    fn from((layout, counts): (&Arc<Layout>, &HistogramCounts)) -> Self {
        let cells = counts.cells.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        Self { layout: Some(Arc::clone(layout)), sum: counts.sum, cells }
    }
}
