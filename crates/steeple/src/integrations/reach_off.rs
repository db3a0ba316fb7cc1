//! Nothing is sent over HTTP: the Cargo feature `http` is off.

#![expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the same signatures as with the feature")]

use crate::{ConfigError, env::Lookup, summary::Unreachable};

/// No client.
pub(crate) type Http = ();

/// No settings.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    pub(crate) unreachable: Unreachable,
}

impl Reach {
    pub(crate) fn from_env(_env: &dyn Lookup, _names: &[&'static str]) -> Result<Self, ConfigError> {
        Ok(Self::default())
    }
    pub(crate) fn of(&self, _name: &str) -> Http {}
    pub(crate) fn install(&self) -> &'static str {
        ""
    }
}
