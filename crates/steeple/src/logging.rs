//! Sets up the log of the process, and says of a setting that it cannot be used.

use std::path::PathBuf;

use steeple_log::{Format, InitError, LogGuard, Logging, Rotation};
use steeple_metrics::Metrics;
use steeple_scrub::Scrubber;
#[cfg(feature = "sqlx")]
use tracing_subscriber::filter::Targets;
#[cfg(any(feature = "sqlx", feature = "trace"))]
use tracing_subscriber::{Layer, filter::LevelFilter};
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::{
    ConfigError,
    env::{self, Lookup, Service},
    integration::Traces,
};

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
    /// The variable that said so.
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
    pub(crate) fn from_lookup(env: &impl Lookup) -> Result<Self, ConfigError> {
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

    /// `None`: the log is not wanted, or the process logs in its own way already and keeps it.
    #[cfg_attr(not(feature = "trace"), expect(clippy::trivially_copy_pass_by_ref, reason = "with traces it is none"))]
    pub(crate) fn set_up(
        self,
        service: &Service,
        scrubber: &Scrubber,
        traces: &Traces,
        metrics: &Metrics,
    ) -> Result<Option<LogGuard>, ConfigError> {
        if !self.is_on {
            return Ok(None);
        }
        let guard = self.logging(service).scrubber(scrubber.clone()).build().map_err(|error| self.refusal(error))?;
        let subscriber = Registry::default().with(guard.layer());
        #[cfg(feature = "trace")]
        let subscriber = {
            let filter = self.level.as_ref().map_or("info", |level| &level.text);
            // Below `info` are the inner spans of h2 and its like: no exchange's, with frames for attributes.
            // The filter is there without the layer too: a layer that is `None` and has no filter keeps the others from
            // refusing, and every span of every library is made. That made a request over HTTP/2 three times as dear.
            let level = if traces.is_some() { LevelFilter::INFO } else { LevelFilter::OFF };
            let spans = traces.as_ref().map(steeple_trace::Trace::tracing_layer).with_filter(level);
            subscriber.with(spans).with(crate::integration::logs_layer(traces.as_ref(), filter))
        };
        #[cfg(not(feature = "trace"))]
        let () = traces;
        #[cfg(feature = "sqlx")]
        let subscriber = {
            // By a filter of its own: the statements are timed whatever the log's level is.
            let statements = Targets::new().with_target("sqlx::query", LevelFilter::TRACE);
            subscriber.with(metrics.sqlx_layer().with_filter(statements))
        };
        #[cfg(not(feature = "sqlx"))]
        let _ = metrics;
        // Where the process has a subscriber, exchanges' lines go through that.
        Ok(guard.install(subscriber).is_ok().then_some(guard))
    }

    fn logging(&self, service: &Service) -> Logging {
        let mut logging = Logging::new().rotation(self.rotation.clone());
        if let Some(name) = &service.name {
            logging = logging.service_name(name);
        }
        if let Some(version) = &service.version {
            logging = logging.service_version(version);
        }
        if let Some(environment) = &service.environment {
            logging = logging.environment(environment);
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
    fn refusal(&self, error: InitError) -> ConfigError {
        let variable = if error.is_filter() {
            self.level.as_ref().and_then(|level| level.from)
        } else if error.is_directory() {
            self.directory_from
        } else {
            None
        };
        match variable {
            Some(name) => ConfigError::refused(name, error),
            None => ConfigError::part("the log", error),
        }
    }
}
