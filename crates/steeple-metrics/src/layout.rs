//! How values are sorted into buckets.
//!
//! One row of cells serves classic and native buckets alike: its bounds are those of both. Recording finds one cell;
//! a scrape adds cells up, to whichever buckets the scraper asked for. Values are whole nanoseconds or bytes, so that
//! no rounding moves a value over a bound.

use std::sync::Arc;

use crate::BuildError;

/// OpenTelemetry's advice for HTTP durations, in seconds.
pub(crate) const OTEL_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// What the seeds of this project used, in seconds.
pub(crate) const COARSE_SECONDS: [f64; 6] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Powers of four from 64 bytes to 64 MiB.
pub(crate) const SIZE_BYTES: [f64; 11] =
    [64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0];

/// Most bounds that a histogram may have.
pub(crate) const MAX_BOUNDS: usize = 64;

/// Upper bounds of a histogram's classic buckets.
///
/// Native buckets come beside them and need no bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Buckets(Bounds);

#[derive(Clone, Debug, PartialEq)]
enum Bounds {
    Fixed(&'static [f64]),
    Custom(Arc<[f64]>),
}

impl Buckets {
    /// OpenTelemetry's bounds for HTTP durations, the default: 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1,
    /// 2.5, 5, 7.5 and 10 seconds.
    pub const fn opentelemetry() -> Self {
        Self(Bounds::Fixed(&OTEL_SECONDS))
    }

    /// Six bounds for services whose requests take their time: 0.1, 0.5, 1, 2, 5 and 10 seconds.
    pub const fn coarse() -> Self {
        Self(Bounds::Fixed(&COARSE_SECONDS))
    }

    /// The default for sizes: powers of four from 64 bytes to 64 MiB.
    pub const fn sizes() -> Self {
        Self(Bounds::Fixed(&SIZE_BYTES))
    }

    /// Your own bounds: 1 to 64, ascending, above zero; in seconds for durations, in bytes for sizes.
    pub fn new(bounds: impl IntoIterator<Item = f64>) -> Self {
        Self(Bounds::Custom(bounds.into_iter().collect()))
    }

    /// The same with one more bound, such as an objective's target; no change if it is there already.
    #[must_use]
    pub fn with_bound(&self, bound: f64) -> Self {
        let mut bounds = self.bounds().to_vec();
        let place = bounds.partition_point(|other| *other < bound);
        if bounds.get(place) != Some(&bound) {
            bounds.insert(place, bound);
        }
        Self::new(bounds)
    }

    /// The bounds, ascending.
    pub fn bounds(&self) -> &[f64] {
        match &self.0 {
            Bounds::Fixed(bounds) => bounds,
            Bounds::Custom(bounds) => bounds,
        }
    }
}

/// The unit that is counted, in whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Recorded in nanoseconds, shown in seconds.
    Seconds,
    /// Recorded and shown in bytes.
    Bytes,
}

impl Scale {
    /// How many recorded units make one shown unit.
    pub(crate) const fn per_unit(self) -> f64 {
        match self {
            Self::Seconds => 1e9,
            Self::Bytes => 1.0,
        }
    }

    /// The native buckets: how many to the power of two (as a power of two), the lowest and the highest.
    const fn native(self) -> (i32, i32, i32, f64) {
        match self {
            // From 2^-20 s (0.95 µs) to 2^10 s (17 min), each 9 % wider than the one before.
            Self::Seconds => (3, -20, 10, 1.0 / 1_048_576.0),
            // From 1 byte to 1 TiB, each twice the one before. Only nothing at all is zero.
            Self::Bytes => (0, -1, 40, 0.0),
        }
    }
}

/// Bounds, and a way to find the right one fast.
pub(crate) struct Layout {
    pub(crate) scale: Scale,
    /// The upper bound of each cell, ascending, inclusive. One more cell is for values above the last.
    bounds: Box<[u64]>,
    /// The first cell that can hold a value with these leading bits.
    coarse: Box<[u16; COARSE]>,
    pub(crate) classic: Box<[Classic]>,
    pub(crate) native: Option<Native>,
}

/// A classic bucket.
pub(crate) struct Classic {
    pub(crate) bound: f64,
    /// `1`, as the text format has always had it.
    pub(crate) le: Box<str>,
    /// `1.0`, as OpenMetrics wants it.
    pub(crate) le_canonical: Box<str>,
    /// How many cells lie at or below the bound.
    pub(crate) cells: usize,
}

/// Native (exponential) buckets.
pub(crate) struct Native {
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    /// Cells at or below the zero threshold.
    pub(crate) zero_cells: usize,
    /// The index of the first bucket above zero.
    pub(crate) first_index: i32,
    /// For each bucket, how many cells lie at or below its bound.
    pub(crate) cells: Box<[usize]>,
}

