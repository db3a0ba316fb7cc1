use std::time::Duration;

/// When a batch is tried again, and for how long.
///
/// The delay before attempt n is random between zero and `base` × 2ⁿ⁻¹, at most `cap` ("full jitter"), on the monotonic clock.
/// It belongs to the sink, not to the batch: while a receiver fails, one batch at a time tries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "hand it to `PipelineBuilder::retry`"]
pub struct Retry {
    pub(crate) max_attempts: u32,
    pub(crate) max_age: Duration,
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
    pub(crate) max_retry_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: u32::MAX,
            max_age: Duration::from_secs(600),
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            max_retry_after: Duration::from_secs(300),
        }
    }
}

impl Retry {
    /// The defaults: attempts for 10 minutes, delays from 1 second to 1 minute, `Retry-After` up to 5 minutes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Each batch is tried once.
    pub fn never() -> Self {
        Self::default().max_attempts(1)
    }

    /// How often a batch is tried. Default: as often as its age allows. Zero counts as one.
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// How long a batch is tried, from the moment when it left the queue. Default: 10 minutes.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// The delay before the second attempt is up to this. Default: 1 second.
    pub const fn base(mut self, delay: Duration) -> Self {
        self.base = delay;
        self
    }

    /// No delay is longer than this. Default: 1 minute.
    pub const fn cap(mut self, delay: Duration) -> Self {
        self.cap = delay;
        self
    }

    /// A receiver's longer `Retry-After` counts as this. Default: 5 minutes.
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// How long to wait after so many failures in a row, before jitter.
    pub(crate) fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.base.saturating_mul(1_u32 << doublings).min(self.cap)
    }

    pub(crate) fn delay(&self, failures: u32) -> Duration {
        self.ceiling(failures).mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_cap_and_never_exceed_it() {
        let retry = Retry::new().base(Duration::from_millis(100)).cap(Duration::from_secs(3));
        let ceilings: Vec<_> = (0..8).map(|failures| retry.ceiling(failures).as_millis()).collect();
        assert_eq!(ceilings, [100, 100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(retry.ceiling(u32::MAX), Duration::from_secs(3));
        for failures in 0..200 {
            assert!(retry.delay(failures) <= retry.ceiling(failures));
        }
        assert_eq!(Retry::new().base(Duration::MAX).ceiling(3), Duration::from_secs(60));
        assert_eq!(Retry::new().cap(Duration::ZERO).delay(9), Duration::ZERO);
    }

    #[test]
    fn delays_are_spread_over_all_of_their_interval() {
        let retry = Retry::new().base(Duration::from_secs(60)).cap(Duration::from_secs(60));
        let delays: Vec<_> = (0..1_000).map(|_| retry.delay(3).as_secs()).collect();
        for tenth in 0..10 {
            let there = delays.iter().filter(|seconds| **seconds / 6 == tenth).count();
            assert!(there > 20, "{there} of 1,000 in {tenth}");
        }
    }
}
