use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use tracing::subscriber::SetGlobalDefaultError;

/// The log cannot be set up.
#[derive(Debug)]
pub struct InitError(Kind);

#[derive(Debug)]
enum Kind {
    Directory { directory: PathBuf, reason: io::Error },
    Filter { text: String, reason: String },
    Thread(io::Error),
    Taken(SetGlobalDefaultError),
}

impl InitError {
    pub(crate) fn directory(directory: &Path, reason: io::Error) -> Self {
        Self(Kind::Directory { directory: directory.to_owned(), reason })
    }

    pub(crate) fn filter(text: &str, reason: impl Into<String>) -> Self {
        Self(Kind::Filter { text: text.to_owned(), reason: reason.into() })
    }

    pub(crate) fn thread(reason: io::Error) -> Self {
        Self(Kind::Thread(reason))
    }

    pub(crate) fn taken(reason: SetGlobalDefaultError) -> Self {
        Self(Kind::Taken(reason))
    }

    /// The log directory cannot be made or written. Helps: another directory, or the right to write to this one.
    pub fn is_directory(&self) -> bool {
        matches!(self.0, Kind::Directory { .. })
    }

    /// The level or filter is none. Retrying does not help: the configuration is wrong.
    pub fn is_filter(&self) -> bool {
        matches!(self.0, Kind::Filter { .. })
    }

    /// The process has a `tracing` subscriber already. Helps: [`Logging::build`](crate::Logging::build) and its layer.
    pub fn is_taken(&self) -> bool {
        matches!(self.0, Kind::Taken(_))
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Directory { directory, reason } => {
                // The reason is one level with this: "cannot write" alone helps nobody.
                write!(f, "cannot write logs to the directory {}: {reason}", directory.display())
            }
            Kind::Filter { text, reason } => write!(
                f,
                "the log level is {text:?}: {reason}; it may be off, error, warn, info, debug or trace, \
                 with exceptions by target: info,hyper=warn"
            ),
            Kind::Thread(_) => f.write_str("cannot start a thread that writes the log"),
            Kind::Taken(_) => f.write_str("the process has a tracing subscriber already"),
        }
    }
}

impl Error for InitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            // The directory's reason is in the message.
            Kind::Directory { .. } | Kind::Filter { .. } => None,
            Kind::Thread(reason) => Some(reason),
            Kind::Taken(reason) => Some(reason),
        }
    }
}
