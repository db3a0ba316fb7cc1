use std::{error, fmt};

use regex_automata::meta;

/// An invalid configuration of a scrubber. Building it again with the same settings fails again.
#[derive(Debug)]
pub struct BuildError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Pattern { name: String, source: Box<dyn error::Error + Send + Sync> },
    PatternName { name: String },
    EmptyPattern { name: String },
    Header { name: String },
    Key { name: String },
}

impl BuildError {
    pub(crate) fn pattern(name: &str, error: meta::BuildError) -> Self {
        // The error itself has but a number for the pattern; what is wrong with it is inside.
        let source = match error.syntax_error() {
            Some(syntax) => syntax.to_string().into(),
            None => Box::new(error).into(),
        };
        Self { kind: Kind::Pattern { name: name.to_owned(), source } }
    }

    pub(crate) fn pattern_name(name: &str) -> Self {
        Self { kind: Kind::PatternName { name: name.to_owned() } }
    }

    pub(crate) fn empty_pattern(name: &str) -> Self {
        Self { kind: Kind::EmptyPattern { name: name.to_owned() } }
    }

    pub(crate) fn header(name: &str) -> Self {
        Self { kind: Kind::Header { name: name.to_owned() } }
    }

    pub(crate) fn key(name: &str) -> Self {
        Self { kind: Kind::Key { name: name.to_owned() } }
    }

    /// Returns whether a pattern is not a valid regular expression, is too large, matches the empty text, or has an invalid name.
    pub fn is_pattern(&self) -> bool {
        match self.kind {
            Kind::Pattern { .. } | Kind::PatternName { .. } | Kind::EmptyPattern { .. } => true,
            Kind::Header { .. } | Kind::Key { .. } => false,
        }
    }

    /// Returns whether the name of a header, or a part of one, is empty or has invalid characters.
    pub fn is_header(&self) -> bool {
        matches!(self.kind, Kind::Header { .. })
    }

    /// Returns whether a key has neither letters nor digits, so that it would match everything or nothing.
    pub fn is_key(&self) -> bool {
        matches!(self.kind, Kind::Key { .. })
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Pattern { name, .. } => write!(f, "pattern `{name}` is not a valid regular expression"),
            Kind::PatternName { name } => {
                write!(
                    f,
                    "pattern name `{name}` is invalid or already in use: expected 1 to 40 lowercase letters, digits and dashes"
                )
            }
            Kind::EmptyPattern { name } => write!(f, "pattern `{name}` matches the empty text"),
            Kind::Header { name } => write!(f, "`{name}` is not a valid header name"),
            Kind::Key { name } => write!(f, "key `{name}` has no letters and no digits"),
        }
    }
}

impl error::Error for BuildError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match &self.kind {
            Kind::Pattern { source, .. } => Some(&**source),
            Kind::PatternName { .. } | Kind::EmptyPattern { .. } | Kind::Header { .. } | Kind::Key { .. } => None,
        }
    }
}
