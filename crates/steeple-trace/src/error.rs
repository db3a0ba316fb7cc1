use std::{error::Error, fmt};

use steeple_core::RouteError;
use steeple_scrub::Scrubber;

/// An error while tracing is set up. Retrying does not help: the configuration is wrong.
#[derive(Debug)]
pub struct BuildError {
    kind: Kind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug)]
enum Kind {
    Setting { name: String, value: String, expected: &'static str },
    Route,
    Exporter,
    Thread,
}

impl BuildError {
    pub(crate) fn setting(name: impl Into<String>, value: impl Into<String>, expected: &'static str) -> Self {
        // Where one variable was mistaken for another, the error must not contain a key.
        let value = Scrubber::default().text(&value.into()).cut(64, "…").to_string();
        Self { kind: Kind::Setting { name: name.into(), value, expected }, source: None }
    }

    pub(crate) fn route(error: RouteError) -> Self {
        Self { kind: Kind::Route, source: Some(error.into()) }
    }

    /// Names the variable, where several hold the same thing.
    pub(crate) fn of(mut self, variable: String) -> Self {
        if let Kind::Setting { name, .. } = &mut self.kind {
            *name = variable;
        }
        self
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn exporter(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Exporter, source: Some(source.into()) }
    }

    #[cfg(not(feature = "otlp"))]
    pub(crate) fn no_exporter() -> Self {
        Self { kind: Kind::Exporter, source: Some("built without the feature `otlp`".into()) }
    }

    /// Whether a setting has an invalid value.
    pub fn is_setting(&self) -> bool {
        matches!(self.kind, Kind::Setting { .. })
    }

    /// Whether the options of a route are invalid; the source has the route.
    pub fn is_route(&self) -> bool {
        matches!(self.kind, Kind::Route)
    }

    /// Whether the exporter could not be made: an invalid endpoint, or `https` without a feature for TLS.
    pub fn is_exporter(&self) -> bool {
        matches!(self.kind, Kind::Exporter)
    }
}

impl From<steeple_export::BuildError> for BuildError {
    fn from(error: steeple_export::BuildError) -> Self {
        let kind = if error.is_thread() { Kind::Thread } else { Kind::Exporter };
        Self { kind, source: Some(error.into()) }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Setting { name, value, expected } => {
                write!(f, "invalid {name} {value:?}: expected {expected}")
            }
            Kind::Route => f.write_str("invalid options for a route"),
            Kind::Exporter => f.write_str("could not make the exporter"),
            Kind::Thread => f.write_str("could not start the export thread"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
