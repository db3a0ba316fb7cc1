use std::{error::Error, fmt};

use steeple_core::text::cut;

/// Alerts cannot be built as configured. Retrying does not help.
#[derive(Debug)]
pub struct BuildError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Rule {
        name: String,
        what: String,
    },
    Twice {
        name: String,
    },
    TooMany {
        rules: usize,
        most: usize,
    },
    #[cfg(feature = "file")]
    File(crate::file::FileError),
    #[cfg(feature = "http")]
    Setting {
        setting: &'static str,
        expected: &'static str,
    },
    #[cfg(feature = "http")]
    Channel {
        name: &'static str,
        source: Box<dyn Error + Send + Sync>,
    },
    History(std::io::Error),
}

impl BuildError {
    pub(crate) fn rule(name: &str, what: &str) -> Self {
        let name = cut(name, 64).escape_debug().to_string();
        Self { kind: Kind::Rule { name, what: what.to_owned() } }
    }

    pub(crate) fn twice(name: &str) -> Self {
        Self { kind: Kind::Twice { name: name.to_owned() } }
    }

    pub(crate) const fn too_many(rules: usize, most: usize) -> Self {
        Self { kind: Kind::TooMany { rules, most } }
    }

    #[cfg(feature = "file")]
    pub(crate) const fn file(error: crate::file::FileError) -> Self {
        Self { kind: Kind::File(error) }
    }

    #[cfg(feature = "http")]
    pub(crate) const fn setting(setting: &'static str, expected: &'static str) -> Self {
        Self { kind: Kind::Setting { setting, expected } }
    }

    #[cfg(feature = "http")]
    pub(crate) fn channel(name: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: Kind::Channel { name, source: source.into() } }
    }

    pub(crate) const fn history(source: std::io::Error) -> Self {
        Self { kind: Kind::History(source) }
    }

    /// A rule cannot be used: it can never fire, never be over, its name is not valid or taken, or there are more than 64.
    pub fn is_rule(&self) -> bool {
        matches!(self.kind, Kind::Rule { .. } | Kind::Twice { .. } | Kind::TooMany { .. })
    }

    /// The file of the rules cannot be read, or is invalid.
    #[cfg(feature = "file")]
    pub fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File(_))
    }

    /// A channel cannot be used as configured.
    #[cfg(feature = "http")]
    pub fn is_channel(&self) -> bool {
        matches!(self.kind, Kind::Setting { .. } | Kind::Channel { .. })
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Rule { name, what } => write!(f, "the rule `{name}` cannot be used: {what}"),
            Kind::TooMany { rules, most } => write!(f, "{rules} rules are too many: at most {most}"),
            #[cfg(feature = "file")]
            Kind::File(error) => error.fmt(f),
            Kind::Twice { name } => write!(f, "two rules have the name `{name}`"),
            // What it holds is not shown: a webhook's URL is its password.
            #[cfg(feature = "http")]
            Kind::Setting { setting, expected } => write!(f, "invalid `{setting}`: expected {expected}"),
            #[cfg(feature = "http")]
            Kind::Channel { name, .. } => write!(f, "the channel `{name}` cannot start"),
            Kind::History(_) => f.write_str("the thread that samples the metrics cannot start"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            #[cfg(feature = "http")]
            Kind::Channel { source, .. } => Some(&**source),
            Kind::History(source) => Some(source),
            #[cfg(feature = "file")]
            Kind::File(_) => None,
            #[cfg(feature = "http")]
            Kind::Setting { .. } => None,
            Kind::Rule { .. } | Kind::Twice { .. } | Kind::TooMany { .. } => None,
        }
    }
}
