use std::{
    fmt,
    io::Write,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use http::Extensions;
use steeple_core::clock;
use steeple_log::{Log, LogGuard, LogHandle};
use steeple_metrics::Metrics;

use crate::{
    ConfigError, SteepleBuilder, SteepleLayer,
    env::ProcessEnv,
    health::Checks,
    integrations::Running,
    options::{Connections, Ending},
    shutdown::{Shutdown, Tasks},
    sink::{self, Sink, Undelivered},
    summary::Summary,
};

/// Everything for one service: the layer, the routes, and serving with a graceful end. A cheap clone.
///
/// See the [crate's docs](crate) for the variables of the environment.
#[derive(Clone, Debug)]
pub struct Steeple(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) layer: SteepleLayer,
    pub(crate) running: Running,
    /// Handles of integrations by type, and what they add for others, such as routes.
    pub(crate) started: Extensions,
    pub(crate) guard: Option<LogGuard>,
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    pub(crate) summary: Summary,
    pub(crate) checks: Checks,
    pub(crate) shutdown: Shutdown,
    pub(crate) ending: Ending,
    pub(crate) connections: Connections,
    pub(crate) tasks: Tasks,
}

impl Steeple {
    /// Sets everything up from the environment.
    ///
    /// # Errors
    /// When a variable has an invalid value. The error has the variable's name, its value and the allowed values.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::builder_from_env()?.build()
    }

    /// Options as the environment sets them. The code can change them further.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn builder_from_env() -> Result<SteepleBuilder, ConfigError> {
        SteepleBuilder::from_lookup(&ProcessEnv)
    }

    /// Options, all with a default. The environment is not read.
    pub fn builder() -> SteepleBuilder {
        SteepleBuilder::default()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn running(&self) -> &Running {
        &self.0.running
    }

    /// The metrics: their registry, for families of the application.
    pub fn metrics(&self) -> &Metrics {
        &self.0.layer.observers().metrics
    }

    /// The observer that writes the log lines.
    pub fn log(&self) -> &Log {
        &self.0.layer.observers().log
    }

    /// The outputs of the log. `None` where Steeple has not set up the log.
    pub fn log_outputs(&self) -> Option<LogHandle> {
        self.0.guard.as_ref().map(LogGuard::handle)
    }

    /// The switch that begins the shutdown of [`serve`](Self::serve) from within, and shows whether it has begun.
    ///
    /// From then on `/readyz` answers 503.
    pub fn shutdown(&self) -> Shutdown {
        self.0.shutdown.clone()
    }

    /// Logs what was set up, once: service, log, integrations and a warning for each setting without effect.
    /// [`serve`](Self::serve) calls it; call it where another server serves.
    pub fn log_summary(&self) {
        self.0.summary.log();
    }

    /// Opens the log's files again, as after a rotation by another program. [`serve`](Self::serve) calls it at SIGHUP.
    pub fn reload(&self) {
        if let Some(guard) = &self.0.guard {
            guard.reopen();
        }
        tracing::info!(target: "steeple::reload", "reloaded");
    }

    /// Sends and writes what is queued: to all receivers in parallel, then the log, together within
    /// [`flush_timeout`](SteepleBuilder::flush_timeout). What is left is in the report and in the log.
    ///
    /// Blocks the thread, also one of a runtime: [`serve`](Self::serve) flushes in a thread.
    pub fn flush(&self) -> FlushReport {
        let report = self.flush_for(self.0.ending.flush);
        report.show();
        report
    }

    pub(crate) fn flush_for(&self, timeout: Duration) -> FlushReport {
        // What goes wrong before is still written: the log has a share of the time that is its alone.
        let of_log = timeout.div_f64(5.0).min(Duration::from_secs(1));
        let now = clock::now();
        let deadline = now.checked_add(timeout).unwrap_or(now);
        let sent_until = deadline.checked_sub(of_log).unwrap_or(now);
        let mut undelivered: Vec<_> = sink::flush_all(&self.0.sinks, sent_until)
            .into_iter()
            .map(|report| (report.sink, report.undelivered))
            .filter(|(_, undelivered)| *undelivered != Undelivered::default())
            .collect();
        for (sink, Undelivered { dropped, left }) in &undelivered {
            // At the end of a process nothing reads its metrics any more.
            tracing::warn!(target: "steeple::flush", sink, dropped, left, "not everything was delivered");
        }
        let rest = deadline.saturating_duration_since(clock::now());
        if self.0.guard.as_ref().is_some_and(|guard| !guard.flush(rest)) {
            undelivered.push(("log".to_owned(), Undelivered { dropped: 0, left: 1 }));
        }
        FlushReport { undelivered, interrupted: false }
    }
}

/// What [`Steeple::flush`] has not delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct FlushReport {
    undelivered: Vec<(String, Undelivered)>,
    interrupted: bool,
}

impl FlushReport {
    pub(crate) fn interrupted() -> Self {
        Self { undelivered: Vec::new(), interrupted: true }
    }

    /// Writes what is left to standard error: the log may be what is stuck.
    pub(crate) fn show(&self) {
        if self.is_complete() {
            return;
        }
        let text = format!("steeple: {self}\n");
        let (tell, told) = mpsc::sync_channel(1);
        // A pipe that nothing reads blocks: this thread may be left behind.
        let written = thread::Builder::new().name("steeple-end".to_owned()).spawn(move || {
            let _closed = std::io::stderr().write_all(text.as_bytes());
            let _gone = tell.send(());
        });
        if written.is_ok() {
            let _blocked = told.recv_timeout(Duration::from_millis(200));
        }
    }

    /// Whether everything was sent and written.
    pub fn is_complete(&self) -> bool {
        self.undelivered.is_empty() && !self.interrupted
    }

    /// The sinks that have items left, with how many: at least, where a sink cannot count them.
    pub fn left(&self) -> impl Iterator<Item = (&str, u64)> {
        self.undelivered.iter().map(|(sink, undelivered)| (&**sink, undelivered.left)).filter(|(_, left)| *left > 0)
    }

    /// The sinks that gave up items during the flush, with how many.
    pub fn dropped(&self) -> impl Iterator<Item = (&str, u64)> {
        self.undelivered
            .iter()
            .map(|(sink, undelivered)| (&**sink, undelivered.dropped))
            .filter(|(_, dropped)| *dropped > 0)
    }
}

impl fmt::Display for FlushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return f.write_str("everything was sent and written");
        }
        if self.interrupted {
            return f.write_str("interrupted by a signal before everything was sent and written");
        }
        f.write_str("not everything was delivered:")?;
        for (index, (sink, Undelivered { dropped, left })) in self.undelivered.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator} {sink}: {dropped} dropped, {left} left")?;
        }
        Ok(())
    }
}
