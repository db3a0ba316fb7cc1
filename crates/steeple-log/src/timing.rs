use std::time::Duration;

/// How long a log collects, waits and pauses. Set by [`LogBuilder::timing`](crate::LogBuilder::timing).
///
/// The defaults suit a service. A test shortens what it would otherwise wait for.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_log::{Log, TimingOptions};
///
/// // A disk that fails is tried again after 1 s at first, and at least every 30 s.
/// let timing = TimingOptions::new().retry(Duration::from_secs(1), Duration::from_secs(30));
/// let builder = Log::builder().timing(timing);
/// # let _unused = builder;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "options do nothing until a builder gets them"]
pub struct TimingOptions {
    pub(crate) collect: Duration,
    pub(crate) first_retry: Duration,
    pub(crate) last_retry: Duration,
    pub(crate) gap_interval: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) lock_pause: Duration,
    pub(crate) drop_timeout: Duration,
    pub(crate) stderr_timeout: Duration,
}

impl Default for TimingOptions {
    fn default() -> Self {
        Self {
            collect: Duration::from_millis(5),
            first_retry: Duration::from_millis(100),
            last_retry: Duration::from_secs(2),
            gap_interval: Duration::from_secs(1),
            lock_timeout: Duration::from_secs(1),
            lock_pause: Duration::from_secs(30),
            drop_timeout: Duration::from_secs(5),
            stderr_timeout: Duration::from_millis(50),
        }
    }
}

impl TimingOptions {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long an output's thread collects lines before it writes them. Longer: fewer system calls, and lines appear later.
    /// Default: 5 ms.
    pub fn collect(mut self, time: Duration) -> Self {
        self.collect = time;
        self
    }

    /// How soon an output that fails is tried again: after `first`, then after twice as long each time, but never later than
    /// after `last`. Default: 100 ms, 2 s.
    pub fn retry(mut self, first: Duration, last: Duration) -> Self {
        (self.first_retry, self.last_retry) = (first, last.max(first));
        self
    }

    /// How often, at most, a line states how many lines before it are missing. Default: 1 s.
    pub fn gap_interval(mut self, interval: Duration) -> Self {
        self.gap_interval = interval;
        self
    }

    /// How long a write into a log directory waits for another process that writes there. After that it writes without the
    /// lock. Default: 1 s.
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// For how long the lock is not tried again after [`lock_timeout`](Self::lock_timeout) was over. Default: 30 s.
    pub fn lock_pause(mut self, pause: Duration) -> Self {
        self.lock_pause = pause;
        self
    }

    /// How long a [`LogGuard`](crate::LogGuard) that is dropped waits for its outputs. Default: 5 s.
    pub fn drop_timeout(mut self, timeout: Duration) -> Self {
        self.drop_timeout = timeout;
        self
    }

    /// How long a panic outside of exchanges waits until its message is on standard error, which may hang. Default: 50 ms.
    pub fn stderr_timeout(mut self, timeout: Duration) -> Self {
        self.stderr_timeout = timeout;
        self
    }
}
