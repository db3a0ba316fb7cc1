use std::time::{Duration, Instant};

use tracing::Subscriber;
#[cfg(feature = "log-records")]
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{layer::Layer, registry::LookupSpan};

use crate::{BuildError, ExchangeLayer, Log, LogHandle, PanicHook, layer::LogLayer, output::after, panic};

/// Keeps the log running. Dropping it writes everything queued and ends the log: later lines are dropped and counted.
///
/// It waits for at most 5 seconds, or for [`TimingOptions::drop_timeout`](crate::TimingOptions::drop_timeout), and not at all after [`shutdown`](Self::shutdown). An output that hangs is waited for
/// once: not again if a flush waited for it in vain, and it has written nothing since.
#[derive(Debug)]
#[must_use = "the log ends when its guard is dropped"]
pub struct LogGuard {
    handle: LogHandle,
    log: Log,
    drop_timeout: Duration,
}

impl LogGuard {
    pub(crate) fn new(handle: LogHandle, log: Log, drop_timeout: Duration) -> Self {
        Self { handle, log, drop_timeout }
    }

    /// A handle that writes into the outputs. It may outlive the guard.
    pub fn handle(&self) -> LogHandle {
        self.handle.clone()
    }

    /// The observer that writes exchanges' lines directly into the outputs. A cheap clone.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// A layer for the process's subscriber: writes each `tracing` event that passes the filter as a line. The filter follows
    /// [`LogHandle::override_level`].
    ///
    /// A line that is logged while a request is served automatically has the request's id, trace, name, route and user, and
    /// the fields of the spans around it. Secrets are removed from texts, and no text can forge or break a line. A field
    /// with the name of one of the line's own fields is written under `fields.`.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter = self.handle.shared().levels.to_filter();
        ExchangeLayer::new().and_then(LogLayer::new(self.handle())).with_filter(filter)
    }

    /// Installs this as the subscriber of the process. With the feature `log-records` it also receives the records of the
    /// `log` crate, unless the process has a logger already.
    ///
    /// # Errors
    /// [`BuildError::is_taken`] when the process has a subscriber already.
    pub fn install(&self, subscriber: impl Subscriber + Send + Sync) -> Result<(), BuildError> {
        // Not `try_init`: with a feature that any crate may turn on, it fails where only `log` has a logger already.
        tracing::subscriber::set_global_default(subscriber).map_err(BuildError::taken)?;
        #[cfg(feature = "log-records")]
        {
            use tracing_log::AsLog;
            // After the subscriber, whose most verbose level is the most verbose for records.
            let level = LevelFilter::current().as_log();
            if tracing_log::LogTracer::builder().with_max_level(level).init().is_ok() {
                self.handle.shared().levels.set_logger();
            }
        }
        Ok(())
    }

    /// Sets who reports the panics of this process. Replaces what reported them before.
    pub fn report_panics(&self, hook: PanicHook) {
        match hook {
            PanicHook::Log => {
                let handle = self.handle();
                steeple_core::report_panics(move |panic| panic::report(&handle, panic));
            }
            PanicHook::Forward => steeple_core::forward_panics(),
        }
    }

    /// See [`LogHandle::flush`].
    pub fn flush(&self, timeout: Duration) -> bool {
        self.handle.flush(timeout)
    }

    /// See [`LogHandle::reopen`].
    pub fn reopen(&self) {
        self.handle.reopen();
    }

    /// Ends the log: accepts no more lines, and waits until those that are queued are written, at most until the deadline.
    /// Returns whether all outputs have ended; what an output that hangs has not written by then is lost with the process.
    ///
    /// Blocks the thread. The guard does not wait a second time when it is dropped.
    pub fn shutdown(&self, deadline: Instant) -> bool {
        self.handle.close(deadline)
    }

    /// See [`LogHandle::dropped`].
    pub fn dropped(&self) -> u64 {
        self.handle.dropped()
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.handle.close_without_hung(after(self.drop_timeout));
    }
}
