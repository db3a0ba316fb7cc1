//! Means of levels, such as memory: they have no counter.

/// A level's mean over time, as two numbers that only grow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mean {
    part: f64,
    whole: f64,
    /// Whether there ever was a value.
    is_known: bool,
}

impl Mean {
    /// A level that stood for so many seconds.
    pub(super) fn add(&mut self, level: Option<f64>, seconds: f64) {
        if let Some(level) = level {
            self.part += level * seconds;
            self.whole += seconds;
            self.is_known = true;
        }
    }

    /// What grows by itself.
    pub(super) fn grow(&mut self, part: f64, whole: f64) {
        self.part += part;
        self.whole += whole;
        self.is_known = true;
    }

    /// Both numbers. `None`: there never was a value.
    pub(super) fn parts(self) -> Option<(f64, f64)> {
        self.is_known.then_some((self.part, self.whole))
    }

    /// The mean since an earlier moment.
    pub(super) fn since(self, earlier: Self) -> Option<f64> {
        let whole = self.whole - earlier.whole;
        (whole > 0.0).then(|| (self.part - earlier.part) / whole)
    }
}
