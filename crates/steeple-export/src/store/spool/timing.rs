use std::time::Duration;

/// How often the thread of a [`Spool`](super::Spool) looks around. Set by [`SpoolBuilder::timing`](super::SpoolBuilder::timing).
///
/// The defaults suit a service. A test shortens what it would otherwise wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "options do nothing until a builder gets them"]
pub struct TimingOptions {
    pub(super) retry: Duration,
    pub(super) idle: Duration,
    pub(super) disk: Duration,
    pub(super) adopt: Duration,
    pub(super) expire: Duration,
    pub(super) stats: Duration,
}

impl Default for TimingOptions {
    fn default() -> Self {
        Self {
            retry: Duration::from_secs(1),
            idle: Duration::from_millis(500),
            disk: Duration::from_millis(250),
            adopt: Duration::from_secs(30),
            expire: Duration::from_secs(60),
            stats: Duration::from_millis(200),
        }
    }
}

impl TimingOptions {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        Self::default()
    }

    /// How soon the store is written again after that has failed. Default: 1 second.
    pub fn retry(mut self, after: Duration) -> Self {
        self.retry = after;
        self
    }

    /// How often the thread wakes when there is nothing to do: no other interval is shorter than this then. Default: half a
    /// second. At least 1 ms.
    pub fn idle(mut self, interval: Duration) -> Self {
        self.idle = interval.max(Duration::from_millis(1));
        self
    }

    /// How often, at most, the free room of the disk is read. Default: 250 ms.
    pub fn disk(mut self, interval: Duration) -> Self {
        self.disk = interval;
        self
    }

    /// How often directories of processes that have ended are looked for. Default: 30 seconds.
    pub fn adopt(mut self, interval: Duration) -> Self {
        self.adopt = interval;
        self
    }

    /// How often rows that have become too old are removed. Default: 60 seconds.
    pub fn expire(mut self, interval: Duration) -> Self {
        self.expire = interval;
        self
    }

    /// How often, at most, what [`Spool::spool_stats`](super::Spool::spool_stats) returns is counted. Default: 200 ms.
    pub fn stats(mut self, interval: Duration) -> Self {
        self.stats = interval;
        self
    }
}
