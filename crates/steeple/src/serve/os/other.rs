//! What there is in place of Unix's signals and sockets.

use std::{io, path::Path};

/// No socket of this kind can be made here.
pub(in crate::serve) type UnixStream = tokio::io::DuplexStream;

/// No socket of this kind can be made here.
#[derive(Debug)]
pub(in crate::serve) enum UnixListener {}

impl UnixListener {
    pub(in crate::serve) async fn accept(&self) -> io::Result<(UnixStream, ())> {
        match *self {}
    }
}

/// Ctrl-C.
pub(in crate::serve) struct Terminations;

impl Terminations {
    pub(in crate::serve) fn catch() -> Option<Self> {
        Some(Self)
    }

    pub(in crate::serve) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A signal that does not exist here.
pub(in crate::serve) struct Hangups;

impl Hangups {
    pub(in crate::serve) fn catch() -> Option<Self> {
        None
    }

    pub(in crate::serve) async fn next(&mut self) {
        std::future::pending().await
    }
}

pub(in crate::serve) fn bind(_path: &Path) -> io::Result<UnixListener> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no unix sockets"))
}

pub(in crate::serve) fn path(listener: &UnixListener) -> String {
    match *listener {}
}
