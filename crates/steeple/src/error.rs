use std::{error::Error, fmt};

type Source = Box<dyn Error + Send + Sync>;

/// A setting that cannot be used. Names it, and says what it holds and what it may hold.
///
/// `Debug` writes what `Display` does, with the sources after it: it is what a `main` that returns the error prints.
pub struct ConfigError(Kind);

enum Kind {
    Variable {
        name: &'static str,
        value: String,
        expected: &'static str,
    },
    /// The part that reads the variable says already what it holds and what it may hold.
    Refused {
        name: &'static str,
        by: Source,
    },
    Part {
        what: &'static str,
        source: Source,
    },
}

impl ConfigError {
    pub(crate) fn variable_value(name: &'static str, value: impl Into<String>, expected: &'static str) -> Self {
        Self(Kind::Variable { name, value: value.into(), expected })
    }

    pub(crate) fn refused(name: &'static str, by: impl Into<Source>) -> Self {
        Self(Kind::Refused { name, by: by.into() })
    }

    pub(crate) fn part(what: &'static str, source: impl Into<Source>) -> Self {
        Self(Kind::Part { what, source: source.into() })
    }

    /// The environment variable whose value is unusable, if it was one that the facade reads by itself. Those of Sentry and
    /// of the traces are named by the source.
    pub fn variable(&self) -> Option<&'static str> {
        match &self.0 {
            Kind::Variable { name, .. } | Kind::Refused { name, .. } => Some(name),
            Kind::Part { .. } => None,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Variable { name, value, expected } => write!(f, "{name} holds {value:?}; it may hold {expected}"),
            Kind::Refused { name, by } => write!(f, "{name}: {by}"),
            Kind::Part { what, .. } => write!(f, "cannot set up {what}"),
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
        match &self.0 {
            Kind::Variable { .. } => None,
            // What it says itself is in the message.
            Kind::Refused { by, .. } => by.source(),
            Kind::Part { source, .. } => Some(&**source),
        }
    }
}
