//! The socket below the exchanges: who is at its other end, and what lives as long as it does.

use std::{
    any::Any,
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Peer;

/// A connection. A cheap clone; servers put it into the extensions of each request that arrives on it.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

struct Inner {
    peer: Option<Peer>,
    held: Mutex<Option<Vec<Box<dyn Any + Send>>>>,
}

impl Connection {
    /// A connection with this peer at its other end.
    pub fn new(peer: Option<Peer>) -> Self {
        Self(Arc::new(Inner { peer, held: Mutex::new(Some(Vec::new())) }))
    }

    /// Who is at the other end of the socket: a proxy, if there is one.
    pub fn peer(&self) -> Option<Peer> {
        self.0.peer
    }

    /// Keeps `guard` until the connection closes, then drops it. On a closed connection it is dropped at once.
    ///
    /// This is how an upgraded connection is counted as open: the exchange is over, its socket is not.
    pub fn hold<T: Send + 'static>(&self, guard: T) {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = &mut *held {
            held.push(Box::new(guard));
        }
    }

    fn close(&self) {
        let held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Dropped outside of the lock: a guard may do anything.
        drop(held);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.0.peer).finish_non_exhaustive()
    }
}

pin_project! {
    /// A socket that notifies its [`Connection`] when it is dropped. An upgrade takes it along, so it lives as long as that.
    #[derive(Debug)]
    pub struct ObservedIo<T> {
        #[pin]
        inner: T,
        connection: Connection,
    }

    impl<T> PinnedDrop for ObservedIo<T> {
        fn drop(this: Pin<&mut Self>) {
            this.project().connection.close();
        }
    }
}

impl<T> ObservedIo<T> {
    /// Ties a socket to a connection.
    pub fn new(inner: T, connection: Connection) -> Self {
        Self { inner, connection }
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The socket.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }
}

impl<T: AsyncRead> AsyncRead for ObservedIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite> AsyncWrite for ObservedIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().inner.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Flag(Arc<AtomicBool>);

    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_a_connection_holds_is_dropped_when_its_socket_is() {
        let connection = Connection::new(None);
        let io = ObservedIo::new(tokio::io::empty(), connection.clone());
        let (first, second) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        connection.hold(Flag(Arc::clone(&first)));
        assert!(!first.load(Ordering::Relaxed));
        drop(io);
        assert!(first.load(Ordering::Relaxed), "closed with the socket, although clones of the connection remain");
        connection.hold(Flag(Arc::clone(&second)));
        assert!(second.load(Ordering::Relaxed), "too late to be held");
    }
}
