use std::time::Duration;

use crate::Sentry;

/// Flushes when it is dropped. Made by [`Sentry::flush_on_drop`].
///
/// [`std::process::exit`] and [`std::process::abort`] drop nothing: call [`Sentry::flush`] before them. It sends what log
/// bridges made of lines as well, which otherwise waits for the end of its exchange. What a panic in an exchange says waits
/// too, and is lost if a hook of one's own ends the process there and then; with `panic = "abort"` it is sent at once.
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
