//! Signals and sockets of Unix.

use std::{io, os::unix::fs::FileTypeExt, path::Path};

pub(in crate::serve) use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C and SIGTERM.
pub(in crate::serve) struct Terminations {
    interrupt: Signal,
    terminate: Signal,
}

impl Terminations {
    pub(in crate::serve) fn catch() -> Option<Self> {
        Some(Self {
            interrupt: signal(SignalKind::interrupt()).ok()?,
            terminate: signal(SignalKind::terminate()).ok()?,
        })
    }

    pub(in crate::serve) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}

/// SIGHUP.
pub(in crate::serve) struct Hangups(Signal);

impl Hangups {
    pub(in crate::serve) fn catch() -> Option<Self> {
        signal(SignalKind::hangup()).ok().map(Self)
    }

    pub(in crate::serve) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Binds a socket to this path. A socket that a dead process has left there is replaced.
pub(in crate::serve) fn bind(path: &Path) -> io::Result<UnixListener> {
    let is_left_over = || {
        let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        is_socket && std::os::unix::net::UnixStream::connect(path).is_err_and(refused)
    };
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over() => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// The path of a socket.
pub(in crate::serve) fn path(listener: &UnixListener) -> String {
    let address = listener.local_addr();
    let path = address.ok().and_then(|address| address.as_pathname().map(|path| path.display().to_string()));
    format!("unix:{}", path.unwrap_or_default())
}
