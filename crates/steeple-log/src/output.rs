//! The outputs of a process, and the handle that everything which writes lines holds.

use std::{
    cell::Cell,
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use steeple_core::{TraceContext, clock};
use steeple_scrub::Scrubber;
use tracing::{Level, level_filters::LevelFilter};

#[cfg(feature = "export")]
use crate::export::OutputSink;
use crate::{
    Format,
    encode::{Access, Encoder, Line},
    level::{Levels, LogLevel, OverrideError},
    panic,
    sink::{DropReason, Queue, Stamp},
};

/// Writes into the outputs of a log that was set up. A cheap clone.
///
/// [`LogBuilder::build_onto`](crate::LogBuilder::build_onto) makes an observer that writes into them.
#[derive(Clone)]
pub struct LogHandle(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) outputs: Vec<Output>,
    /// One for each format that an output has.
    pub(crate) encoders: Vec<Encoder>,
    pub(crate) scrubber: Scrubber,
    /// Which lines are written.
    pub(crate) levels: Arc<Levels>,
    /// When the log ends, once that is decided.
    pub(crate) closing: OnceLock<Instant>,
    /// How long a panic waits for standard error.
    pub(crate) stderr_timeout: Duration,
}

pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) format: Format,
    /// The least severe level that it takes.
    pub(crate) level: LevelFilter,
    pub(crate) queue: Arc<Queue>,
}

/// The lines that one output dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    output: String,
    lines: [u64; DropReason::ALL.len()],
}

impl Dropped {
    /// The output: `console`, `combined.log`, `error.log`, `writer`, or the name of a
    /// [`LogOutput`](crate::LogOutput). `stderr` stands for reports of panics.
    pub fn output(&self) -> &str {
        &self.output
    }

    /// The lines that were dropped for a reason.
    pub fn by(&self, reason: DropReason) -> u64 {
        self.lines.get(reason as usize).copied().unwrap_or(0)
    }

    /// All lines that were dropped.
    pub fn lines(&self) -> u64 {
        self.lines.into_iter().fold(0, u64::saturating_add)
    }
}

impl LogHandle {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Lines that all outputs together have dropped. 0 unless an output is too slow or fails.
    pub fn dropped(&self) -> u64 {
        self.0.outputs.iter().map(|output| output.queue.lost()).sum()
    }

    /// Lines that were dropped, by output. After the outputs, `stderr` stands for reports of panics that standard error had
    /// no room for, if there were any.
    #[doc(alias = "losses")]
    pub fn dropped_by_output(&self) -> Vec<Dropped> {
        let dropped =
            |output: &Output| Dropped { output: output.name.clone(), lines: output.queue.dropped_by_reason() };
        let stderr = Some(panic::dropped()).filter(|reports| *reports > 0);
        let stderr = stderr.map(|reports| Dropped { output: "stderr".to_owned(), lines: [reports, 0, 0] });
        self.0.outputs.iter().map(dropped).chain(stderr).collect()
    }

    /// Each output as a sink, to be flushed and shut down with the others of a process.
    #[cfg(feature = "export")]
    #[cfg_attr(docsrs, doc(cfg(feature = "export")))]
    pub fn sinks(&self) -> Vec<Arc<dyn steeple_export::Sink>> {
        let sink = |output: &Output| -> Arc<dyn steeple_export::Sink> {
            Arc::new(OutputSink::new(&output.name, Arc::clone(&output.queue)))
        };
        self.0.outputs.iter().map(sink).collect()
    }

    /// Waits until the lines that were logged before this call are written, for at most `timeout`. The same as
    /// [`flush_until`](Self::flush_until).
    pub fn flush(&self, timeout: Duration) -> bool {
        self.flush_until(after(timeout))
    }

    /// Waits until the lines that were logged before this call are written, at most until the deadline. Returns whether
    /// all were written, or counted as dropped.
    ///
    /// Blocks the thread: in asynchronous code call it where blocking is allowed. All outputs are flushed in parallel.
    pub fn flush_until(&self, deadline: Instant) -> bool {
        self.begin_flush();
        // Each gets its chance, also when the one before it hangs.
        let unwritten = self.0.outputs.iter().filter(|output| !output.queue.flush(deadline)).count();
        unwritten == 0
    }

    /// Makes all outputs write everything queued now. Returns at once.
    pub fn begin_flush(&self) {
        for output in &self.0.outputs {
            output.queue.hurry();
        }
    }

    /// Closes all log files and opens them again under their names, once the lines that are queued are written: for
    /// SIGHUP, after a log file was moved. Returns at once.
    ///
    /// A file that was moved or removed is noticed without it, when the next line is written.
    pub fn reopen(&self) {
        for output in &self.0.outputs {
            output.queue.reopen();
        }
    }

