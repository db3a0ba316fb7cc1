use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{runtime::Handle, sync::Notify};

/// Waits until the process is asked to end: Ctrl-C, and SIGTERM on Unix.
///
/// A signal counts from this call on, also one that comes before the future is polled. Outside of a runtime it counts
/// from the first poll on. Where the handlers cannot be installed it waits for ever, and the process ends as it would
/// without them.
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    let caught = Handle::try_current().is_ok().then(catch);
    async move {
        match caught.unwrap_or_else(catch) {
            Some(signal) => signal.await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
fn catch() -> Option<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt()).ok()?, signal(SignalKind::terminate()).ok()?);
    Some(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    })
}

#[cfg(windows)]
fn catch() -> Option<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = tokio::signal::windows::ctrl_c().ok()?;
    Some(async move {
        interrupt.recv().await;
    })
}

#[cfg(not(any(unix, windows)))]
fn catch() -> Option<std::future::Pending<()>> {
    None
}

/// Ends a service from within: all clones are one switch.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<State>);

#[derive(Debug, Default)]
struct State {
    begun: AtomicBool,
    notify: Notify,
}

impl Shutdown {
    /// Begins the shutdown. More than once does no harm.
    pub fn begin(&self) {
        self.0.begun.store(true, Ordering::Release);
        self.0.notify.notify_waiters();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.0.begun.load(Ordering::Acquire)
    }

    /// Waits until it begins.
    pub async fn begun(&self) {
        let notified = self.0.notify.notified();
        let mut notified = std::pin::pin!(notified);
        // Registered before the flag is read, so that no beginning falls in between.
        notified.as_mut().enable();
        if !self.has_begun() {
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shutdown_is_seen_by_those_who_wait_and_by_those_who_come_later() {
        let shutdown = Shutdown::default();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.begun().await }
        });
        tokio::task::yield_now().await;
        assert!(!shutdown.has_begun());
        shutdown.begin();
        waiting.await.unwrap();
        shutdown.begun().await;
    }
}
