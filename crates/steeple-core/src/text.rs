//! Text that has to fit: cut at a character, never inside of one.

use std::panic::PanicHookInfo;

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
    // `str::floor_char_boundary` came with Rust 1.91, after the version that Steeple declares.
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
