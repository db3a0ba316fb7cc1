//! Serving with a graceful end: [`Steeple::serve`](crate::Steeple::serve) is made of these.

mod listener;
mod signal;

pub use self::{
    listener::{ObservedListener, WithConnection, WithConnections},
    signal::{Shutdown, shutdown_signal},
};

use std::{future::IntoFuture, io, pin::pin};

use axum::{Router, serve::ListenerExt};
use tokio::net::TcpListener;

use crate::Steeple;

impl Steeple {
    /// Serves until Ctrl-C, SIGTERM or [`Steeple::shutdown`], then ends gracefully.
    ///
    /// From then on `/readyz` says no, no connection is accepted, and requests have
    /// [`Builder::drain`](crate::Builder::drain) to end; a second signal ends the wait at once. At last the log is
    /// written out. HTTP/1.1 and HTTP/2, the latter with prior knowledge.
    ///
    /// Around `axum::serve`: a server that needs more than this is built from the parts in [`serve`](crate::serve).
    ///
    /// # Errors
    /// As `axum::serve`: none as things are, since failing to accept a connection is tried again.
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
        // Every handler is made into a route once, here, and not at every request.
        let app = WithConnections::new(app.with_state::<()>(()));
        // A frame of a stream is not kept back until the client has acknowledged the one before it (40 ms).
        let listener = listener.tap_io(|stream| {
            let _slower = stream.set_nodelay(true);
        });
        let begun = self.shutdown.clone();
        let serving = axum::serve(ObservedListener::new(listener), app)
            .with_graceful_shutdown(async move { begun.begun().await });
        let mut serving = pin!(serving.into_future());
        let mut stop = pin!(stop);
        let early = tokio::select! {
            result = &mut serving => Some(result),
            () = &mut stop => None,
            () = self.shutdown.begun() => None,
        };
        self.shutdown.begin();
        let result = if let Some(result) = early {
            result
        } else {
            tokio::select! {
                result = &mut serving => result,
                () = tokio::time::sleep(self.drain) => Ok(()),
                () = shutdown_signal() => Ok(()),
            }
        };
        let steeple = self.clone();
        // Writing waits for a thread, not for a task: this works on a runtime of one thread too.
        let _all_written = tokio::task::spawn_blocking(move || steeple.flush()).await;
        result
    }

    /// The switch that begins the shutdown of [`serve`](Self::serve) from within, and tells when it has begun.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }
}
