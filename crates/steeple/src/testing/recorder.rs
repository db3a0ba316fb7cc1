//! A whole Steeple whose outputs are memory.

use std::{fmt, sync::Arc, time::Duration};

use tracing::dispatcher::{self, DefaultGuard};

use super::{
    Failure, Line,
    capture::{Memory, Recording},
    page,
};
use crate::{ConfigError, Steeple, SteepleBuilder, SteepleLayer};

/// A loaded machine may take its time; nothing waits this long unless something hangs.
const FLUSH: Duration = Duration::from_secs(60);

/// A [`Steeple`] that keeps in memory what a service logs, measures, traces, captures and tracks. See the
/// [module's docs](super).
///
/// It records what happens on the thread that made it, in exchanges and jobs of its [`steeple`](Self::steeple) on any thread,
/// and in what they spawn with [`Exchange::scope`](crate::Exchange::scope). What other threads log outside of all that is not
/// recorded. The lines of this thread go here until the recorder is dropped.
#[must_use = "a recorder records until it is dropped"]
pub struct Recorder {
    steeple: Steeple,
    recording: Recording,
    /// Bound to the thread, so that a recorder cannot be sent to another one.
    _lines_of_this_thread: Option<DefaultGuard>,
}

impl Recorder {
    /// Records with the defaults of [`Steeple::builder`]. The environment is not read.
    ///
    /// # Panics
    /// When a thread for the log cannot be started.
    #[track_caller]
    #[expect(
        clippy::new_without_default,
        clippy::panic,
        reason = "it starts threads, and a test has no use for an error"
    )]
    pub fn new() -> Self {
        Self::with(|builder| builder).unwrap_or_else(|error| panic!("a recorder with the defaults: {error}"))
    }

    /// Records with the options of the service: naming rules, users, metrics, the level of the log.
    ///
    /// Spans and events are recorded, whether or not the options have a receiver for them; spans are not sent anywhere else.
    /// Process-wide state stays as it is: the subscriber, the panic hook, and the families of `prometheus`'s default
    /// registry, which are not shown.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// use steeple::testing::Recorder;
    ///
    /// let recorder = Recorder::with(|builder| builder.log_level("debug").service_name("shop"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`SteepleBuilder::build`].
    pub fn with(change: impl FnOnce(SteepleBuilder) -> SteepleBuilder) -> Result<Self, ConfigError> {
        let recording = Recording::default();
        let builder = change(Steeple::builder().without_default_registry().flush_timeout(FLUSH));
        let steeple = builder.record(recording.clone()).build()?;
        let guard = recording.dispatch().map(dispatcher::set_default);
        Ok(Self { steeple, recording, _lines_of_this_thread: guard })
    }

    /// The recording Steeple: for the function that builds the service.
    pub fn steeple(&self) -> &Steeple {
        &self.steeple
    }

    /// The recording layer: [`Steeple::layer`].
    pub fn layer(&self) -> SteepleLayer {
        self.steeple.layer()
    }

    /// All lines so far, in their order: those of exchanges and jobs, and those that the code logs.
    pub fn lines(&self) -> Vec<Line> {
        self.settled().lines()
    }

    /// The line of the one exchange or job of this name, such as `GET /users/{id}` or `nightly import`.
    ///
    /// # Panics
    /// Without such a line, or with more than one. The message lists the names of all.
    #[track_caller]
    #[expect(clippy::panic, reason = "it is an assertion")]
    pub fn line(&self, name: &str) -> Line {
        let mut lines = self.lines();
        lines.retain(Line::is_end);
        let names: Vec<_> = lines.iter().map(|line| line.name().unwrap_or_default().to_owned()).collect();
        lines.retain(|line| line.name() == Some(name));
        match lines.pop() {
            Some(line) if lines.is_empty() => line,
            Some(_) => panic!("{} lines have the name {name:?}", lines.len().saturating_add(1)),
            None => panic!("no line has the name {name:?}, there are {names:?}"),
        }
    }

    /// The value of a series as `/metrics` shows it, by the name there: `http_request_duration_seconds_count`. Where the labels
    /// fit several series, their sum. `None`: no such series.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let page = self.steeple.metrics().render(None, None);
        page::sum(&String::from_utf8_lossy(&page.body), name, labels)
    }

    /// What failed: every error that was recorded, and every exchange or job that failed without one, once.
    pub fn errors(&self) -> Vec<Failure> {
        self.recording.failures()
    }

    /// Forgets lines, spans, errors and events so far. Metrics keep counting; a new recorder begins at 0.
    pub fn clear(&self) {
        self.settled().clear();
    }

    /// The recording, once everything that happened so far is in it.
    fn settled(&self) -> &Recording {
        let _report = self.steeple.flush();
        &self.recording
    }

    /// The recording of an integration, once everything that happened so far is in it.
    #[expect(clippy::allow_attributes, reason = "whether it is used depends on the features")]
    #[allow(dead_code, reason = "integrations use it")]
    pub(crate) fn memory<M: Memory + Default>(&self) -> Arc<M> {
        self.settled().memory()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("steeple", &self.steeple).finish_non_exhaustive()
    }
}
