use std::{error::Error, fmt};

use steeple_scrub::Scrubber;

/// The most bytes of a message. A value that someone pasted by mistake can have any length.
const MAX_BYTES: usize = 500;

/// An invalid setting. The message has its name, its value and the allowed values.
///
/// The message is one line of at most 500 bytes without secrets: passwords in URLs, tokens and the like are redacted, and the
/// value of a variable that holds a secret is never in it. `Debug` writes the same, because a `main` that returns the
/// error prints that.
pub struct ConfigError {
    variable: Option<String>,
    message: String,
}

impl ConfigError {
    /// A variable with an invalid value.
    pub(crate) fn variable_value(name: &str, value: impl AsRef<str>, expected: &str) -> Self {
        let message = format!("{name} holds {:?}; it may hold {expected}", value.as_ref());
        Self::new(Some(name), &message)
    }

    /// A variable whose value must not be shown.
    pub(crate) fn secret_value(name: &str, expected: &str) -> Self {
        Self::new(Some(name), &format!("{name} has an invalid value; it may hold {expected}"))
    }

    /// A variable that is not set, and that something which is on needs.
    #[expect(clippy::allow_attributes, reason = "which integrations are there depends on the features")]
    #[allow(dead_code, reason = "integrations alone have variables that need each other")]
    pub(crate) fn missing(name: &str, expected: &str) -> Self {
        Self::new(Some(name), &format!("{name} is not set; it has to hold {expected}"))
    }

    /// A variable whose value was rejected with this error.
    pub(crate) fn rejected(name: &str, error: &(dyn Error + 'static)) -> Self {
        Self::new(Some(name), &format!("{name}: {}", chain(error)))
    }

    /// A part that could not be built, such as `the log`.
    pub(crate) fn part(what: &str, error: &(dyn Error + 'static)) -> Self {
        Self::new(None, &format!("cannot set up {what}: {}", chain(error)))
    }

    pub(crate) fn new(variable: Option<&str>, message: &str) -> Self {
        Self { variable: variable.map(str::to_owned), message: presentable(message) }
    }

    /// The environment variable with the invalid value, if a variable that the facade reads is the cause.
    pub fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }
}

/// One line, without secrets, cut.
pub(crate) fn presentable(message: &str) -> String {
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Scrubber::default().text(&line).cut(MAX_BYTES, "…").into_inner().into_owned()
}

/// The error with its sources, unless they repeat its message.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let further = error.to_string();
        if !text.contains(&further) {
            text.push_str(": ");
            text.push_str(&further);
        }
        source = error.source();
    }
    text
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for ConfigError {}
