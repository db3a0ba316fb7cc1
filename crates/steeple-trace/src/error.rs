use std::{error::Error, fmt};

/// Tracing could not be set up. Retrying does not help: the configuration is wrong.
#[derive(Debug)]
pub struct BuildError {
    kind: Kind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug)]
enum Kind {
    Setting { name: String, value: String, expected: &'static str },
    Exporter,
    Thread,
}

impl BuildError {
    pub(crate) fn setting(name: impl Into<String>, value: impl Into<String>, expected: &'static str) -> Self {
        let mut value = value.into();
        value.truncate(steeple_core::text::cut(&value, 64).len());
        Self { kind: Kind::Setting { name: name.into(), value, expected }, source: None }
    }

    /// Says which variable it was, where several hold the same thing.
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

    pub(crate) fn thread(source: std::io::Error) -> Self {
        Self { kind: Kind::Thread, source: Some(source.into()) }
    }

    /// A setting has a value that means nothing.
    pub fn is_setting(&self) -> bool {
        matches!(self.kind, Kind::Setting { .. })
    }

    /// The exporter could not be made: an endpoint that is none, or TLS without the feature for it.
    pub fn is_exporter(&self) -> bool {
        matches!(self.kind, Kind::Exporter)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Setting { name, value, expected } => {
                write!(f, "{name} holds {value:?}; it may hold {expected}")
            }
            Kind::Exporter => f.write_str("the exporter could not be made"),
            Kind::Thread => f.write_str("the thread that exports could not be started"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
