use std::time::Duration;

use crate::Sentry;

/// Flushes when it is dropped. Made by [`Sentry::flush_on_drop`].
///
/// [`std::process::exit`] drops nothing: call [`Sentry::flush`] before it.
#[derive(Debug)]
#[must_use = "it flushes when it is dropped: keep it in `main`"]
pub struct FlushGuard {
    sentry: Sentry,
    timeout: Duration,
}

impl FlushGuard {
    pub(crate) const fn new(sentry: Sentry, timeout: Duration) -> Self {
        Self { sentry, timeout }
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        self.sentry.flush(self.timeout);
    }
}
