//! A directory in which the lines for a receiver wait until they have arrived.

use std::{error::Error, path::PathBuf};

use super::Setup;
use crate::{ConfigError, env::Lookup};

/// As the environment sets it.
#[derive(Clone, Debug)]
pub(crate) struct SpoolSetting {
    variable: &'static str,
    directory: Option<PathBuf>,
    max_bytes: Option<u64>,
}

impl SpoolSetting {
    /// `None`: neither variable is set.
    pub(crate) fn from_env(
        env: &dyn Lookup,
        directory: &'static str,
        max_bytes: &'static str,
    ) -> Result<Option<Self>, ConfigError> {
        let found = env.text(directory)?.map(PathBuf::from);
        let bytes = match env.text(max_bytes)? {
            Some(text) => Some(bytes_of(&text).filter(|bytes| *bytes >= 1 << 20).ok_or_else(|| {
                let expected = "bytes, such as `268435456`, `256MiB` or `1GiB`, and at least 1 MiB";
                ConfigError::variable_value(max_bytes, text, expected)
            })?),
            None => None,
        };
        let variable = if found.is_some() { directory } else { max_bytes };
        let is_set = found.is_some() || bytes.is_some();
        Ok(is_set.then_some(Self { variable, directory: found, max_bytes: bytes }))
    }

    /// A warning, where `output` is off.
    pub(crate) fn warn_of_off(&self, setup: &mut Setup<'_>, output: &str) {
        setup.warnings.push(format!("{} has no effect: {output} is not set", self.variable));
    }

    /// The directory, and how much of it. `None`, and a warning: the setting has no effect.
    pub(crate) fn directory(&self, setup: &mut Setup<'_>, is_compiled: bool) -> Option<(PathBuf, Option<u64>)> {
        if !is_compiled {
            setup.warnings.push(format!("{} is set, but Steeple is built without the feature `spool`", self.variable));
            return None;
        }
        if self.directory.is_none() {
            setup.warnings.push(format!("{} has no effect: no directory is set", self.variable));
        }
        Some((self.directory.clone()?, self.max_bytes))
    }

    /// For the start summary.
    pub(crate) fn shown(&self, is_compiled: bool) -> String {
        let directory = self.directory.as_ref().filter(|_| is_compiled);
        directory.map_or_else(String::new, |directory| format!(", spooled in {}", directory.display()))
    }

    /// The error, with the variable that has led to it.
    pub(crate) fn refusal(&self, error: &(dyn Error + 'static)) -> ConfigError {
        ConfigError::rejected(self.variable, error)
    }
}

/// `256MiB`.
fn bytes_of(text: &str) -> Option<u64> {
    let units = [("KiB", 10_u32), ("MiB", 20), ("GiB", 30), ("", 0)];
    let (number, shift) = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
    number.trim().parse::<u64>().ok()?.checked_mul(1_u64.checked_shl(shift)?)
}
