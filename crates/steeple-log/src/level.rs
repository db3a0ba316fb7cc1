//! Which lines are written at this moment: the filter of the log, or for a while another one.

use std::{
    error::Error,
    fmt, io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use steeple_core::clock;
use steeple_scrub::{Scrubbed, Scrubber};
use tracing::{
    Dispatch, Level, Metadata, Subscriber,
    level_filters::LevelFilter,
    span,
    subscriber::{Interest, NoSubscriber},
};
use tracing_subscriber::{filter::EnvFilter, layer};

use crate::{
    BuildError, LogHandle,
    encode::{Field, Line, Value},
    filter::Filter,
};

/// The longest directives of an override, in bytes.
const MAX_DIRECTIVES: usize = 1_024;

/// Which lines of a log are written, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel {
    configured: String,
    current: Option<(String, Duration, Duration)>,
}

impl LogLevel {
    /// The filter in force: a level, or a level with exceptions by target (`info,hyper=warn`).
    pub fn directives(&self) -> &str {
        self.current.as_ref().map_or(&*self.configured, |(directives, ..)| directives)
    }

    /// The level that the log was set up with, and has again after an override.
    pub fn configured(&self) -> &str {
        &self.configured
    }

    /// Whether it is overridden.
    pub fn is_overridden(&self) -> bool {
        self.current.is_some()
    }

    /// When the override ends, since the Unix epoch. `None` without an override.
    pub fn until(&self) -> Option<Duration> {
        self.current.as_ref().map(|(_, until, _)| *until)
    }

    /// How long the override still lasts. `None` without an override.
    pub fn remaining(&self) -> Option<Duration> {
        self.current.as_ref().map(|(.., remaining)| *remaining)
    }
}

/// The level of the log cannot be overridden.
#[derive(Debug)]
pub struct OverrideError(Kind);

#[derive(Debug)]
enum Kind {
    Filter(BuildError),
    TooLong,
    Duration { wanted: Duration, longest: Duration },
    Thread(io::Error),
    Closed,
}

impl OverrideError {
    /// The directives are invalid. Retrying does not help.
    pub fn is_filter(&self) -> bool {
        matches!(self.0, Kind::Filter(_) | Kind::TooLong)
    }

    /// The duration is zero, or longer than
    /// [`LogBuilder::longest_override`](crate::LogBuilder::longest_override) allows.
    pub fn is_duration(&self) -> bool {
        matches!(self.0, Kind::Duration { .. })
    }

    /// The log was shut down.
    pub fn is_closed(&self) -> bool {
        matches!(self.0, Kind::Closed)
    }
}

impl fmt::Display for OverrideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Filter(error) => error.fmt(f),
            Kind::TooLong => write!(f, "invalid log level: it is longer than {MAX_DIRECTIVES} bytes"),
            Kind::Duration { wanted, longest } => {
                write!(f, "invalid duration {wanted:?} for a log level: use more than 0 and at most {longest:?}")
            }
            Kind::Thread(_) => f.write_str("cannot start the thread that ends the override of the log level"),
            Kind::Closed => f.write_str("the log was shut down"),
        }
    }
}

impl Error for OverrideError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Thread(reason) => Some(reason),
            Kind::Filter(_) | Kind::TooLong | Kind::Duration { .. } | Kind::Closed => None,
        }
    }
}

/// The filter of a log and what overrides it.
///
/// Without an override, a line costs one load more than with the filter alone.
pub(crate) struct Levels {
    configured: Filter,
    longest: Duration,
    /// What passes of exchanges' own lines, as in [`access_index`].
    access_allows: [AtomicBool; 3],
    is_overridden: AtomicBool,
    current: RwLock<Option<Arc<EnvFilter>>>,
    state: Mutex<State>,
    changed: Condvar,
    overrides: AtomicU64,
    /// Whether records of the `log` crate come through our logger.
    #[cfg(feature = "log-records")]
    has_logger: AtomicBool,
}

#[derive(Default)]
struct State {
    current: Option<Override>,
    has_thread: bool,
    closed: bool,
}

struct Override {
    directives: String,
    ends: Instant,
    until: Duration,
}