impl Layout {
    /// # Errors
    /// Without a bound, with too many, or with bounds that are not finite, ascending and above zero.
    pub(crate) fn new(buckets: &Buckets, scale: Scale, with_native: bool) -> Result<Self, BuildError> {
        let shown = buckets.bounds();
        let ascending = shown.iter().zip(shown.iter().skip(1)).all(|(a, b)| a < b);
        if shown.is_empty() || shown.len() > MAX_BOUNDS || !ascending {
            return Err(BuildError::bounds());
        }
        let mut bounds = Vec::new();
        for bound in shown {
            let cell = to_units(*bound, scale);
            if !bound.is_finite() || cell == 0 || cell >= 1 << 62 {
                return Err(BuildError::bounds());
            }
            bounds.push(cell);
        }
        let native = with_native.then(|| native_bounds(scale));
        if let Some((zero, above)) = &native {
            bounds.push(*zero);
            bounds.extend_from_slice(above);
        }
        bounds.sort_unstable();
        bounds.dedup();
        let cells_up_to = |bound: u64| bounds.partition_point(|other| *other <= bound);
        let classic = shown
            .iter()
            .map(|bound| Classic {
                bound: *bound,
                le: format!("{bound}").into(),
                le_canonical: format!("{bound:?}").into(),
                cells: cells_up_to(to_units(*bound, scale)),
            })
            .collect();
        let native = native.map(|(zero, above)| {
            let (schema, lowest, _, zero_threshold) = scale.native();
            Native {
                schema,
                zero_threshold,
                zero_cells: cells_up_to(zero),
                first_index: (lowest << schema).saturating_add(1),
                cells: above.iter().map(|bound| cells_up_to(*bound)).collect(),
            }
        });
        let first_for = |place| bounds.partition_point(|bound| *bound < lowest_of(place));
        let coarse = Box::new(std::array::from_fn(|place| u16::try_from(first_for(place)).unwrap_or(u16::MAX)));
        Ok(Self { scale, bounds: bounds.into(), coarse, classic, native })
    }

    /// How many cells there are.
    pub(crate) fn len(&self) -> usize {
        self.bounds.len().saturating_add(1)
    }

    /// The cell for a value.
    #[inline]
    pub(crate) fn cell(&self, value: u64) -> usize {
        let mut cell = usize::from(self.coarse.get(coarse(value)).copied().unwrap_or(0));
        while self.bounds.get(cell).is_some_and(|bound| *bound < value) {
            cell = cell.wrapping_add(1);
        }
        cell
    }

    /// The cell for a value that is at least as large as one in `from`, and probably about as large.
    #[inline]
    pub(crate) fn cell_from(&self, value: u64, from: usize) -> usize {
        for cell in from..from.wrapping_add(NEAR) {
            if self.bounds.get(cell).is_some_and(|bound| *bound >= value) {
                return cell;
            }
        }
        self.cell(value)
    }

    /// The classic bucket that a cell belongs to; one more than there are for values above the last bound.
    pub(crate) fn classic_of(&self, cell: usize) -> usize {
        self.classic.partition_point(|bucket| bucket.cells <= cell)
    }

    /// The bounds of a cell: above the first, up to the second.
    fn range_of(&self, cell: usize) -> (u64, Option<u64>) {
        let lower = cell.checked_sub(1).and_then(|below| self.bounds.get(below)).copied().unwrap_or(0);
        (lower, self.bounds.get(cell).copied())
    }

    /// The value in a cell that is wrong by the same factor at either end, in the unit shown.
    pub(crate) fn middle_of(&self, cell: usize) -> f64 {
        let (lower, upper) = self.range_of(cell);
        let middle = match upper {
            Some(upper) if lower > 0 => (to_f64(lower) * to_f64(upper)).sqrt(),
            Some(upper) => to_f64(upper) / 2.0,
            // Above the last bound, nothing is known but that.
            None => to_f64(lower),
        };
        middle / self.scale.per_unit()
    }

