//! Serving with a graceful end: [`Steeple::serve`](crate::Steeple::serve) is made of these.

mod listener;
mod server;
mod signal;

pub use self::{
    listener::{ObservedListener, WithConnection, WithConnections},
    signal::{Shutdown, shutdown_signal},
};

use std::io;

use axum::Router;
use tokio::net::TcpListener;

use self::server::Server;
use crate::Steeple;

impl Steeple {
    /// Serves until Ctrl-C, SIGTERM or [`Steeple::shutdown`], then ends gracefully.
    ///
    /// From then on `/readyz` says no, no connection is accepted, and requests have
    /// [`Builder::drain`](crate::Builder::drain) to end; a second signal ends the wait at once. What has not ended by
    /// then is cut off, which its log line says (`cancelled`). At last everything is sent and written out. HTTP/1.1 and
    /// HTTP/2, the latter with prior knowledge.
    ///
    /// A server that needs more than this is `axum::serve` with the parts in [`serve`](crate::serve), or its like.
    ///
    /// # Errors
    /// None as things are, since failing to accept a connection is tried again.
    pub async fn serve(&self, listener: TcpListener, app: Router) -> io::Result<()> {
        self.serve_until(listener, app, shutdown_signal()).await
    }

    /// [`serve`](Self::serve), until `stop` is ready instead of a first signal.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn serve_until<F>(&self, listener: TcpListener, app: Router, stop: F) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut server = Server::new(app, self.shutdown.clone());
        tokio::select! {
            never = server.accept(listener) => match never {},
            () = stop => (),
            () = self.shutdown.begun() => (),
        }
        self.shutdown.begin();
        tokio::select! {
            () = server.drained() => (),
            () = tokio::time::sleep(self.drain) => (),
            () = shutdown_signal() => (),
        }
        server.cut_off().await;
        let steeple = self.clone();
        // Writing waits for a thread, not for a task: this works on a runtime of one thread too.
        let _all_written = tokio::task::spawn_blocking(move || steeple.flush()).await;
        Ok(())
    }

    /// The switch that begins the shutdown of [`serve`](Self::serve) from within, and tells when it has begun.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }
}
