use std::time::Duration;

use crate::BuildError;

/// How reliable, and how fast, requests are to be.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_metrics::Objective;
///
/// // 99.9 % succeed, and 99 % are answered to the last byte within 300 ms.
/// let objective = Objective::success(0.999).latency(Duration::from_millis(300), 0.99);
/// # let _unused = objective;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    success: Option<f64>,
    latency: Option<(Duration, f64)>,
}

impl Objective {
    /// At least this part of the requests succeed (no 5xx, no failure): 0.999 for 99.9 %.
    pub fn success(ratio: f64) -> Self {
        Self { success: Some(ratio), latency: None }
    }

    /// At least this part of the requests are over within `target`, whether or not they succeed.
    pub fn only_latency(target: Duration, ratio: f64) -> Self {
        Self { success: None, latency: Some((target, ratio)) }
    }

    /// And at least this part of the requests are over within `target`.
    #[must_use]
    pub fn latency(mut self, target: Duration, ratio: f64) -> Self {
        self.latency = Some((target, ratio));
        self
    }

    pub(crate) fn check(&self) -> Result<&Self, BuildError> {
        let mut ratios = self.success.into_iter().chain(self.latency.map(|(_, ratio)| ratio));
        let usable =
            ratios.all(|ratio| ratio > 0.0 && ratio < 1.0) && self.latency.is_none_or(|(target, _)| !target.is_zero());
        if usable { Ok(self) } else { Err(BuildError::objective()) }
    }

    pub(crate) fn success_ratio(&self) -> Option<f64> {
        self.success
    }

    pub(crate) fn latency_ratio(&self) -> Option<f64> {
        self.latency.map(|(_, ratio)| ratio)
    }

    pub(crate) fn latency_seconds(&self) -> Option<f64> {
        self.latency.map(|(target, _)| target.as_secs_f64())
    }
}
