use std::{any, error::Error, fmt, sync::Arc};

use super::{Exchange, Note};
use crate::text::Bounded;

/// An error that was recorded during an exchange: its type, its message and those of its sources.
///
/// The messages are as the errors wrote them. Sinks scrub them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedError {
    kind: &'static str,
    chain: Vec<Box<str>>,
}

/// An error with more sources than this is cut; a cycle of sources ends here too.
const MAX_SOURCES: usize = 16;

/// Longest message that is kept, in bytes.
const MAX_MESSAGE: usize = 8 * 1024;

impl RecordedError {
    /// Writes down an error and the chain of its sources.
    pub fn of<E: Error + ?Sized>(error: &E) -> Self {
        let mut chain = vec![message(error)];
        let mut source = error.source();
        while let Some(error) = source.filter(|_| chain.len() <= MAX_SOURCES) {
            chain.push(message(error));
            source = error.source();
        }
        Self { kind: any::type_name::<E>(), chain }
    }

    /// An error that is nothing but a text, such as a panic's message.
    pub fn from_message(kind: &'static str, text: impl fmt::Display) -> Self {
        Self { kind, chain: vec![message(text)] }
    }

    /// Writes down any error that can be displayed, with its sources if it turns out to be a boxed error.
    pub(crate) fn of_any<E: fmt::Display + 'static>(error: &E) -> Self {
        let any = error as &dyn any::Any;
        if let Some(boxed) = any.downcast_ref::<Box<dyn Error + Send + Sync>>() {
            let dynamic: &(dyn Error + 'static) = &**boxed;
            Self::of(dynamic)
        } else {
            Self::from_message(any::type_name::<E>(), error)
        }
    }

    /// The same with a further cause.
    pub(crate) fn caused_by(mut self, cause: &str) -> Self {
        self.chain.push(cause.into());
        self
    }

    /// The error's type, as its crate names it: `sqlx::Error`, or `dyn Error` where the type was not known.
    pub fn type_name(&self) -> &'static str {
        self.kind
    }

    /// The error's own message.
    pub fn message(&self) -> &str {
        self.chain.first().map_or("", |message| message)
    }

    /// The messages of the error and its sources, the outermost first.
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &str> {
        self.chain.iter().map(|message| &**message)
    }

    /// Whether both have the same type and messages: one failure that was recorded twice.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl fmt::Display for RecordedError {
    /// The whole chain, each part once: `could not save: disk full: no space left on device`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, message) in self.chain.iter().enumerate() {
            if place > 0 {
                f.write_str(": ")?;
            }
            f.write_str(message)?;
        }
        Ok(())
    }
}

fn message(error: impl fmt::Display) -> Box<str> {
    Bounded::of(error, MAX_MESSAGE).into_string().into()
}

/// Errors kept of one exchange. The first ones are kept: they are closer to the cause.
const MAX_ERRORS: usize = 8;

impl Exchange {
    /// Records an error with the chain of its sources. The first 8 errors of an exchange are kept.
    ///
    /// An error that a handler turns into a 5xx response is lost unless it is recorded. Recording it twice counts once.
    #[doc(alias = "notice_error")]
    #[doc(alias = "capture_error")]
    #[doc(alias = "capture_exception")]
    pub fn record_error<E: Error + ?Sized>(&self, error: &E) {
        self.record(RecordedError::of(error));
    }

    /// Records an error that was made into a [`RecordedError`] before, such as one carried in a response's extensions.
    pub fn record(&self, error: RecordedError) {
        if self.has_ended() {
            return;
        }
        let mut notes = self.note(Note::Rare);
        let errors = &mut notes.rare.get_or_insert_default().errors;
        let known = errors.iter().any(|other| other.is_same(&error));
        if !known && errors.len() < MAX_ERRORS {
            errors.push(Arc::new(error));
        }
    }

    /// The first error that was recorded: what the others followed from.
    pub fn error(&self) -> Option<Arc<RecordedError>> {
        self.rare(|rare| rare.errors.first().cloned()).flatten()
    }

    /// The errors that were recorded, first to last.
    pub fn errors(&self) -> Vec<Arc<RecordedError>> {
        self.rare(|rare| rare.errors.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("could not save")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_whole_chain_of_sources_is_written_down() {
        let error = RecordedError::of(&Outer(io::Error::other("disk full")));
        assert_eq!(error.chain().collect::<Vec<_>>(), ["could not save", "disk full"]);
        assert_eq!(error.to_string(), "could not save: disk full");
        assert!(error.type_name().ends_with("Outer"), "{}", error.type_name());
    }

    #[test]
    fn a_boxed_error_keeps_its_sources() {
        let boxed: Box<dyn Error + Send + Sync> = Box::new(Outer(io::Error::other("disk full")));
        assert_eq!(RecordedError::of_any(&boxed).chain().len(), 2);
        assert_eq!(RecordedError::of_any(&"plain").to_string(), "plain");
    }

    #[test]
    fn an_endless_message_is_cut() {
        let error = RecordedError::from_message("panic", "x".repeat(100_000));
        assert_eq!(error.message().len(), MAX_MESSAGE);
    }
}
