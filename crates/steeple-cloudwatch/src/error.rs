use std::{error::Error, fmt};

/// CloudWatch cannot be used as configured. Retrying does not help. Never shows a key.
#[derive(Debug)]
pub struct BuildError {
    setting: &'static str,
    expected: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl BuildError {
    pub(crate) fn setting(setting: &'static str, expected: impl Into<String>) -> Self {
        Self { setting, expected: expected.into(), source: None }
    }

    pub(crate) fn part(setting: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { setting, expected: String::new(), source: Some(source.into()) }
    }

    /// The setting that is at fault: `region`.
    pub fn setting_name(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.expected.is_empty() {
            write!(f, "invalid `{}` for CloudWatch", self.setting)
        } else {
            write!(f, "invalid `{}` for CloudWatch: expected {}", self.setting, self.expected)
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
