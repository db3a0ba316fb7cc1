use std::time::Duration;

/// How long sessions, lock-outs and silent streams of a dashboard last. Set by
/// [`DashboardBuilder::timing`](crate::DashboardBuilder::timing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "options do nothing until a builder gets them"]
pub struct TimingOptions {
    pub(crate) session: Duration,
    pub(crate) lockout: Duration,
    #[cfg(feature = "axum")]
    pub(crate) heartbeat: Duration,
}

impl Default for TimingOptions {
    fn default() -> Self {
        Self {
            session: Duration::from_secs(12 * 3600),
            lockout: Duration::from_secs(60),
            #[cfg(feature = "axum")]
            heartbeat: Duration::from_secs(15),
        }
    }
}

impl TimingOptions {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a browser that was given the token stays signed in. Default: 12 hours.
    pub fn session(mut self, lifetime: Duration) -> Self {
        self.session = lifetime;
        self
    }

    /// After ten wrong tokens or passwords in this long, an address has to wait until it is over. Default: a minute.
    pub fn lockout(mut self, window: Duration) -> Self {
        self.lockout = window;
        self
    }

    /// How often something is sent on a stream on which nothing else comes, since proxies cut silent ones. Default: 15 seconds.
    #[cfg(feature = "axum")]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }
}
