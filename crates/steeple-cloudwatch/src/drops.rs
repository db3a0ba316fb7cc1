use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Why a value does not reach CloudWatch, besides what the pipeline counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    NotFinite,
    OutOfRange,
    InvalidName,
    TooMany,
}

const ALL: [(Why, &str); 4] = [
    (Why::NotFinite, "not_finite"),
    (Why::OutOfRange, "out_of_range"),
    (Why::InvalidName, "invalid_name"),
    (Why::TooMany, "too_many"),
];

/// Values that are not sent, by reason. A cheap clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Arc<[AtomicU64; ALL.len()]>);

impl Drops {
    pub(crate) fn add(&self, why: Why, values: u64) {
        if let Some(count) = self.0.get(why as usize) {
            count.fetch_add(values, Relaxed);
        }
    }

    pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
        ALL.iter().zip(&*self.0).map(|((_, name), count)| (*name, count.load(Relaxed))).collect()
    }
}
