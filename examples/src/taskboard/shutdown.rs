//! When to end.

use std::io;

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
