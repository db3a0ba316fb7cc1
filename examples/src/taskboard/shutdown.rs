//! One switch that ends everything: set once, seen by whoever waits.

use std::io;

use tokio::sync::watch;

/// The service's switch for its end. Cheap to clone; every clone is the same switch.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Begins the end. A second call changes nothing.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the end has begun. Cancel safe.
    pub async fn begun(&self) {
        // An error would mean that every sender is gone, and `self` is one.
        self.0.subscribe().wait_for(|begun| *begun).await.ok();
    }
}

/// Catches Ctrl-C, and SIGTERM where there is one, from now on; the future waits for either.
///
/// # Errors
/// When the handlers cannot be installed.
#[cfg(unix)]
pub fn signal() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    })
}

/// Catches Ctrl-C; the future waits for it.
///
/// # Errors
/// When the handler cannot be installed.
#[cfg(windows)]
pub fn signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
