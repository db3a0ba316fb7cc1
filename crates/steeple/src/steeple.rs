use std::{
    fmt,
    io::Write,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use http::Extensions;
use steeple_core::{ObserveLayer, clock};
use steeple_export::{FlushReport as SinkReport, Sink, secret};
use steeple_log::{Log, LogGuard, LogHandle, LogLevel};
use steeple_metrics::Metrics;
use steeple_scrub::Scrubber;

use crate::{
    ConfigError, SteepleBuilder, SteepleLayer,
    env::ProcessEnv,
    health::Checks,
    integrations::Running,
    jobs::JobObservers,
    options::{Connections, Ending},
    shutdown::{Shutdown, Tasks},
    sink::Sinks,
    state::Kept,
    summary::Summary,
};

/// Flushes or shuts down all sinks until the deadline.
type EndAll = fn(&[Arc<dyn Sink>], Instant) -> Vec<SinkReport>;

/// Everything for one service: the layer, the routes, and serving with a graceful end. A cheap clone.
///
/// See the [crate's docs](crate) for the variables of the environment.
#[derive(Clone, Debug)]
pub struct Steeple(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    /// What survives a deploy: the first field, so that it is saved before its sources are dropped.
    pub(crate) state: Option<Kept>,
    pub(crate) layer: SteepleLayer,
    pub(crate) jobs: ObserveLayer<JobObservers>,
    pub(crate) running: Running,
    pub(crate) scrubber: Scrubber,
    /// Handles of integrations by type, and what they add for others, such as routes.
    pub(crate) started: Extensions,
    pub(crate) guard: Option<LogGuard>,
    pub(crate) sinks: Sinks,
    /// What outputs of the log send with: they end after the log.
    pub(crate) log_sinks: Sinks,
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

    /// The scrubber, for texts that the application itself sends on.
    pub fn scrubber(&self) -> &Scrubber {
        &self.0.scrubber
    }

    /// The observer that writes the log lines.
    pub fn log(&self) -> &Log {
        &self.0.layer.observers().log
    }

    /// A layer for your own `tracing` subscriber: spans carry the exchange that they were opened in, so that
    /// `tokio::spawn(future.instrument(Span::current()))` keeps what [`Exchange::scope`](crate::Exchange::scope) keeps. For spans of
    /// `INFO` and above; [`ExchangeLayer`](steeple_log::ExchangeLayer) is the same without a filter.
    ///
    /// Ids on the lines of another formatter need no layer: they are fields of the span `request`, see
    /// [`SteepleBuilder::request_spans`](crate::SteepleBuilder::request_spans).
    ///
    /// ```
    /// use steeple::Steeple;
    /// use tracing_subscriber::layer::SubscriberExt;
    ///
    /// let own = tracing_subscriber::registry().with(tracing_subscriber::fmt::layer()).with(Steeple::log_layer());
    /// let _own = tracing::subscriber::set_default(own); // `set_global_default` in a real `main`, before Steeple is built
    /// let steeple = Steeple::builder().build().unwrap();
    /// ```
    pub fn log_layer<S>() -> impl tracing_subscriber::Layer<S> + Send + Sync + use<S>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        tracing_subscriber::Layer::with_filter(
            steeple_log::ExchangeLayer::new(),
            tracing_subscriber::filter::LevelFilter::INFO,
        )
    }

    /// The outputs of the log. `None` where Steeple has not set up the log.
    pub fn log_outputs(&self) -> Option<LogHandle> {
        self.0.guard.as_ref().map(LogGuard::handle)
    }

    /// Writes the log lines that these directives let through, for so long: a level, or a level with exceptions by target
    /// (`info,shop::cart=debug`). Then the level that was configured is in force again, also when nothing logs meanwhile.
    ///
    /// See [`LogHandle::override_level`]. `steeple_log_level_overrides_total` counts.
    ///
    /// # Errors
    /// When the directives are invalid, the duration is zero or longer than an hour, or Steeple has not set up the log.
    pub fn override_log_level(&self, directives: &str, duration: Duration) -> Result<LogLevel, ConfigError> {
        let Some(guard) = &self.0.guard else {
            return Err(ConfigError::new(
                None,
                "cannot override the log level: the process has a `tracing` subscriber that is not Steeple's",
            ));
        };
        let level = guard.handle().override_level(directives, duration);
        level.map_err(|error| ConfigError::new(None, &error.to_string()))
    }

    /// Ends [`override_log_level`](Self::override_log_level) now. Returns whether there was an override.
    pub fn clear_log_level_override(&self) -> bool {
        self.0.guard.as_ref().is_some_and(|guard| guard.handle().clear_level_override())
    }

    /// Which log lines are written, and until when. `None` where Steeple has not set up the log.
    pub fn log_level(&self) -> Option<LogLevel> {
        self.0.guard.as_ref().map(|guard| guard.handle().level())
    }

    /// The switch that begins the shutdown of [`serve`](Self::serve) from within, and shows whether it has begun.
    ///
    /// From then on `/readyz` answers 503.
    pub fn shutdown(&self) -> Shutdown {
        self.0.shutdown.clone()
    }

    /// Logs the setup, once: service, log, integrations and a warning for each setting without effect.
    /// [`serve`](Self::serve) calls it; call it where another server serves.
    pub fn log_summary(&self) {
        self.0.summary.log();
    }

    /// Opens the log's files again, as after a rotation by another program, and reads again the files of secrets (`NAME_FILE`) and of the
    /// alerts' rules.
    /// [`serve`](Self::serve) calls it at SIGHUP.
    pub fn reload(&self) {
        if let Some(guard) = &self.0.guard {
            guard.reopen();
        }
        secret::reread();
        self.running().reload();
        tracing::info!(target: "steeple::reload", "reopened the log");
    }

    /// Sends and writes everything queued: to all receivers in parallel, then the log, together within
    /// [`flush_timeout`](SteepleBuilder::flush_timeout). Undelivered items are in the report and in the log.
    ///
    /// Blocks the thread, also one of a runtime.
    pub fn flush(&self) -> FlushReport {
        let report = self.end(self.0.ending.flush, false);
        report.show();
        report
    }

    /// [`flush`](Self::flush), and accepts nothing more, except for the log. For the end of a process without
    /// [`serve`](Self::serve), which does the same at its end.
    pub fn close(&self) -> FlushReport {
        let report = self.close_within(self.0.ending.flush);
        report.show();
        report
    }

    pub(crate) fn close_within(&self, timeout: Duration) -> FlushReport {
        self.end(timeout, true)
    }

    fn end(&self, timeout: Duration, close: bool) -> FlushReport {
        let all: EndAll = if close { steeple_export::shutdown_all } else { steeple_export::flush_all };
        // What goes wrong before is still written: the log has a share of the time that is its alone.
        let of_log = timeout.div_f64(5.0).min(Duration::from_secs(1));
        let now = clock::now();
        let deadline = now.checked_add(timeout).unwrap_or(now);
        if let Some(guard) = &self.0.guard {
            // Their outputs' receivers get everything queued meanwhile.
            guard.handle().begin_flush();
        }
        let sent_until = deadline.checked_sub(of_log).unwrap_or(now);
        let mut sinks = all(&self.0.sinks.0, sent_until);
        if let Some(state) = &self.0.state {
            // Whatever the sinks have done is in it.
            let saved = if close { state.close_until(deadline) } else { state.save_until(deadline) };
            sinks.push(SinkReport::new("state".into(), 0, 0, u64::from(!saved)));
        }
        sinks.retain(|report| !report.is_complete());
        for SinkReport { sink, dropped, left, .. } in &sinks {
            // At the end of a process nothing reads its metrics any more.
            tracing::warn!(target: "steeple::flush", %sink, dropped, left, "not everything was delivered");
        }
        if let Some(guard) = &self.0.guard
            && !guard.handle().flush_until(deadline)
        {
            sinks.push(SinkReport::new("log".into(), 0, 0, 1));
            // It hangs: it is not waited for again when the guard is dropped.
            let _hangs = guard.shutdown(clock::now());
        }
        sinks.extend(all(&self.0.log_sinks.0, deadline).into_iter().filter(|report| !report.is_complete()));
        FlushReport { sinks, interrupted: false }
    }

    /// The items that are queued now, once nothing waits for them any longer.
    pub(crate) fn interrupted(&self) -> FlushReport {
        let queued = |sink: &Arc<dyn Sink>| {
            let left = sink.stats().queued_items;
            SinkReport::new(sink.name().to_owned().into(), 0, 0, left)
        };
        let sinks =
            self.0.sinks.0.iter().chain(&self.0.log_sinks.0).map(queued).filter(|report| report.left > 0).collect();
        if let Some(guard) = &self.0.guard {
            let _hangs = guard.shutdown(clock::now());
        }
        FlushReport { sinks, interrupted: true }
    }
}

