use std::{
    fmt,
    path::{Path, PathBuf},
};

/// A file of rules cannot be used. The message names the file, the line, the key and the allowed values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    path: Option<PathBuf>,
    line: Option<usize>,
    key: String,
    what: String,
}

impl FileError {
    pub(super) fn new(line: Option<usize>, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: None, line, key: key.into(), what: what.into() }
    }

    pub(super) fn of_file(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// The line, from 1 on. `None`: the file cannot be read at all.
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key: `rules.checkout_slow.for`. Empty where it is not about one.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}", path.display())?,
            None => f.write_str("rules")?,
        }
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ", `{}`", self.key)?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for FileError {}
