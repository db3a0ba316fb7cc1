//! Setting up a process's log in one call.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use steeple_scrub::{Scrubbed, Scrubber};
use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::EnvFilter,
    layer::{Layer, SubscriberExt},
    registry::{LookupSpan, Registry},
};

use crate::{
    Format, InitError, Log, LogHandle, LogOptions, LogOutput, PanicHook, Rotation,
    custom::Custom,
    encode::{Encoder, Field, Line, Service, Value},
    filter::Filter,
    layer::LogLayer,
    os,
    output::{Output, Shared, after},
    panic,
    sink::{Destination, FileAccess, Queue, Report, RollingFile, STEMS, Stream, Worker},
};

/// Where a process's lines go, and which.
///
/// # Examples
/// ```
/// use steeple_log::{Logging, Rotation};
///
/// # let directory = tempfile::tempdir()?;
/// let guard = Logging::new()
///     .service_name("shop")
///     .level("info,hyper=warn")
///     .directory(directory.path()) // combined.log and error.log
///     .rotation(Rotation::daily().keep_files(7))
///     .init()?;
///
/// let app: axum::Router = axum::Router::new().layer(guard.log().build()?.layer());
/// tracing::info!("ready");
/// // At the end, the guard writes what is still queued.
/// # drop(app);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[must_use = "options do nothing until `init` or `build` is called"]
pub struct Logging {
    service: Service,
    filter: String,
    is_level: bool,
    console: Console,
    directory: Option<(PathBuf, Format)>,
    rotation: Rotation,
    access: FileAccess,
    outputs: Vec<Planned>,
    queue_bytes: usize,
    scrubber: Scrubber,
    report: Report,
    panic_hook: PanicHook,
}

/// An output that is to be started.
struct Planned {
    name: String,
    format: Format,
    level: LevelFilter,
    has_stamps: bool,
    destination: Box<dyn Destination>,
}

impl Planned {
    fn new(name: impl Into<String>, format: Format, destination: impl Destination) -> Self {
        let destination = Box::new(destination);
        Self { name: name.into(), format, level: LevelFilter::TRACE, has_stamps: false, destination }
    }
}

#[derive(Clone, Copy)]
enum Console {
    Off,
    /// For people if they look, else for machines.
    Auto,
    As(Format),
}

/// Sets up the log of this process. The same as [`Logging::init`].
///
/// # Errors
/// See [`Logging::init`].
pub fn init(options: Logging) -> Result<LogGuard, InitError> {
    options.init()
}

impl Default for Logging {
    fn default() -> Self {
        Self::new()
    }
}

impl Logging {
    /// Lines of level `info` and above, to the console.
    pub fn new() -> Self {
        Self {
            service: Service::default(),
            filter: "info".to_owned(),
            is_level: true,
            console: Console::Auto,
            directory: None,
            rotation: Rotation::default(),
            access: FileAccess::default(),
            outputs: Vec::new(),
            queue_bytes: 8 * 1024 * 1024,
            scrubber: Scrubber::default(),
            report: Arc::new(|trouble| {
                // Not `eprintln!`, which panics when nobody reads.
                let _unread = writeln!(io::stderr(), "{trouble}");
            }),
            panic_hook: PanicHook::default(),
        }
    }

