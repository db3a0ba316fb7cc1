use std::{error::Error, fmt};

type Source = Box<dyn Error + Send + Sync>;

/// A setting that cannot be used. Names it, and says what it holds and what it may hold.
///
/// `Debug` writes what `Display` does, with the sources after it: it is what a `main` that returns the error prints.
pub struct ConfigError {
    kind: Kind,
    source: Option<Source>,
}

enum Kind {
    Variable { name: &'static str, value: String, expected: &'static str },
    Part { what: &'static str },
}

impl ConfigError {
    pub(crate) fn variable_value(name: &'static str, value: impl Into<String>, expected: &'static str) -> Self {
        Self { kind: Kind::Variable { name, value: value.into(), expected }, source: None }
    }

    pub(crate) fn part(what: &'static str, source: impl Into<Source>) -> Self {
        Self { kind: Kind::Part { what }, source: Some(source.into()) }
    }

    pub(crate) fn because(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The environment variable whose value is unusable, if it was one.
    pub fn variable(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Variable { name, .. } => Some(name),
            Kind::Part { .. } => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Variable { name, value, expected } => write!(f, "{name} holds {value:?}; it may hold {expected}"),
            Kind::Part { what } => write!(f, "cannot set up {what}"),
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