const fn access_index(level: Level) -> usize {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        _ => 2,
    }
}

impl Levels {
    pub(crate) fn new(configured: Filter, longest: Duration) -> Self {
        let levels = Self {
            access_allows: [const { AtomicBool::new(false) }; 3],
            is_overridden: AtomicBool::new(false),
            current: RwLock::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            overrides: AtomicU64::new(0),
            #[cfg(feature = "log-records")]
            has_logger: AtomicBool::new(false),
            longest,
            configured,
        };
        levels.allow_access(levels.configured.access_level());
        levels
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allow_access(&self, most: LevelFilter) {
        for level in [Level::ERROR, Level::WARN, Level::INFO] {
            if let Some(allows) = self.access_allows.get(access_index(level)) {
                allows.store(level <= most, Ordering::Relaxed);
            }
        }
    }

    /// Whether exchanges' own lines of this level are written.
    pub(crate) fn wants_access(&self, level: Level) -> bool {
        self.access_allows.get(access_index(level)).is_some_and(|allows| allows.load(Ordering::Relaxed))
    }

    /// Overrides there have been.
    pub(crate) fn overrides(&self) -> u64 {
        self.overrides.load(Ordering::Relaxed)
    }

    #[cfg(feature = "log-records")]
    pub(crate) fn set_logger(&self) {
        self.has_logger.store(true, Ordering::Relaxed);
    }

    /// The filter of a layer.
    pub(crate) fn to_filter(self: &Arc<Self>) -> LevelSwitch {
        LevelSwitch { configured: self.configured.to_env_filter(), levels: Arc::clone(self) }
    }

    fn current(&self) -> Option<Arc<EnvFilter>> {
        if !self.is_overridden.load(Ordering::Relaxed) {
            return None;
        }
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn get(&self) -> LogLevel {
        let state = self.state();
        let now = clock::now();
        let current = state
            .current
            .as_ref()
            .map(|current| (current.directives.clone(), current.until, current.ends.saturating_duration_since(now)));
        LogLevel { configured: self.configured.as_str().to_owned(), current }
    }

    pub(crate) fn set(
        self: &Arc<Self>,
        handle: &LogHandle,
        directives: &str,
        duration: Duration,
    ) -> Result<LogLevel, OverrideError> {
        if directives.len() > MAX_DIRECTIVES {
            return Err(OverrideError(Kind::TooLong));
        }
        let filter = Filter::parse(directives, true).map_err(|error| OverrideError(Kind::Filter(error)))?;
        let ends = clock::now().checked_add(duration).filter(|_| !duration.is_zero() && duration <= self.longest);
        let ends = ends.ok_or(OverrideError(Kind::Duration { wanted: duration, longest: self.longest }))?;
        let mut state = self.state();
        if state.closed {
            return Err(OverrideError(Kind::Closed));
        }
        if !state.has_thread {
            let (levels, handle) = (Arc::clone(self), handle.clone());
            let thread = thread::Builder::new().name("log level".to_owned());
            thread.spawn(move || levels.end_in_time(&handle)).map_err(|error| OverrideError(Kind::Thread(error)))?;
            state.has_thread = true;
        }
        let until = clock::unix_now().saturating_add(duration);
        state.current = Some(Override { directives: filter.as_str().to_owned(), ends, until });
        self.overrides.fetch_add(1, Ordering::Relaxed);
        self.apply(Some(&filter));
        let configured = self.configured.as_str();
        let seconds = Field::new(&handle.shared().scrubber, "seconds", Value::Uint(duration.as_secs()));
        show(handle, filter.as_str(), &format!("for {duration:?}, then {configured} again"), vec![seconds]);
        drop(state);
        self.changed.notify_all();
        Ok(self.get())
    }

    /// Returns whether there was an override.
    pub(crate) fn clear(&self, handle: &LogHandle) -> bool {
        let mut state = self.state();
        let was_overridden = state.current.take().is_some();
        if was_overridden {
            self.apply(None);
            show(handle, self.configured.as_str(), "again", Vec::new());
        }
        drop(state);
        self.changed.notify_all();
        was_overridden
    }

    /// The log ends: nothing is overridden any more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Ends the override when its time has come, on a thread that is there as long as there is one.
    fn end_in_time(&self, handle: &LogHandle) {
        let mut state = self.state();
        loop {
            let Some(current) = state.current.as_ref().filter(|_| !state.closed) else {
                state.has_thread = false;
                return;
            };
            let left = current.ends.saturating_duration_since(clock::now());
            if left.is_zero() {
                state.current = None;
                self.apply(None);
                show(handle, self.configured.as_str(), "again", Vec::new());
            } else {
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Puts a filter in force, in every place that has remembered what the last one lets through.
    fn apply(&self, filter: Option<&Filter>) {
        let access = filter.unwrap_or(&self.configured).access_level();
        let current = filter.map(|filter| Arc::new(filter.to_env_filter()));
        self.is_overridden.store(current.is_some(), Ordering::Relaxed);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = current;
        self.allow_access(access);
        forget_interests();
        #[cfg(feature = "log-records")]
        if self.has_logger.load(Ordering::Relaxed) {
            use tracing_log::AsLog;
            tracing_log::log::set_max_level(LevelFilter::current().as_log());
        }
    }
}

/// Has every subscriber asked anew which callsites it wants.
fn forget_interests() {
    // With a single dispatcher, `tracing` asks the one of this thread, and this thread may have none: then no line of any thread
    // would be written. With two, it asks all there are.
    drop(Dispatch::new(NoSubscriber::default()));
    tracing::callsite::rebuild_interest_cache();
}

/// Writes a line about the level, whatever the level is.
fn show(handle: &LogHandle, directives: &str, how: &str, mut fields: Vec<Field<'static>>) {
    let scrubber: &Scrubber = &handle.shared().scrubber;
    fields.push(Field::new(scrubber, "log_level", Value::Text(directives.to_owned().into())));
    handle.write_line(&Line {
        at: clock::unix_now(),
        level: Level::INFO,
        target: Scrubbed::from_static("steeple::log"),
        message: Line::message(scrubber, &format!("the log level is {directives} {how}")),
        context: None,
        span: None,
        is_access: false,
        fields,
        stacktrace: None,
    });
}

/// The filter of a layer: that of the log, or what overrides it.
pub(crate) struct LevelSwitch {
    configured: EnvFilter,
    levels: Arc<Levels>,
}

impl LevelSwitch {
    /// Both know the spans, so that either can judge by them.
    fn both<S>(&self, call: impl Fn(&dyn layer::Filter<S>)) {
        call(&self.configured);
        if let Some(current) = self.levels.current() {
            call(&*current);
        }
    }
}

impl<S: Subscriber> layer::Filter<S> for LevelSwitch {
    fn enabled(&self, metadata: &Metadata<'_>, context: &layer::Context<'_, S>) -> bool {
        match self.levels.current() {
            Some(current) => layer::Filter::enabled(&*current, metadata, context),
            None => layer::Filter::enabled(&self.configured, metadata, context),
        }
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // It remembers the spans that it judges by.
        let configured = layer::Filter::<S>::callsite_enabled(&self.configured, metadata);
        match self.levels.current() {
            Some(current) => layer::Filter::<S>::callsite_enabled(&*current, metadata),
            None => configured,
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        match self.levels.current() {
            Some(current) => layer::Filter::<S>::max_level_hint(&*current),
            None => layer::Filter::<S>::max_level_hint(&self.configured),
        }
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: layer::Context<'_, S>) {
        self.both::<S>(|filter| filter.on_new_span(attributes, id, context.clone()));
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: layer::Context<'_, S>) {
        self.both::<S>(|filter| filter.on_record(id, values, context.clone()));
    }

    fn on_enter(&self, id: &span::Id, context: layer::Context<'_, S>) {
        self.both::<S>(|filter| filter.on_enter(id, context.clone()));
    }

    fn on_exit(&self, id: &span::Id, context: layer::Context<'_, S>) {
        self.both::<S>(|filter| filter.on_exit(id, context.clone()));
    }

    fn on_close(&self, id: span::Id, context: layer::Context<'_, S>) {
        self.both::<S>(|filter| filter.on_close(id.clone(), context.clone()));
    }
}
