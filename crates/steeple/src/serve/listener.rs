//! The sockets that `serve` accepts connections on.

use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use steeple_core::{
    Peer,
    connection::{Connection, ObservedIo},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

use super::os::{self, UnixListener, UnixStream};
use crate::Steeple;

/// A socket that accepts connections: TCP, or a unix socket. Made by [`Steeple::bind`], or from one of Tokio's.
#[derive(Debug)]
pub struct Listener(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// The address, as [`Steeple::bind`] takes it.
    pub fn address(&self) -> String {
        match &self.0 {
            Socket::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string())
            }
            Socket::Unix(listener) => os::path(listener),
        }
    }

    /// The TCP address. `None` for a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.0 {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Errors that do not concern one connection, such as that the process has no file descriptor left, are waited out.
    pub(super) async fn accept(&self, pause: Duration) -> (ObservedIo<Stream>, Option<SocketAddr>) {
        loop {
            let accepted = match &self.0 {
                Socket::Tcp(listener) => listener.accept().await.map(|(io, peer)| {
                    // A frame of a stream is not kept back until the client has acknowledged the one before it (40 ms).
                    let _slower = io.set_nodelay(true);
                    (Stream::Tcp { io }, Some(peer))
                }),
                Socket::Unix(listener) => listener.accept().await.map(|(io, _)| (Stream::Unix { io }, None)),
            };
            match accepted {
                Ok((io, address)) => {
                    let peer = address.map_or(Peer::Unix, Peer::Address);
                    return (ObservedIo::new(io, Connection::new(Some(peer))), address);
                }
                Err(error) if is_of_the_connection(&error) => (),
                Err(error) => {
                    tracing::error!("cannot accept connections: {error}");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self(Socket::Tcp(listener))
    }
}

impl Steeple {
    /// Binds a socket for [`serve`](Self::serve): `127.0.0.1:3000`, `[::]:3000`, `localhost:3000`, or `unix:/run/shop.sock`.
    ///
    /// A unix socket that a dead process has left at the path is replaced.
    ///
    /// # Errors
    /// When the address is invalid or cannot be bound. The message has the address.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let steeple = steeple::Steeple::builder().without_log_setup().build()?;
    /// let listener = steeple.bind("127.0.0.1:0").await?;
    /// let error = steeple.bind(listener.address()).await.unwrap_err();
    /// assert!(error.to_string().starts_with(&format!("cannot listen on {}: ", listener.address())));
    /// # Ok(()) }
    /// ```
    pub async fn bind(&self, address: impl fmt::Display) -> io::Result<Listener> {
        let address = address.to_string();
        let bound = match address.strip_prefix("unix:") {
            Some(path) => os::bind(Path::new(path)).map(Socket::Unix),
            None => TcpListener::bind(&address).await.map(Socket::Tcp),
        };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
        bound.map(Listener).map_err(named)
    }
}

pin_project! {
    /// One connection.
    #[project = Projected]
    #[derive(Debug)]
    pub(super) enum Stream {
        Tcp { #[pin] io: TcpStream },
        Unix { #[pin] io: UnixStream },
    }
}

macro_rules! forward {
    ($this:ident, $io:ident => $call:expr) => {
        match $this.project() {
            Projected::Tcp { io: $io } => $call,
            Projected::Unix { io: $io } => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, io => io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self, io => io.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp { io } => io.is_write_vectored(),
            Self::Unix { io } => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, io => io.poll_shutdown(cx))
    }
}