    /// The same in whole nanoseconds or bytes.
    pub(crate) fn whole_middle_of(&self, cell: usize) -> u64 {
        to_units(self.middle_of(cell), self.scale)
    }
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layout").field("scale", &self.scale).field("cells", &self.len()).finish_non_exhaustive()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounds are checked right after")]
fn to_units(bound: f64, scale: Scale) -> u64 {
    (bound * scale.per_unit()).round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
pub(crate) const fn to_f64(value: u64) -> f64 {
    value as f64
}

/// The bound of the zero bucket and those of the buckets above it, rounded down: a whole number is at most the bound
/// exactly when it is at most the bound rounded down.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounds are above zero and below 2^62")]
fn native_bounds(scale: Scale) -> (u64, Vec<u64>) {
    let (schema, lowest, highest, zero) = scale.native();
    let per_octave = f64::from(1 << schema);
    let above = ((lowest << schema).saturating_add(1)..=highest << schema)
        .map(|index| ((f64::from(index) / per_octave).exp2() * scale.per_unit()) as u64)
        .collect();
    ((zero * scale.per_unit()) as u64, above)
}

/// How many cells are tried one after the other: about as long as it takes to find another one.
const NEAR: usize = 4;

/// Values that share their highest bit and the three below it share a place; 0 to 7 have one each.
const COARSE: usize = 62 * 8;

#[inline]
fn coarse(value: u64) -> usize {
    let Some(above) = 60_u32.checked_sub(value.leading_zeros()) else {
        #[expect(clippy::cast_possible_truncation, reason = "below 8")]
        return value as usize;
    };
    let bits = (value >> above) & 7;
    ((above as usize).wrapping_add(1) << 3) | usize::try_from(bits).unwrap_or(0)
}

/// The lowest value with this place.
fn lowest_of(place: usize) -> u64 {
    let (block, bits) = (place >> 3, (place & 7) as u64);
    match block.checked_sub(1) {
        None => bits,
        Some(shift) => (bits | 8) << shift,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(scale: Scale) -> Layout {
        let buckets = if scale == Scale::Seconds { Buckets::opentelemetry() } else { Buckets::sizes() };
        Layout::new(&buckets, scale, true).unwrap()
    }

    #[test]
    fn a_value_on_a_bound_belongs_to_the_bucket_below() {
        let layout = layout(Scale::Seconds);
        for (place, bucket) in layout.classic.iter().enumerate() {
            let bound = to_units(bucket.bound, Scale::Seconds);
            assert_eq!(layout.classic_of(layout.cell(bound)), place, "{}", bucket.bound);
            assert_eq!(layout.classic_of(layout.cell(bound + 1)), place + 1, "{}", bucket.bound);
        }
    }

    #[test]
    fn unusable_bounds_are_refused() {
        for bad in
            [vec![], vec![0.0, 1.0], vec![2.0, 1.0], vec![1.0, 1.0], vec![f64::NAN], vec![f64::INFINITY], vec![-1.0]]
        {
            assert!(Layout::new(&Buckets::new(bad.clone()), Scale::Seconds, true).is_err(), "{bad:?}");
        }
        assert!(Layout::new(&Buckets::new((1..=65).map(f64::from)), Scale::Seconds, true).is_err());
    }

    #[test]
    fn a_bound_is_added_once_and_in_its_place() {
        let buckets = Buckets::coarse().with_bound(0.3).with_bound(0.5);
        assert_eq!(buckets.bounds(), [0.1, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0]);
    }

    #[test]
    fn native_buckets_match_their_index() {
        for scale in [Scale::Seconds, Scale::Bytes] {
            let layout = layout(scale);
            let native = layout.native.as_ref().unwrap();
            let mut before = native.zero_cells;
            for (place, cells) in native.cells.iter().enumerate() {
                let index = native.first_index + i32::try_from(place).unwrap();
                let upper = (f64::from(index) / f64::from(1 << native.schema)).exp2();
                let upper = upper * scale.per_unit();
                let (_, last) = layout.range_of(cells - 1);
                let (first, _) = layout.range_of(before);
                assert!(to_f64(last.unwrap()) <= upper && to_f64(last.unwrap()) > upper - 1.0, "{scale:?} {index}");
                assert!(to_f64(first) < upper, "{scale:?} {index}");
                before = *cells;
            }
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_finds_the_cell_that_a_search_finds(value: u64, shift in 0_u32..64) {
            let value = value >> shift;
            for scale in [Scale::Seconds, Scale::Bytes] {
                let layout = layout(scale);
                prop_assert_eq!(layout.cell(value), layout.bounds.partition_point(|bound| *bound < value));
            }
        }

        #[test]
        fn a_cell_is_found_from_any_one_before_it(value: u64, less: u64, shifts in (0_u32..64, 0_u32..64)) {
            let value = value >> shifts.0;
            let less = less >> shifts.1;
            for scale in [Scale::Seconds, Scale::Bytes] {
                let layout = layout(scale);
                let from = layout.cell(value.saturating_sub(less));
                for from in [0, from, layout.cell(value)] {
                    prop_assert_eq!(layout.cell_from(value, from), layout.cell(value));
                }
            }
        }

        #[test]
        fn places_are_in_order(value: u64) {
            prop_assert!(lowest_of(coarse(value)) <= value);
            let next = coarse(value).saturating_add(1);
            prop_assert!(next >= COARSE || value < lowest_of(next));
        }
    }
}