    /// `service.name` on every line. Default: none.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service.name = Some(name.into());
        self
    }

    /// `service.version` on every line. Default: none.
    pub fn service_version(mut self, version: impl Into<String>) -> Self {
        self.service.version = Some(version.into());
        self
    }

    /// `deployment.environment.name` on every line: `production`, `staging`. Default: none.
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.service.environment = Some(name.into());
        self
    }

    /// Which lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or a list of a level and
    /// exceptions by target (`info,hyper=warn,steeple::access=off`). Default: `info`.
    ///
    /// A word that is no level is an error. Exchanges' own lines have the target `steeple::access`.
    pub fn level(mut self, level: impl Into<String>) -> Self {
        (self.filter, self.is_level) = (level.into(), true);
        self
    }

    /// Which lines are written, as `RUST_LOG` has it: [`level`](Self::level), with targets alone (`my_crate`) and
    /// spans (`my_crate[request{id=7}]=debug`) as well.
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        (self.filter, self.is_level) = (filter.into(), false);
        self
    }

    /// Writes to standard output in this format. Default: [`Format::Color`] where that is a terminal, else
    /// [`Format::Json`].
    pub fn console(mut self, format: Format) -> Self {
        self.console = Console::As(format);
        self
    }

    /// Writes nothing to standard output.
    pub fn without_console(mut self) -> Self {
        self.console = Console::Off;
        self
    }

    /// Writes `combined.log` and, of level `error` alone, `error.log` into this directory, as [`Format::Json`]. The directory
    /// is made if need be.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        let format = self.directory.map_or(Format::Json, |(_, format)| format);
        self.directory = Some((directory.into(), format));
        self
    }

    /// The same, in another format.
    pub fn directory_as(mut self, directory: impl Into<PathBuf>, format: Format) -> Self {
        self.directory = Some((directory.into(), format));
        self
    }

    /// When the files in the directory are closed, and how long they stay. Default: daily, 14 of each.
    pub fn rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = rotation;
        self
    }

    /// The mode of log files that are created, before the process's umask. Default: `0o640`. Unix only.
    ///
    /// Files that exist already keep theirs.
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.access.file_mode = mode;
        self
    }

    /// The mode of log directories that are created, before the process's umask. Default: `0o750`. Unix only.
    pub fn directory_mode(mut self, mode: u32) -> Self {
        self.access.directory_mode = mode;
        self
    }

    /// Writes through `combined.log` and `error.log` where they are symbolic links, and into devices and pipes. Default:
    /// only into regular files, so that whoever may write to the directory cannot redirect the log.
    pub fn follow_links(mut self) -> Self {
        self.access.follow_links = true;
        self
    }

    /// Writes to this writer as well, on its own thread.
    pub fn writer(mut self, writer: impl Write + Send + 'static, format: Format) -> Self {
        self.outputs.push(Planned::new("writer", format, Stream(writer)));
        self
    }

    /// Hands each line to this output as well, on its own thread. See [`LogOutput`].
    pub fn output(mut self, output: impl LogOutput, format: Format) -> Self {
        let name = output.name().to_owned();
        self.outputs.push(Planned { has_stamps: true, ..Planned::new(name, format, Custom(output)) });
        self
    }

    /// The most bytes of lines that wait for each output; at most twice as many are in memory. Default: 8 MiB.
    ///
    /// Lines that find no room are lost and counted, see [`LogHandle::dropped`].
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// Removes secrets from lines with this scrubber. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = scrubber;
        self
    }

    /// Is told in words when an output cannot be written, and when it can be again: once each. Called on the output's
    /// thread. Default: writes it to standard error.
    pub fn on_trouble(mut self, report: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.report = Arc::new(report);
        self
    }

    /// Who reports panics, if [`init`](Self::init) sets up the log. Default: [`PanicHook::Log`].
    pub fn panic_hook(mut self, hook: PanicHook) -> Self {
        self.panic_hook = hook;
        self
    }

    /// Sets up the log of this process: starts the outputs, installs a `tracing` subscriber, and reports panics.
    ///
    /// Keep the guard in `main`: dropping it writes what is queued and ends the log.
    ///
    /// # Errors
    /// As [`build`](Self::build), and [`InitError::is_taken`] when the process has a subscriber already.
    pub fn init(self) -> Result<LogGuard, InitError> {
        let panic_hook = self.panic_hook;
        let guard = self.build()?;
        guard.install(Registry::default().with(guard.layer()))?;
        guard.report_panics(panic_hook);
        Ok(guard)
    }

    /// Starts the outputs and installs nothing: [`LogGuard::layer`] goes into a subscriber of your own.
    ///
    /// # Errors
    /// - [`InitError::is_filter`] when the level or filter is none.
    /// - [`InitError::is_directory`] when the directory cannot be made or written.
    pub fn build(self) -> Result<LogGuard, InitError> {
        let filter = Filter::parse(&self.filter, self.is_level)?;
        let mut planned = Vec::new();
        if let Some((directory, format)) = &self.directory {
            // First of all: here something can be wrong, and nothing is started yet.
            for (stem, level) in STEMS.into_iter().zip([LevelFilter::TRACE, LevelFilter::ERROR]) {
                let report = Arc::clone(&self.report);
                let file = RollingFile::open(directory, stem, self.rotation.clone(), self.access, report);
                let file = file.map_err(|reason| InitError::directory(directory, reason))?;
                planned.push(Planned { level, ..Planned::new(format!("{stem}.log"), *format, file) });
            }
        }
        let console = match self.console {
            Console::Off => None,
            Console::Auto if io::stdout().is_terminal() => Some(Format::Color),
            Console::Auto => Some(Format::Json),
            Console::As(format) => Some(format),
        };
        if let Some(format) = console {
            planned.push(Planned::new("console", format, Stream(os::stdout())));
        }
        planned.extend(self.outputs);

        let mut shared = Shared {
            outputs: Vec::new(),
            encoders: Vec::new(),
            scrubber: self.scrubber,
            access_level: filter.access_level(),
            closing: OnceLock::new(),
        };
        for Planned { name, format, level, has_stamps, destination } in planned {
            if !shared.encoders.iter().any(|encoder| encoder.format() == format) {
                shared.encoders.push(Encoder::new(format, &self.service));
            }
            let queue = if has_stamps { Queue::with_stamps(self.queue_bytes) } else { Queue::new(self.queue_bytes) };
            let queue = Arc::new(queue);
            let encoder = Encoder::new(format, &self.service);
            let scrubber = shared.scrubber.clone();
            let worker = Worker {
                name: name.clone(),
                queue: Arc::clone(&queue),
                destination,
                report: Arc::clone(&self.report),
                gap_line: Box::new(move |out, lost, now| gap_line(&encoder, &scrubber, out, lost, now)),
                trouble: None,
            };
            worker.spawn().map_err(InitError::thread)?;
            shared.outputs.push(Output { name, format, level, queue });
        }
        Ok(LogGuard { handle: LogHandle::new(shared), filter })
    }
}