    /// Writes the lines that these directives let through, for so long: a level, or a level with exceptions by target
    /// (`info,hyper=debug`). Then what the log was set up with is in force again, also when nothing logs meanwhile.
    ///
    /// Replaces the override before it. One line of the target `steeple::log` shows when it begins, and one when it ends, whatever the
    /// level is. It applies to what [`LogGuard::layer`](crate::LogGuard::layer) writes, to exchanges' own lines and, where this crate
    /// has set up the log, to records of the `log` crate. Directives about spans (`[request]=debug`) apply to spans that begin
    /// after it.
    ///
    /// A thread waits for its end; without an override no thread runs, and a line costs nothing more.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use steeple_log::Log;
    ///
    /// let guard = Log::builder().without_console().level("info").build()?;
    /// let level = guard.handle().override_level("debug,hyper=info", Duration::from_secs(600))?;
    /// assert_eq!((level.directives(), level.configured()), ("debug,hyper=info", "info"));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`OverrideError::is_filter`]: the directives are invalid, or longer than 1,024 bytes. The message has the part that is
    ///   invalid.
    /// - [`OverrideError::is_duration`]: zero, or longer than
    ///   [`LogBuilder::longest_override`](crate::LogBuilder::longest_override).
    /// - [`OverrideError::is_closed`]: the log was shut down.
    /// - None of these: no thread could be started. The level is as before.
    #[doc(alias = "reload")]
    pub fn override_level(&self, directives: &str, duration: Duration) -> Result<LogLevel, OverrideError> {
        self.0.levels.set(self, directives, duration)
    }

    /// Ends the override of the level now. Returns whether there was one.
    pub fn clear_level_override(&self) -> bool {
        self.0.levels.clear(self)
    }

    /// Which lines are written, and until when.
    pub fn level(&self) -> LogLevel {
        self.0.levels.get()
    }

    /// How often the level was overridden.
    pub fn level_overrides(&self) -> u64 {
        self.0.levels.overrides()
    }

    /// Accepts no more lines and waits for the writers' end, at most until the deadline. Called again, it waits no longer
    /// than the first deadline.
    pub(crate) fn close(&self, deadline: Instant) -> bool {
        let deadline = *self.0.closing.get_or_init(|| deadline);
        self.0.levels.close();
        for output in &self.0.outputs {
            output.queue.close();
        }
        let unfinished = self.0.outputs.iter().filter(|output| !output.queue.join(deadline)).count();
        unfinished == 0
    }

    /// The same, but does not wait for outputs that hung when they were last flushed, and have written nothing since.
    pub(crate) fn close_without_hung(&self, deadline: Instant) {
        let deadline = *self.0.closing.get_or_init(|| deadline);
        self.0.levels.close();
        let hung: Vec<_> = self.0.outputs.iter().map(|output| output.queue.is_stuck()).collect();
        for output in &self.0.outputs {
            output.queue.close();
        }
        for (output, _) in self.0.outputs.iter().zip(hung).filter(|(_, hung)| !hung) {
            output.queue.join(deadline);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.closing.get().is_some()
    }

    pub(crate) fn wants_access(&self, level: Level) -> bool {
        self.0.levels.wants_access(level)
    }

    pub(crate) fn write_access(&self, access: &Access<'_>) {
        let stamp = Stamp::new(access.at, access.level, access.context.trace.map(TraceContext::trace_id));
        self.write(&stamp, |encoder, out| encoder.access(out, access));
    }

    pub(crate) fn write_line(&self, line: &Line<'_>) {
        let trace = line.context.as_ref().and_then(|context| context.trace);
        let stamp = Stamp::new(line.at, line.level, trace.map(TraceContext::trace_id));
        self.write(&stamp, |encoder, out| encoder.line(out, line));
    }

    /// Renders a line once for each format that an output wants it in, and queues it.
    fn write(&self, stamp: &Stamp, render: impl Fn(&Encoder, &mut Vec<u8>)) {
        with_scratch(|scratch| {
            for encoder in &self.0.encoders {
                scratch.clear();
                for output in &self.0.outputs {
                    if output.format != encoder.format() || stamp.level > output.level {
                        continue;
                    }
                    // No line is empty.
                    if scratch.is_empty() {
                        render(encoder, scratch);
                    }
                    output.queue.push(scratch, stamp);
                }
            }
        });
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle").field("dropped", &self.dropped_by_output()).finish_non_exhaustive()
    }
}

/// The moment after so long a time. A timeout that is longer than any process lives is cut to a century.
pub(crate) fn after(timeout: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(876_600 * 3600);
    let now = clock::now();
    now.checked_add(timeout.min(CENTURY)).unwrap_or(now)
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A line that was longer than this does not leave its buffer behind.
const KEPT_SCRATCH: usize = 16 * 1024;

/// Lends a buffer that this thread uses again and again. Empty; a second one within the first is a new one.
fn with_scratch(f: impl FnOnce(&mut Vec<u8>)) {
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.clear();
    f(&mut scratch);
    if scratch.capacity() <= KEPT_SCRATCH {
        let _ending = SCRATCH.try_with(|slot| slot.set(scratch));
    }
}
