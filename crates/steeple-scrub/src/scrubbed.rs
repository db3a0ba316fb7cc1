//! The type that sinks take.

use std::{borrow::Cow, fmt, ops::Deref};

/// Something that has been through a [`Scrubber`](crate::Scrubber). Its field is private: forgetting to scrub does not compile.
///
/// Made by the scrubber's `scrubbed_…` methods. A sink that takes `Scrubbed<…>` says so in its signature.
///
/// # Examples
/// ```
/// use std::borrow::Cow;
/// use steeple_scrub::{Scrubbed, Scrubber};
///
/// fn send(line: &Scrubbed<Cow<'_, str>>) -> String {
///     format!("> {line}")
/// }
///
/// let scrubber = Scrubber::default();
/// let line = scrubber.scrubbed_text("login failed, password=hunter2");
/// assert_eq!(send(&line), "> login failed, password=[redacted:key]");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[must_use = "scrubbed text is meant for a sink"]
pub struct Scrubbed<T>(T);

impl<T> Scrubbed<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. What is done to it from here on is no longer known to be scrubbed.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Scrubbed<Cow<'_, str>> {
    /// The same, owned, and still known to be scrubbed.
    pub fn into_owned(self) -> Scrubbed<String> {
        Scrubbed(self.0.into_owned())
    }
}

impl<T> Deref for Scrubbed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<U>, U: ?Sized> AsRef<U> for Scrubbed<T> {
    fn as_ref(&self) -> &U {
        self.0.as_ref()
    }
}

impl<T: fmt::Display> fmt::Display for Scrubbed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
