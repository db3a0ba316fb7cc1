//! Scrubbed values, the only ones that sinks accept.

use std::{borrow::Cow, fmt, ops::Deref};

/// Something that may leave: it has been through a [`Scrubber`](crate::Scrubber), or was never a request's. Its field is
/// private: forgetting to scrub does not compile.
///
/// Scrubbers return it, and sinks ask for it in their signatures. It dereferences to the text.
/// There are two ways around the scrubber, for what no request had a part in: [`from_static`](Self::from_static) and
/// [`from_application`](Self::from_application). A review of a sink searches for these two words.
///
/// - Cost: none. It is the value itself.
///
/// # Examples
/// ```
/// use steeple_scrub::{Scrubbed, Scrubber};
///
/// fn send(line: Scrubbed<&str>) -> String {
///     format!("> {line}")
/// }
///
/// let scrubber = Scrubber::default();
/// let line = scrubber.text("login failed, password=hunter2");
/// assert_eq!(send(line.as_deref()), "> login failed, password=[redacted:key]");
/// assert_eq!(send(Scrubbed::from_static("ready")), "> ready");
/// ```
///
/// An unscrubbed value is rejected:
/// ```compile_fail,E0308
/// use steeple_scrub::Scrubbed;
///
/// fn send(line: Scrubbed<&str>) -> String {
///     format!("> {line}")
/// }
///
/// send("login failed, password=hunter2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[must_use = "scrubbed text is meant for a sink"]
pub struct Scrubbed<T>(T);

impl<T> Scrubbed<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Values derived from it are no longer known to be scrubbed.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// The same in another form. `change` is a function without captures: it has no other text to bring along.
    ///
    /// # Examples
    /// ```
    /// use steeple_scrub::Scrubber;
    ///
    /// let key = Scrubber::default().text("shop.cart").into_owned().map(|key| key.replace('.', "_"));
    /// assert_eq!(key, "shop_cart");
    /// ```
    pub fn map<U>(self, change: fn(T) -> U) -> Scrubbed<U> {
        Scrubbed(change(self.0))
    }
}

impl<T: Deref> Scrubbed<T> {
    /// Borrows it: what most sinks take.
    #[inline]
    pub fn as_deref(&self) -> Scrubbed<&T::Target> {
        Scrubbed(&self.0)
    }
}

impl<T: AsRef<str>> Scrubbed<T> {
    /// Text that the application's author or operator wrote: a route's template, the service's name, a pseudonym that
    /// its own privacy policy made. Call it for nothing that holds a part of a request, a response or an error.
    #[inline]
    pub const fn from_application(text: T) -> Self {
        Self(text)
    }

    /// Says of another text that it is scrubbed, if it is the same as this one.
    #[inline]
    pub fn vouch_for<'t>(&self, text: &'t str) -> Option<Scrubbed<&'t str>> {
        (self.0.as_ref() == text).then_some(Scrubbed(text))
    }
}

impl Scrubbed<&'static str> {
    /// A literal: the name of a status, a method, a key that stands in the code.
    #[inline]
    pub const fn from_static(literal: &'static str) -> Self {
        Self(literal)
    }
}

impl<'t> Scrubbed<Cow<'t, str>> {
    /// The same, owned, and still known to be scrubbed.
    pub fn into_owned(self) -> Scrubbed<String> {
        Scrubbed(self.0.into_owned())
    }

    /// Was nothing found? Then it is the text that was given, borrowed.
    pub const fn is_clean(&self) -> bool {
        matches!(self.0, Cow::Borrowed(_))
    }

    /// At most the first `max` bytes of it, whole characters, and `mark` behind them if anything was cut off.
    ///
    /// Scrub first, cut then: half a secret is not found.
    ///
    /// # Examples
    /// ```
    /// use steeple_scrub::Scrubber;
    ///
    /// assert_eq!(Scrubber::default().text("grüße").cut(3, "…"), "gr…");
    /// ```
    #[inline]
    pub fn cut(self, max: usize, mark: &'static str) -> Scrubbed<Cow<'t, str>> {
        if self.0.len() <= max { self } else { self.cut_off(max, mark) }
    }

    fn cut_off(self, max: usize, mark: &'static str) -> Scrubbed<Cow<'t, str>> {
        // `str::floor_char_boundary` came with Rust 1.91, after the version that Steeple declares.
        let end = (0..=max.min(self.0.len())).rev().find(|end| self.0.is_char_boundary(*end)).unwrap_or_default();
        Scrubbed(match self.0 {
            Cow::Borrowed(text) if mark.is_empty() => Cow::Borrowed(text.get(..end).unwrap_or_default()),
            Cow::Borrowed(text) => Cow::Owned([text.get(..end).unwrap_or_default(), mark].concat()),
            Cow::Owned(mut text) => {
                text.truncate(end);
                text.push_str(mark);
                Cow::Owned(text)
            }
        })
    }
}

impl<'t> From<Scrubbed<&'t str>> for Scrubbed<Cow<'t, str>> {
    #[inline]
    fn from(Scrubbed(text): Scrubbed<&'t str>) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<Scrubbed<String>> for Scrubbed<Cow<'_, str>> {
    #[inline]
    fn from(Scrubbed(text): Scrubbed<String>) -> Self {
        Self(Cow::Owned(text))
    }
}

impl<T> Deref for Scrubbed<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<U>, U: ?Sized> AsRef<U> for Scrubbed<T> {
    fn as_ref(&self) -> &U {
        self.0.as_ref()
    }
}

impl<T: AsRef<str>> PartialEq<str> for Scrubbed<T> {
    fn eq(&self, other: &str) -> bool {
        self.0.as_ref() == other
    }
}

impl<T: AsRef<str>> PartialEq<&str> for Scrubbed<T> {
    fn eq(&self, other: &&str) -> bool {
        self.0.as_ref() == *other
    }
}

impl<T: fmt::Display> fmt::Display for Scrubbed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