/// How long a report at the end of the process waits for standard error.
const STDERR_TIMEOUT: Duration = Duration::from_millis(200);

/// What [`Steeple::flush`] has not delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct FlushReport {
    sinks: Vec<SinkReport>,
    interrupted: bool,
}

impl FlushReport {
    /// Writes the numbers of what is left to standard error: the log itself may be stuck.
    pub(crate) fn show(&self) {
        if self.is_complete() {
            return;
        }
        let text = format!("steeple: {self}\n");
        let (ended, end) = mpsc::sync_channel(1);
        // A pipe that nothing reads blocks: this thread may be left behind.
        let written = thread::Builder::new().name("steeple-end".to_owned()).spawn(move || {
            let _closed = std::io::stderr().write_all(text.as_bytes());
            let _gone = ended.send(());
        });
        if written.is_ok() {
            let _blocked = end.recv_timeout(STDERR_TIMEOUT);
        }
    }

    /// Whether everything was sent and written.
    pub fn is_complete(&self) -> bool {
        self.sinks.is_empty() && !self.interrupted
    }

    /// The sinks that have items left, with how many: at least, where a sink cannot count them.
    pub fn left(&self) -> impl Iterator<Item = (&str, u64)> {
        self.sinks.iter().map(|report| (&*report.sink, report.left)).filter(|(_, left)| *left > 0)
    }

    /// The sinks that gave up items during the flush, with how many.
    pub fn dropped(&self) -> impl Iterator<Item = (&str, u64)> {
        self.sinks.iter().map(|report| (&*report.sink, report.dropped)).filter(|(_, dropped)| *dropped > 0)
    }
}

impl fmt::Display for FlushReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return f.write_str("everything was delivered");
        }
        f.write_str(if self.interrupted { "interrupted by a signal" } else { "not everything was delivered" })?;
        for (index, SinkReport { sink, dropped, left, .. }) in self.sinks.iter().enumerate() {
            let separator = if index == 0 { ":" } else { ";" };
            write!(f, "{separator} {sink}: {dropped} dropped, {left} left")?;
        }
        Ok(())
    }
}
