//! Texts within bounds: cut at a character's boundary, written up to a length, percent-encoded and back.

use std::{borrow::Cow, fmt, panic::PanicHookInfo};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// The longest beginning of `text` that has at most `max` bytes and ends between two characters.
///
/// # Examples
/// ```
/// use steeple_core::text::cut;
///
/// assert_eq!(cut("grüße", 3), "gr");
/// assert_eq!(cut("grüße", 100), "grüße");
/// ```
#[inline]
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    // `str::floor_char_boundary` came with Rust 1.91, after the version that Steeple declares.
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// The message of a panic: its payload where that is a text, as `panic!` makes it.
#[must_use]
pub fn panic_message<'p>(info: &'p PanicHookInfo<'_>) -> &'p str {
    // `PanicHookInfo::payload_as_str` came with Rust 1.91, after the version that Steeple declares.
    let payload = info.payload();
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    payload.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("a value that is not text")
}

/// A text of at most so many bytes: everything written beyond them is left out, and the write fails, so that the
/// writer stops.
///
/// ```
/// use std::fmt::Write;
/// use steeple_core::text::Bounded;
///
/// let mut text = Bounded::new(5);
/// assert!(write!(text, "{}{}", "abc", "defgh").is_err());
/// assert_eq!((text.as_str(), text.is_cut()), ("abcde", true));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounded {
    text: String,
    max: usize,
    is_cut: bool,
}

impl Bounded {
    /// An empty text that takes `max` bytes. Allocates as it grows.
    pub const fn new(max: usize) -> Self {
        Self { text: String::new(), max, is_cut: false }
    }

    /// What `value` displays, at most `max` bytes of it. A `Display` that fails half-way leaves what it wrote before.
    pub fn of(value: impl fmt::Display, max: usize) -> Self {
        let mut text = Self::new(max);
        let _cut = fmt::Write::write_fmt(&mut text, format_args!("{value}"));
        text
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether something was left out.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.text
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = cut(text, self.max.saturating_sub(self.text.len()));
        if self.is_cut {
            return Err(fmt::Error);
        }
        self.text.push_str(fits);
        self.is_cut = fits.len() < text.len();
        if self.is_cut { Err(fmt::Error) } else { Ok(()) }
    }
}

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes everything but `A-Z a-z 0-9 - _ . ~`. Borrows what needs no encoding.
///
/// ```
/// assert_eq!(steeple_core::text::percent_encode("shop@1.2.3 ü"), "shop%401.2.3%20%C3%BC");
/// ```
pub fn percent_encode(text: &str) -> Cow<'_, str> {
    percent_encoding::utf8_percent_encode(text, RESERVED).into()
}

/// Undoes percent-encoding. A `%` that begins no escape stays, a `+` is a plus, and bytes that are not UTF-8 then are
/// replaced. Borrows what holds no escape.
///
/// ```
/// assert_eq!(steeple_core::text::percent_decode(b"no%20more 100% a+b %FF"), "no more 100% a+b \u{fffd}");
/// ```
pub fn percent_decode(text: &[u8]) -> Cow<'_, str> {
    percent_encoding::percent_decode(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_written_after_a_cut() {
        let mut text = Bounded::new(3);
        assert!(text.write_str("aü").is_ok() && text.write_str("ü").is_err() && text.write_str("b").is_err());
        assert_eq!((text.as_str(), text.is_cut()), ("aü", true));
        assert!(!Bounded::of("abc", 3).is_cut());
    }

    #[test]
    fn a_text_is_cut_between_characters_and_never_longer_than_allowed() {
        for (max, want) in [
            (0, ""),
            (1, ""),
            (2, "é"),
            (3, "é"),
            (4, "é"),
            (5, "é漢"),
            (6, "é漢"),
            (9, "é漢🦀"),
            (usize::MAX, "é漢🦀"),
        ] {
            assert_eq!(cut("é漢🦀", max), want, "{max}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(text: String) {
            let encoded = percent_encode(&text);
            prop_assert_eq!(percent_decode(encoded.as_bytes()), text.as_str());
        }

        #[test]
        fn a_cut_is_the_longest_beginning_that_fits(text: String, max in 0_usize..40) {
            let kept = cut(&text, max);
            prop_assert!(kept.len() <= max && text.starts_with(kept));
            let next = text[kept.len()..].chars().next();
            prop_assert!(next.is_none_or(|next| kept.len().saturating_add(next.len_utf8()) > max));
        }
    }
}
