use tokio::runtime::Handle;

use super::os;

/// Waits until the process is asked to end: Ctrl-C, and SIGTERM on Unix.
///
/// A signal counts from this call on, also if it comes before the future is polled. Outside of a runtime it counts
/// from the first poll on. Where the handlers cannot be installed the future is never ready, and the process ends as it
/// would without them.
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    let caught = Handle::try_current().is_ok().then(Signals::catch);
    async move { caught.unwrap_or_else(Signals::catch).next().await }
}

/// Signals that ask the process to end, one after the other.
pub(super) struct Signals(Option<os::Terminations>);

impl Signals {
    /// Catches those that come from now on.
    pub(super) fn catch() -> Self {
        Self(os::Terminations::catch())
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        match &mut self.0 {
            Some(signals) => signals.next().await,
            None => std::future::pending().await,
        }
    }
}
