use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use steeple_core::RouteError;
use tracing::subscriber::SetGlobalDefaultError;

/// The log cannot be built.
#[derive(Debug)]
pub struct BuildError(Kind);

#[derive(Debug)]
enum Kind {
    Directory {
        directory: PathBuf,
        reason: io::Error,
    },
    Filter {
        text: String,
        reason: String,
    },
    #[cfg_attr(not(feature = "elasticsearch"), expect(dead_code, reason = "outputs to servers are features"))]
    Output {
        output: &'static str,
        reason: Box<dyn Error + Send + Sync>,
    },
    #[cfg_attr(not(feature = "elasticsearch"), expect(dead_code, reason = "outputs to servers are features"))]
    Spool(Box<dyn Error + Send + Sync>),
    Ratio(f64),
    Status(u16),
    Route(RouteError),
    Thread(io::Error),
    Taken(SetGlobalDefaultError),
}

impl BuildError {
    pub(crate) fn directory(directory: &Path, reason: io::Error) -> Self {
        Self(Kind::Directory { directory: directory.to_owned(), reason })
    }

    pub(crate) fn filter(text: &str, reason: impl Into<String>) -> Self {
        Self(Kind::Filter { text: text.to_owned(), reason: reason.into() })
    }

    #[cfg(feature = "elasticsearch")]
    pub(crate) fn output(output: &'static str, reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Kind::Output { output, reason: reason.into() })
    }

    #[cfg(feature = "elasticsearch")]
    pub(crate) fn spool(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Kind::Spool(reason.into()))
    }

    pub(crate) fn ratio(ratio: f64) -> Self {
        Self(Kind::Ratio(ratio))
    }

    pub(crate) fn status(status: u16) -> Self {
        Self(Kind::Status(status))
    }

    pub(crate) fn route(error: RouteError) -> Self {
        Self(Kind::Route(error))
    }

    pub(crate) fn thread(reason: io::Error) -> Self {
        Self(Kind::Thread(reason))
    }

    pub(crate) fn taken(reason: SetGlobalDefaultError) -> Self {
        Self(Kind::Taken(reason))
    }

    /// The log directory cannot be created or written. Use another directory, or allow the process to write to this one.
    pub fn is_directory(&self) -> bool {
        matches!(self.0, Kind::Directory { .. })
    }

    /// The level or filter is invalid. Retrying does not help.
    pub fn is_filter(&self) -> bool {
        matches!(self.0, Kind::Filter { .. })
    }

    /// An output to a server cannot be built as configured.
    pub fn is_output(&self) -> bool {
        matches!(self.0, Kind::Output { .. })
    }

    /// Lines cannot be kept on disk, in the directory that the source names.
    pub fn is_spool(&self) -> bool {
        matches!(self.0, Kind::Spool(_))
    }

    /// A sample ratio is not within 0 to 1. Retrying does not help.
    pub fn is_ratio(&self) -> bool {
        matches!(self.0, Kind::Ratio(_)) || matches!(&self.0, Kind::Route(error) if error.is_ratio())
    }

    /// A status to warn on is not within 400 to 499. Retrying does not help.
    pub fn is_status(&self) -> bool {
        matches!(self.0, Kind::Status(_)) || matches!(&self.0, Kind::Route(error) if error.is_status())
    }

    /// The process has a `tracing` subscriber already. Use [`LogBuilder::build`](crate::LogBuilder::build) and add the
    /// guard's layer to that subscriber.
    pub fn is_taken(&self) -> bool {
        matches!(self.0, Kind::Taken(_))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Directory { directory, reason } => {
                // The reason is one level with this: "cannot write" alone does not help.
                write!(f, "cannot write logs to the directory {}: {reason}", directory.display())
            }
            Kind::Filter { text, reason } => write!(
                f,
                "invalid log level {text:?}: {reason}; use off, error, warn, info, debug or trace, \
                 with exceptions by target: info,hyper=warn"
            ),
            Kind::Output { output, .. } => write!(f, "cannot build the log's output to {output}"),
            Kind::Spool(_) => f.write_str("cannot keep lines on disk"),
            Kind::Ratio(ratio) => write!(f, "invalid sample ratio {ratio}: use 0 to 1"),
            Kind::Status(status) => write!(f, "invalid status to warn on {status}: use 400 to 499"),
            Kind::Route(error) => error.fmt(f),
            Kind::Thread(_) => f.write_str("cannot start the thread that writes the log"),
            Kind::Taken(_) => f.write_str("the process has a tracing subscriber already"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            // The directory's reason is in the message.
            Kind::Directory { .. } | Kind::Filter { .. } | Kind::Ratio(_) | Kind::Status(_) => None,
            Kind::Output { reason, .. } | Kind::Spool(reason) => Some(&**reason),
            Kind::Route(error) => error.source(),
            Kind::Thread(reason) => Some(reason),
            Kind::Taken(reason) => Some(reason),
        }
    }
}
