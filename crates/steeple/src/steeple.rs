use std::{sync::Arc, time::Duration};

use steeple_core::ObserveLayer;
use steeple_log::{Log, LogGuard, LogHandle};
use steeple_metrics::Metrics;

use crate::{Builder, ConfigError, Observers, env::ProcessEnv, health::Checks};

/// Everything for one service: the layer, the routes, and serving with a graceful end. A cheap clone.
///
/// See the [crate's docs](crate) for what the environment may hold.
#[derive(Clone, Debug)]
pub struct Steeple {
    layer: ObserveLayer<Observers>,
    guard: Option<Arc<LogGuard>>,
    #[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "asked by the routes alone"))]
    pub(crate) checks: Checks,
    #[cfg_attr(not(feature = "axum"), expect(dead_code, reason = "asked by `serve` alone"))]
    pub(crate) drain: Duration,
    flush: Duration,
    #[cfg(feature = "axum")]
    pub(crate) shutdown: crate::serve::Shutdown,
}

impl Steeple {
    /// Sets everything up from the environment.
    ///
    /// # Errors
    /// When a variable's value cannot be used. The error names the variable, what it holds and what it may hold.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::builder_from_env()?.build()
    }

    /// Options with what the environment says: for those who want to add to it.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn builder_from_env() -> Result<Builder, ConfigError> {
        Builder::from_lookup(&ProcessEnv)
    }

    /// Options, all with a default. The environment is not read.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        observers: Observers,
        guard: Option<Arc<LogGuard>>,
        checks: Checks,
        drain: Duration,
        flush: Duration,
    ) -> Self {
        Self {
            layer: ObserveLayer::new(observers),
            guard,
            checks,
            drain,
            flush,
            #[cfg(feature = "axum")]
            shutdown: crate::serve::Shutdown::default(),
        }
    }

    /// The layer that watches. Goes outermost: the last `.layer()` of an Axum router.
    pub fn layer(&self) -> ObserveLayer<Observers> {
        self.layer.clone()
    }

    /// The metrics: their registry, for families of your own.
    pub fn metrics(&self) -> &Metrics {
        &self.layer.observer().6
    }

    /// The observer that writes the log lines.
    pub fn log(&self) -> &Log {
        &self.layer.observer().5
    }

    /// The outputs of the log. `None` where the process has a subscriber of its own.
    pub fn log_outputs(&self) -> Option<LogHandle> {
        self.guard.as_ref().map(|guard| guard.handle())
    }

    /// What makes spans and sends them. `None` without a receiver.
    #[cfg(feature = "trace")]
    pub fn traces(&self) -> Option<&steeple_trace::Trace> {
        self.layer.observer().3.as_ref()
    }

    /// Looks for what would keep spans from arriving: a receiver that does not answer, a level that filters them away.
    ///
    /// Tries to connect, for a second at most: call it before serving, or where blocking is allowed. Empty without a
    /// receiver. The first exchange logs the same, once.
    #[cfg(feature = "trace")]
    pub fn doctor(&self) -> Vec<steeple_trace::Finding> {
        self.traces().map_or_else(Vec::new, steeple_trace::Trace::doctor)
    }

    /// What sends failures to Sentry. `None` without a DSN.
    #[cfg(feature = "sentry")]
    pub fn sentry(&self) -> Option<&steeple_sentry::Sentry> {
        self.layer.observer().4.as_ref()
    }

    /// Sends and writes what is still queued, each for as long as [`Builder::flush`] says. Says whether that was all, and
    /// what does not get through, the log says too.
    ///
    /// Blocks the thread: `serve` calls it where that is allowed.
    pub fn flush(&self) -> bool {
        #[cfg_attr(not(any(feature = "sentry", feature = "trace")), expect(unused_mut, reason = "integrations say no"))]
        let mut all_sent = true;
        #[cfg(feature = "sentry")]
        if let Some(sentry) = self.sentry() {
            let sent = sentry.flush(self.flush);
            if !sent {
                tracing::warn!("Sentry has not taken everything within {:?}", self.flush);
            }
            all_sent &= sent;
        }
        #[cfg(feature = "trace")]
        if let Some(traces) = self.traces() {
            let report = traces.flush_blocking(self.flush);
            if !report.is_complete() {
                // At the end of a process nobody reads its metrics any more.
                let (lost, unsent) = (report.lost, report.pending);
                tracing::warn!(lost, unsent, "spans and log records have not reached their receiver");
            }
            all_sent &= report.is_complete();
        }
        // The log comes last: what goes wrong before is still written.
        let all_written = self.guard.as_ref().is_none_or(|guard| guard.flush(self.flush));
        all_sent && all_written
    }
}
