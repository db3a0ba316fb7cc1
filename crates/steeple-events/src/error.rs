use std::{error::Error, fmt};

/// Events cannot be built as configured. Retrying does not help.
#[derive(Debug)]
pub struct BuildError {
    setting: &'static str,
    expected: &'static str,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BuildError {
    /// A setting that cannot be used, and what it may hold: `ga4.api_secret`, ``letters, digits, `-` and `_` ``. What it
    /// holds is not shown, since most settings of sinks are secrets.
    pub const fn setting(setting: &'static str, expected: &'static str) -> Self {
        Self { setting, expected, source: None }
    }

    /// A sink that cannot start: `sink` is its name.
    pub fn sink(sink: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { setting: sink, expected: "", source: Some(source.into()) }
    }

    /// The setting, or the sink, that is at fault: `mixpanel.token`.
    pub fn setting_name(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is_some() {
            write!(f, "the sink `{}` cannot start", self.setting)
        } else {
            write!(f, "invalid `{}`: expected {}", self.setting, self.expected)
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
