//! Serving with a graceful end: [`Steeple::serve`](crate::Steeple::serve) is made of these.

mod admin;
mod app;
mod axum;
#[cfg_attr(not(feature = "http2"), path = "http2_off.rs")]
mod http2;
mod listener;
#[cfg_attr(any(not(unix), steeple_os_other), path = "os/other.rs")]
mod os;
mod server;
mod signal;

pub use self::{
    app::App,
    axum::{ObservedListener, WithConnection, WithConnections},
    listener::Listener,
    signal::shutdown_signal,
};
pub use crate::shutdown::Shutdown;

use std::{io, thread, time::Duration};

use steeple_core::clock;
use tokio::{sync::oneshot, time::sleep};

use self::{os::Hangups, server::Server, signal::Signals};
use crate::Steeple;

impl Steeple {
    /// Serves until Ctrl-C, SIGTERM or [`Steeple::shutdown`], then ends gracefully.
    ///
    /// From then on:
    ///
    /// 1. `/readyz` answers 503. For `SHUTDOWN_DELAY` (default: 0) everything else goes on as before, so that load
    ///    balancers notice.
    /// 2. No connection is accepted. Requests may end until [`drain_timeout`](crate::SteepleBuilder::drain_timeout) is over
    ///    (default: 20 seconds after the signal). Those that have not ended by then are cut off, and their log line has the
    ///    outcome `cancelled`.
    /// 3. Queued items are sent, to all receivers in parallel, and the log is written, within
    ///    [`flush_timeout`](crate::SteepleBuilder::flush_timeout) (default: 5 seconds). The rest is logged.
    ///
    /// A second signal ends any of these waits. SIGHUP calls [`Steeple::reload`]. HTTP/1.1, and with the feature
    /// `http2` also HTTP/2, with prior knowledge, which gRPC needs. Connections that send no request head within
    /// [`header_read_timeout`](crate::SteepleBuilder::header_read_timeout), and HTTP/2 clients that do not answer pings, are
    /// closed.
    ///
    /// For a server with other needs, use `axum::serve` with the parts in [`serve`](crate::serve).
    ///
    /// # Errors
    /// Currently infallible: failing to accept a connection is retried.
    pub async fn serve(&self, listener: impl Into<Listener>, app: impl Into<App>) -> io::Result<()> {
        self.serve_until(listener, app, shutdown_signal()).await
    }

    /// [`serve`](Self::serve), until `stop` is ready instead of a first signal.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub async fn serve_until<F>(&self, listener: impl Into<Listener>, app: impl Into<App>, stop: F) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (listener, app) = (listener.into(), app.into());
        let inner = self.inner();
        inner.summary.listens("http", listener.address());
        inner.summary.log();
        let mut server = Server::new(app, inner.connections, Some(inner.scrubber.clone()));
        let steeple = self.clone();
        inner.tasks.add(tokio::spawn(async move { steeple.reload_at_hangups().await }).abort_handle());
        tokio::select! {
            never = server.accept(&listener) => match never {},
            () = stop => (),
            () = inner.shutdown.begun() => (),
        }
        let begun = clock::now();
        inner.shutdown.begin();
        let mut signals = Signals::catch();
        let rest = || inner.ending.drain.saturating_sub(clock::now().saturating_duration_since(begun));
        let mut interrupted = false;
        if !inner.ending.delay.is_zero() {
            tokio::select! {
                never = server.accept(&listener) => match never {},
                () = sleep(inner.ending.delay) => (),
                () = signals.next() => interrupted = true,
            }
        }
        drop(listener);
        server.close();
        if !interrupted {
            tokio::select! {
                () = server.drained() => (),
                () = sleep(rest()) => (),
                () = signals.next() => (),
            }
        }
        server.cut_off().await;
        inner.tasks.end();
        // All that is left of the time, whatever cutting off has taken of it.
        let late = clock::now().saturating_duration_since(begun).saturating_sub(inner.ending.drain);
        self.flush_or_interrupt(inner.ending.flush.saturating_sub(late), &mut signals).await;
        Ok(())
    }

    async fn flush_or_interrupt(&self, timeout: Duration, signals: &mut Signals) {
        let (flushed, flush) = oneshot::channel();
        let steeple = self.clone();
        // Waiting takes a thread, and not one of the runtime's: that would wait for it at its end.
        let flushing = move || {
            let report = steeple.close_within(timeout);
            // Before the process ends: what the application has given to Steeple may clean up when it is dropped.
            drop(steeple);
            let _interrupted = flushed.send(report);
        };
        let thread = thread::Builder::new().name("steeple-end".to_owned()).spawn(flushing);
        if let Err(error) = thread {
            tracing::error!("cannot flush: {error}");
            return;
        }
        let report = tokio::select! {
            report = flush => report.unwrap_or_default(),
            () = signals.next() => self.interrupted(),
        };
        report.show();
    }

    async fn reload_at_hangups(&self) {
        let Some(mut hangups) = Hangups::catch() else { return };
        loop {
            hangups.next().await;
            self.reload();
        }
    }
}
