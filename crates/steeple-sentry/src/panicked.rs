use std::panic::PanicHookInfo;

use sentry_core::protocol::{Exception, Mechanism, Stacktrace};

use crate::outlet::symbols;

/// Longest message that is kept, in bytes.
const MAX_MESSAGE: usize = 8 * 1024;

/// A panic's message, and the stack it came from: addresses, without names yet.
#[derive(Debug)]
pub(crate) struct Panicked {
    message: String,
    /// `src/main.rs:12`.
    pub(crate) location: Option<String>,
    stacktrace: Option<Stacktrace>,
}

impl Panicked {
    pub(crate) fn of(info: &PanicHookInfo<'_>) -> Self {
        let message = steeple_core::text::panic_message(info);
        let message = steeple_core::text::cut(message, MAX_MESSAGE).to_owned();
        let location = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
        Self { message, location, stacktrace: symbols::capture() }
    }

    pub(crate) fn into_exception(self) -> Exception {
        Exception {
            ty: "panic".to_owned(),
            value: Some(self.message),
            stacktrace: self.stacktrace,
            mechanism: Some(mechanism("panic", false)),
            ..Exception::default()
        }
    }
}

/// How a failure came to be seen, and whether someone dealt with it.
pub(crate) fn mechanism(ty: &str, handled: bool) -> Mechanism {
    Mechanism { ty: ty.to_owned(), handled: Some(handled), ..Mechanism::default() }
}
