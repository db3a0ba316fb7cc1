//! A line of the log, read again.

use std::fmt;

use serde_json::{Map, Value};
use steeple_core::ACCESS_TARGET;

/// A line of the log, with the names of `docs/log-fields.md`.
#[derive(Clone, PartialEq)]
pub struct Line {
    text: String,
    fields: Map<String, Value>,
}

impl Line {
    /// `None`: it is not a whole line.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8(bytes.to_vec()).ok()?;
        let fields = serde_json::from_str(&text).ok()?;
        Some(Self { text, fields })
    }

    /// The line as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The message.
    pub fn message(&self) -> &str {
        self.text("message").unwrap_or_default()
    }

    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub fn level(&self) -> &str {
        self.text("level").unwrap_or_default()
    }

    /// The name of the exchange or job that it belongs to.
    pub fn name(&self) -> Option<&str> {
        self.text("transaction.name")
    }

    /// Whether it is the line of an exchange or job, written at its end, and not one that the code logs.
    pub fn is_end(&self) -> bool {
        self.text("target") == Some(ACCESS_TARGET)
    }

    /// A field with a text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// A field with a number.
    pub fn number(&self, field: &str) -> Option<f64> {
        self.fields.get(field)?.as_f64()
    }

    /// A field with a boolean.
    pub fn is(&self, field: &str) -> Option<bool> {
        self.fields.get(field)?.as_bool()
    }

    /// The names of its fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
