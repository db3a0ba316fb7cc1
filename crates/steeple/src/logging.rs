//! Sets up the log of the process.

use std::path::PathBuf;

use steeple_log::{BuildError, Format, Log, LogBuilder, LogGuard, Rotation};
use steeple_metrics::Metrics;
use steeple_scrub::Scrubber;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::{
    ConfigError,
    env::{self, Lookup, Service},
    integrations::{LogOutputs, Running},
    testing::Recording,
};

/// The log as it was set up, or left alone.
pub(crate) struct SetUp {
    /// `None`: the process's log is not Steeple's.
    pub(crate) guard: Option<LogGuard>,
    /// Whether the process has a subscriber that is not Steeple's.
    pub(crate) is_left_alone: bool,
    /// For the start summary.
    pub(crate) summary: String,
    /// Settings without effect.
    pub(crate) warnings: Vec<String>,
}

/// Whether events of this thread go anywhere. Asked before files are opened that would stay empty.
fn has_subscriber() -> bool {
    tracing::dispatcher::get_default(|current| !current.is::<NoSubscriber>())
}

/// What the log of the process is to be.
#[derive(Debug)]
pub(crate) struct LogSetup {
    pub(crate) is_on: bool,
    pub(crate) level: Option<Level>,
    /// Of the console, and of the files if it is ECS. `None`: pretty on a terminal, else JSON.
    pub(crate) format: Option<Format>,
    pub(crate) console: bool,
    directory: Option<PathBuf>,
    /// The variable that named the directory.
    directory_from: Option<&'static str>,
    pub(crate) rotation: Rotation,
}

/// Which lines are written.
#[derive(Debug)]
pub(crate) struct Level {
    text: String,
    /// With the wide syntax of `RUST_LOG`.
    is_filter: bool,
    /// The variable that set it.
    from: Option<&'static str>,
}

impl Level {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_filter: false, from: None }
    }
}

impl Default for LogSetup {
    fn default() -> Self {
        Self {
            is_on: true,
            level: None,
            format: None,
            console: true,
            directory: None,
            directory_from: None,
            rotation: Rotation::default(),
        }
    }
}

impl LogSetup {
    pub(crate) fn from_lookup(env: &dyn Lookup) -> Result<Self, ConfigError> {
        const DIRECTORY: &str = "LOG_DIR";
        let level = env.first(&["LOG_LEVEL", "RUST_LOG"])?;
        Ok(Self {
            level: level.map(|(name, text)| Level { text, is_filter: name == "RUST_LOG", from: Some(name) }),
            format: env::log_format(env)?,
            directory: env.text(DIRECTORY)?.map(PathBuf::from),
            directory_from: Some(DIRECTORY),
            ..Self::default()
        })
    }

    pub(crate) fn set_directory(&mut self, directory: impl Into<PathBuf>) {
        (self.directory, self.directory_from) = (Some(directory.into()), None);
    }

    /// Sets the log up, unless it is not wanted or the process has a subscriber already.
    pub(crate) fn set_up(
        self,
        service: &Service,
        scrubber: &Scrubber,
        running: &Running,
        metrics: &Metrics,
        outputs: Vec<LogOutputs>,
        recording: Option<&Recording>,
    ) -> Result<SetUp, ConfigError> {
        let variables: Vec<_> = outputs.iter().map(|output| output.variable).collect();
        if recording.is_none() && (!self.is_on || has_subscriber()) {
            return Ok(self.left_alone(&variables));
        }
        let mut logging = outputs.into_iter().fold(self.logging(service), |log, output| (output.add)(log));
        if let Some(recording) = recording {
            logging = logging.without_console().writer(recording.writer(), Format::Json);
        }
        let guard = logging.scrubber(scrubber.clone()).build().map_err(|error| self.refusal(&error))?;
        let filter = self.level.as_ref().map_or("info", |level| &level.text);
        let subscriber = running.subscribe(Registry::default().with(guard.layer()), filter);
        #[cfg(feature = "sqlx")]
        let subscriber = {
            use tracing_subscriber::{
                Layer,
                filter::{LevelFilter, Targets},
            };
            // With a filter that is not the log's: the statements are timed whatever the log's level is.
            let statements = Targets::new().with_target("sqlx::query", LevelFilter::TRACE);
            subscriber.with(metrics.sqlx_layer().with_filter(statements))
        };
        let _ = metrics;
        if let Some(recording) = recording {
            recording.set_dispatch(tracing::Dispatch::new(subscriber));
        } else if guard.install(subscriber).is_err() {
            return Ok(self.left_alone(&variables));
        }
        Ok(SetUp { guard: Some(guard), is_left_alone: false, summary: self.summary(), warnings: Vec::new() })
    }

    /// Settings that have no effect without Steeple's subscriber are warnings.
    fn left_alone(&self, outputs: &[&'static str]) -> SetUp {
        let level = self.level.as_ref().and_then(|level| level.from);
        let format = self.format.map(|_| env::LOG_FORMAT);
        let directory = self.directory.as_ref().and(self.directory_from);
        let warning = |variable| {
            format!(
                "{variable} has no effect: the process has a `tracing` subscriber, and Steeple does not set up the log"
            )
        };
        let settings = [level, format, directory].into_iter().flatten().chain(outputs.iter().copied());
        let warnings = settings.map(warning).collect();
        SetUp {
            guard: None,
            is_left_alone: has_subscriber(),
            summary: "not set up by Steeple, events go to the process's subscriber".to_owned(),
            warnings,
        }
    }

    fn summary(&self) -> String {
        let level = self.level.as_ref().map_or("info", |level| &level.text);
        let mut summary = format!("Steeple's subscriber, level {level}");
        if self.console {
            summary.push_str(", standard output");
        }
        if let Some(directory) = &self.directory {
            summary.push_str(", ");
            summary.push_str(&directory.join("{combined,error}.log").to_string_lossy());
        }
        summary
    }

    fn logging(&self, service: &Service) -> LogBuilder {
        let mut logging = Log::builder().rotation(self.rotation.clone());
        if let Some(name) = &service.name {
            logging = logging.service_name(name);
        }
        if let Some(version) = &service.version {
            logging = logging.service_version(version);
        }
        if let Some(environment) = &service.environment {
            logging = logging.environment(environment);
        }
        if let Some(region) = &service.region {
            logging = logging.region(region);
        }
        if let Some(level) = &self.level {
            logging = if level.is_filter { logging.filter(&level.text) } else { logging.level(&level.text) };
        }
        if !self.console {
            logging = logging.without_console();
        } else if let Some(format) = self.format {
            logging = logging.console(format);
        }
        if let Some(directory) = &self.directory {
            let format = self.format.filter(|format| *format == Format::Ecs).unwrap_or(Format::Json);
            logging = logging.directory_as(directory, format);
        }
        logging
    }

    /// The error, with the variable that has led to it.
    fn refusal(&self, error: &BuildError) -> ConfigError {
        let variable = if error.is_filter() {
            self.level.as_ref().and_then(|level| level.from)
        } else if error.is_directory() {
            self.directory_from
        } else {
            None
        };
        match variable {
            Some(name) => ConfigError::rejected(name, error),
            None => ConfigError::part("the log", error),
        }
    }
}
