use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use steeple_core::RouteOptions;
use steeple_scrub::{Scrubbed, Scrubber};
use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::{
    BuildError, Format, Log, LogGuard, LogHandle, LogOutput, PanicHook, Rotation, TimingOptions,
    custom::Custom,
    encode::{Encoder, Field, Line, Service, Value},
    filter::Filter,
    level::Levels,
    os,
    output::{Output, Shared},
    rules::RuleSettings,
    sink::{Destination, FileAccess, Queue, Report, RollingFile, STEMS, Stream, Worker},
};

/// Where a process's lines go, and which lines there are. Made by [`Log::builder`].
///
/// # Examples
/// The log of a process:
/// ```
/// use std::time::Duration;
/// use steeple_core::{RouteOptions, Signal};
/// use steeple_log::{Log, Rotation};
///
/// # let directory = tempfile::tempdir()?;
/// let guard = Log::builder()
///     .service_name("shop")
///     .level("info,hyper=warn")
///     .directory(directory.path()) // combined.log and error.log
///     .rotation(Rotation::daily().keep_files(7))
///     .slow_after(Duration::from_millis(300))
///     .warn_on([401, 403, 429])
///     .sample_ratio(0.1) // of what went well; failed and slow exchanges always have their line
///     .route("/healthz", RouteOptions::new().skip(Signal::Log))
///     .route("POST /reports", RouteOptions::new().slow_after(Duration::from_secs(30)))
///     .init()?;
///
/// let app: axum::Router = axum::Router::new().layer(guard.log().layer());
/// tracing::info!("ready");
/// // At the end, the guard writes everything still queued.
/// # drop(app);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
/// Lines as `tracing` events, for a process that keeps its subscriber:
/// ```
/// use steeple_log::Log;
///
/// let log = Log::builder().warn_on([429]).build_events()?;
/// # Ok::<_, steeple_log::BuildError>(())
/// ```
#[must_use = "options do nothing until `init` or `build` is called"]
#[doc(alias = "access log")]
pub struct LogBuilder {
    service: Service,
    filter: String,
    is_level: bool,
    console: Console,
    directory: Option<(PathBuf, Format)>,
    rotation: Rotation,
    access: FileAccess,
    outputs: Vec<Planned>,
    queue_bytes: usize,
    timing: TimingOptions,
    scrubber: Option<Scrubber>,
    report: Report,
    panic_hook: PanicHook,
    rules: RuleSettings,
    also_events: bool,
    longest_override: Duration,
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
    /// Colored at a terminal, else JSON.
    Auto,
    As(Format),
}

impl Default for LogBuilder {
    /// Lines of level `info` and above, to the console.
    fn default() -> Self {
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
            timing: TimingOptions::default(),
            scrubber: None,
            report: Arc::new(|trouble| {
                // Not `eprintln!`, which panics when nothing reads standard error.
                let _unread = writeln!(io::stderr(), "{trouble}");
            }),
            panic_hook: PanicHook::default(),
            rules: RuleSettings::default(),
            also_events: false,
            longest_override: Duration::from_secs(3_600),
        }
    }
}

impl LogBuilder {
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

    /// `cloud.region` on every line: `eu-central-1`. Default: none.
    pub fn region(mut self, name: impl Into<String>) -> Self {
        self.service.region = Some(name.into());
        self
    }

    /// Which lines are written: a level (`error`, `warn`, `info`, `debug`, `trace`, `off`), or a list of a level and
    /// exceptions by target (`info,hyper=warn,steeple::access=off`). Default: `info`.
    ///
    /// An unknown level is an error. Exchanges' own lines have the target `steeple::access`.
    pub fn level(mut self, level: impl Into<String>) -> Self {
        (self.filter, self.is_level) = (level.into(), true);
        self
    }

