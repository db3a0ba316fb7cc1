use crate::indicator::{latency::Sum, reading::Counts};

/// What requests have come to, with their durations in cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub(super) counts: Counts,
    pub(super) nanos: u64,
    pub(super) cells: Vec<u64>,
}

impl Requests {
    pub(super) fn of(sum: Sum<'_>, counts: Counts) -> Self {
        Self { counts, nanos: sum.total, cells: sum.cells }
    }
}
