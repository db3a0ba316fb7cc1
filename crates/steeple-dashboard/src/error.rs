use std::{error::Error, fmt};

/// The dashboard cannot be built: a setting is invalid. Retrying does not help.
#[derive(Debug)]
pub struct BuildError(Kind);

#[derive(Debug)]
enum Kind {
    Secret(&'static str),
    Setting(&'static str),
    History,
}

impl BuildError {
    pub(crate) const fn secret(what: &'static str) -> Self {
        Self(Kind::Secret(what))
    }

    pub(crate) const fn setting(what: &'static str) -> Self {
        Self(Kind::Setting(what))
    }

    pub(crate) const fn history() -> Self {
        Self(Kind::History)
    }

    /// The token or the password is too weak.
    pub const fn is_secret(&self) -> bool {
        matches!(self.0, Kind::Secret(_))
    }

    /// Another setting is invalid.
    pub const fn is_setting(&self) -> bool {
        matches!(self.0, Kind::Setting(_))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Secret(what) | Kind::Setting(what) => f.write_str(what),
            Kind::History => f.write_str("could not start the thread that samples the metrics"),
        }
    }
}

impl Error for BuildError {}