impl std::fmt::Debug for Logging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logging")
            .field("service", &self.service)
            .field("filter", &self.filter)
            .field("directory", &self.directory)
            .field("rotation", &self.rotation)
            .field("queue_bytes", &self.queue_bytes)
            .finish_non_exhaustive()
    }
}

/// Stands where lines are missing, and says how many.
fn gap_line(encoder: &Encoder, scrubber: &Scrubber, out: &mut Vec<u8>, lost: u64, now: Duration) {
    encoder.line(
        out,
        &Line {
            at: now,
            level: Level::WARN,
            target: Scrubbed::from_static("steeple::log"),
            message: Line::message(scrubber, &format!("{lost} log lines were lost before this one")),
            context: None,
            span: None,
            is_access: false,
            fields: vec![Field::new(scrubber, "lines_lost", Value::Uint(lost))],
            stacktrace: None,
        },
    );
}

/// Keeps the log running. Dropping it writes what is queued (for at most 5 seconds, unless
/// [`shutdown`](Self::shutdown) was called) and ends the log: later lines are dropped and counted.
#[derive(Debug)]
#[must_use = "the log ends when its guard is dropped"]
pub struct LogGuard {
    handle: LogHandle,
    filter: Filter,
}

/// How long a dropped guard waits for its outputs.
const TIMEOUT_ON_DROP: Duration = Duration::from_secs(5);

impl LogGuard {
    /// What writes into the outputs. Clones of it may outlive the guard.
    pub fn handle(&self) -> LogHandle {
        self.handle.clone()
    }

    /// Options for an observer that writes exchanges' lines straight into the outputs.
    pub fn log(&self) -> LogOptions {
        Log::builder().writer(self.handle())
    }

    /// A layer for a subscriber of your own: writes each `tracing` event that the filter lets through as a line.
    ///
    /// A line that is logged while a request is served has the request's id, trace, name, route and user without
    /// anybody's doing, and the fields of the spans around it. Secrets are removed from texts, and nothing in them can
    /// forge or break a line. A field that has the name of one of a line's own goes under `fields.`.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter: EnvFilter = self.filter.to_env_filter();
        LogLayer::new(self.handle()).with_filter(filter)
    }

    /// Makes this the subscriber of the process; with the feature `log-records`, records of the `log` crate come to it as
    /// well, unless the process has a logger for them already.
    ///
    /// # Errors
    /// [`InitError::is_taken`] when the process has a subscriber already.
    pub fn install(&self, subscriber: impl Subscriber + Send + Sync) -> Result<(), InitError> {
        // Not `try_init`: with a feature that any crate may turn on, it says no where only `log` has its logger already.
        tracing::subscriber::set_global_default(subscriber).map_err(InitError::taken)?;
        #[cfg(feature = "log-records")]
        {
            use tracing_log::AsLog;
            // After the subscriber, whose most verbose level is the most verbose for records.
            let level = LevelFilter::current().as_log();
            let _has_a_logger = tracing_log::LogTracer::builder().with_max_level(level).init();
        }
        Ok(())
    }

    /// Reports the panics of this process as the hook says, in place of what reported them before.
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
        self.handle.close(after(TIMEOUT_ON_DROP));
    }
}