    /// Which lines are written, in the syntax of `RUST_LOG`: as for [`level`](Self::level), and targets without a level
    /// (`my_crate`) and spans (`my_crate[request{id=7}]=debug`).
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        (self.filter, self.is_level) = (filter.into(), false);
        self
    }

    /// How long [`LogHandle::override_level`] may override the level at most. Default: 1 hour.
    pub fn longest_override(mut self, duration: Duration) -> Self {
        self.longest_override = duration;
        self
    }

    /// Writes to standard output in this format. Default: [`Format::Color`] where that is a terminal, else
    /// [`Format::Json`].
    pub fn console(mut self, format: Format) -> Self {
        self.console = Console::As(format);
        self
    }

    /// Writes no lines to standard output.
    pub fn without_console(mut self) -> Self {
        self.console = Console::Off;
        self
    }

    /// Writes `combined.log` and, of level `error` alone, `error.log` into this directory, as [`Format::Json`]. The directory
    /// is created if it does not exist.
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
    /// only into regular files, so that users who may write to the directory cannot redirect the log.
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
    /// Lines that find no room are dropped and counted, see [`LogHandle::dropped`].
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// How long the log collects, waits and pauses. Default: [`TimingOptions::default`].
    pub fn timing(mut self, timing: TimingOptions) -> Self {
        self.timing = timing;
        self
    }

    /// Removes secrets from lines with this scrubber. Default: [`Scrubber::default`].
    pub fn scrubber(mut self, scrubber: Scrubber) -> Self {
        self.scrubber = Some(scrubber);
        self
    }

    /// Calls this with a sentence when an output cannot be written, and again when it can be written again. Called on the
    /// output's thread. Default: writes the sentence to standard error.
    pub fn on_trouble(mut self, report: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.report = Arc::new(report);
        self
    }

    /// Who reports panics, if [`init`](Self::init) sets up the log. Default: [`PanicHook::Log`].
    pub fn panic_hook(mut self, hook: PanicHook) -> Self {
        self.panic_hook = hook;
        self
    }

    /// An exchange that took longer than this is a `warn` line. Default: 1 second.
    ///
    /// Compared to the time to the last byte; for a stream of server-sent events, to the time to the response head.
    pub fn slow_after(mut self, duration: Duration) -> Self {
        self.rules.slow_after = duration;
        self
    }

    /// No exchange is slow.
    pub fn never_slow(mut self) -> Self {
        self.rules.slow_after = Duration::MAX;
        self
    }

    /// Writes this share of the `info` lines of exchanges, 0 to 1. Default: 1, all of them.
    ///
    /// Decided at random at the end of the exchange. Lines of exchanges that failed, were cancelled or slow, or that
    /// [`warn_on`](Self::warn_on) names, are always written. [`Log::sampled_out`] counts the lines that are left out.
    #[doc(alias = "keep")]
    #[doc(alias = "sampling")]
    pub fn sample_ratio(mut self, ratio: f64) -> Self {
        self.rules.sample_ratio = ratio;
        self
    }

    /// Makes the lines of responses with these statuses (400 to 499) `warn`. Default: none, a client's mistakes are `info`.
    pub fn warn_on(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.rules.warn_on.extend(statuses);
        self
    }

    /// Other options for one route, by its template (`/users/{id}`) or gRPC method (`pkg.Service/Method`), with an HTTP
    /// method before it (`GET /users/{id}`) or for all methods.
    pub fn route(mut self, route: impl Into<String>, options: RouteOptions) -> Self {
        self.rules.routes.push((route.into(), options));
        self
    }

    /// Hands the lines of exchanges that are written to outputs to `tracing` as well: for a layer that exports them.
    /// [`LogGuard::layer`] does not write them a second time.
    pub fn also_events(mut self) -> Self {
        self.also_events = true;
        self
    }

    /// Sets up the log of this process: starts the outputs, installs a `tracing` subscriber, and reports panics.
    ///
    /// Keep the guard in `main`: dropping it writes everything queued and ends the log.
    ///
    /// # Errors
    /// As [`build`](Self::build), and [`BuildError::is_taken`] when the process has a subscriber already.
    pub fn init(self) -> Result<LogGuard, BuildError> {
        let panic_hook = self.panic_hook;
        let guard = self.build()?;
        guard.install(Registry::default().with(guard.layer()))?;
        guard.report_panics(panic_hook);
        Ok(guard)
    }

    /// Makes an observer whose lines are `tracing` events, for the subscriber that the process has. Settings of outputs are
    /// not used.
    ///
    /// # Errors
    /// [`BuildError::is_ratio`] and [`BuildError::is_status`].
    pub fn build_events(self) -> Result<Log, BuildError> {
        let rules = self.rules.build()?;
        Ok(Log::with_rules(rules, self.scrubber.unwrap_or_default(), None, false))
    }

    /// Makes an observer that writes into the outputs of a log that is set up: for a second layer with other rules.
    /// Settings of outputs are not used. Without a scrubber, that of the log is used.
    ///
    /// # Errors
    /// [`BuildError::is_ratio`] and [`BuildError::is_status`].
    pub fn build_onto(self, handle: &LogHandle) -> Result<Log, BuildError> {
        let rules = self.rules.build()?;
        let scrubber = self.scrubber.unwrap_or_else(|| handle.shared().scrubber.clone());
        Ok(Log::with_rules(rules, scrubber, Some(handle.clone()), self.also_events))
    }

    /// Starts the outputs and installs no subscriber: add [`LogGuard::layer`] to that of the process.
    ///
    /// # Errors
    /// - [`BuildError::is_filter`] when the level or filter is invalid.
    /// - [`BuildError::is_directory`] when the directory cannot be created or written.
    /// - [`BuildError::is_ratio`] when a sample ratio is not within 0 to 1.
    /// - [`BuildError::is_status`] when a status to warn on is not within 400 to 499.
    pub fn build(self) -> Result<LogGuard, BuildError> {
        let rules = self.rules.build()?;
        let scrubber = self.scrubber.unwrap_or_default();
        let filter = Filter::parse(&self.filter, self.is_level)?;
        let mut planned = Vec::new();
        if let Some((directory, format)) = &self.directory {
            // First of all: here something can be wrong, and nothing is started yet.
            let access = FileAccess {
                lock_timeout: self.timing.lock_timeout,
                lock_pause: self.timing.lock_pause,
                ..self.access
            };
            for (stem, level) in STEMS.into_iter().zip([LevelFilter::TRACE, LevelFilter::ERROR]) {
                let report = Arc::clone(&self.report);
                let file = RollingFile::open(directory, stem, self.rotation.clone(), access, report);
                let file = file.map_err(|reason| BuildError::directory(directory, reason))?;
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
            scrubber: scrubber.clone(),
            levels: Arc::new(Levels::new(filter, self.longest_override)),
            closing: OnceLock::new(),
            stderr_timeout: self.timing.stderr_timeout,
        };
        for Planned { name, format, level, has_stamps, destination } in planned {
            if !shared.encoders.iter().any(|encoder| encoder.format() == format) {
                shared.encoders.push(Encoder::new(format, &self.service));
            }
            let queue = if has_stamps { Queue::with_stamps(self.queue_bytes) } else { Queue::new(self.queue_bytes) };
            let queue = Arc::new(queue.collect(self.timing.collect));
            let encoder = Encoder::new(format, &self.service);
            let scrubber = shared.scrubber.clone();
            let worker = Worker {
                name: name.clone(),
                queue: Arc::clone(&queue),
                destination,
                report: Arc::clone(&self.report),
                gap_line: Box::new(move |out, lost, now| gap_line(&encoder, &scrubber, out, lost, now)),
                timing: self.timing,
                trouble: None,
            };
            worker.spawn().map_err(BuildError::thread)?;
            shared.outputs.push(Output { name, format, level, queue });
        }
        let handle = LogHandle::new(shared);
        let log = Log::with_rules(rules, scrubber, Some(handle.clone()), self.also_events);
        Ok(LogGuard::new(handle, log, self.timing.drop_timeout))
    }
}

impl std::fmt::Debug for LogBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogBuilder")
            .field("service", &self.service)
            .field("filter", &self.filter)
            .field("directory", &self.directory)
            .field("rotation", &self.rotation)
            .field("queue_bytes", &self.queue_bytes)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Renders the line that stands where lines are missing, with their number.
fn gap_line(encoder: &Encoder, scrubber: &Scrubber, out: &mut Vec<u8>, lost: u64, now: Duration) {
    encoder.line(
        out,
        &Line {
            at: now,
            level: Level::WARN,
            target: Scrubbed::from_static("steeple::log"),
            message: Line::message(scrubber, &format!("{lost} log lines were dropped before this one")),
            context: None,
            span: None,
            is_access: false,
            fields: vec![Field::new(scrubber, "lines_lost", Value::Uint(lost))],
            stacktrace: None,
        },
    );
}
