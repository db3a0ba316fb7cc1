//! Makes foreign text harmless: it can neither end a line nor change how the rest of the line looks.

use std::borrow::Cow;

pub(crate) use steeple_core::text::cut as clamp;
use steeple_scrub::{Recalled, Scrubbed};

/// What may stand in a JSON string as it is. Not plain: control characters, quote, backslash, DEL, and the first bytes
/// of the characters outside of ASCII that [`is_hidden`] asks about.
static PLAIN: [bool; 256] = plain();

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it, and would fail")]
const fn plain() -> [bool; 256] {
    let mut table = [true; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = !matches!(byte, 0..=0x1f | 0x22 | 0x5c | 0x7f | 0xc2 | 0xd8 | 0xe1 | 0xe2 | 0xef | 0xf3);
        byte += 1;
    }
    table
}

/// Whether a character is invisible, breaks a line somewhere, or changes the direction of what follows.
pub(crate) const fn is_hidden(char: char) -> bool {
    matches!(char,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' // C0, DEL, C1 (CSI among it)
        | '\u{ad}' | '\u{61c}' | '\u{180e}' // soft hyphen, Arabic letter mark, Mongolian vowel separator
        | '\u{200b}'..='\u{200f}' // zero width, left-to-right and right-to-left marks
        | '\u{2028}'..='\u{202e}' // line and paragraph separator, embeddings and overrides
        | '\u{2060}'..='\u{206f}' // word joiner, isolates
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' // byte order mark, interlinear annotation
        | '\u{e0000}'..='\u{e007f}' // tags
    )
}

/// Appends the inside of a JSON string.
pub(crate) fn json(out: &mut Vec<u8>, text: Scrubbed<&str>) {
    let text = text.into_inner();
    if is_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        escaped(out, text);
    }
}

/// The same for a text that recurs, of which it is known.
pub(crate) fn recalled(out: &mut Vec<u8>, recalled: &Recalled) {
    if recalled.is_plain() {
        out.extend_from_slice(recalled.text().as_bytes());
    } else {
        json(out, recalled.text());
    }
}

/// Whether no byte needs a second look, as nearly always.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    match bytes.last_chunk::<8>() {
        // The last eight overlap the ones before them: cheaper than up to seven one by one.
        Some(last) => {
            let (words, _) = bytes.as_chunks::<8>();
            words.iter().chain([last]).fold(0, |all, word| all | oddities(u64::from_le_bytes(*word))) & HIGH == 0
        }
        None => bytes.iter().all(|byte| PLAIN.get(usize::from(*byte)).copied().unwrap_or(false)),
    }
}

/// The same for a text that may need it.
#[cold]
fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    loop {
        let clean = plain_prefix(rest.as_bytes());
        let (head, tail) = rest.split_at_checked(clean).unwrap_or((rest, ""));
        out.extend_from_slice(head.as_bytes());
        let mut chars = tail.chars();
        let Some(char) = chars.next() else { return };
        json_char(out, char);
        rest = chars.as_str();
    }
}

/// How many bytes from the start need no look at the characters they make up. Always ends at a character's boundary:
/// only first bytes are not plain.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let mut clean = 0_usize;
    for word in words {
        if !is_plain_ascii(u64::from_le_bytes(*word)) {
            break;
        }
        clean = clean.saturating_add(8);
    }
    let rest = bytes.get(clean..).unwrap_or_default();
    let more = rest.iter().position(|byte| !PLAIN.get(usize::from(*byte)).copied().unwrap_or(false));
    clean.saturating_add(more.unwrap_or(rest.len()))
}

/// Eight bytes at once: all in 0x20..0x7f, none a quote or a backslash.
#[inline]
const fn is_plain_ascii(word: u64) -> bool {
    oddities(word) & HIGH == 0
}

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// Has a high bit unless the word is plain ASCII.
#[inline]
const fn oddities(word: u64) -> u64 {
    // The classic tests for a byte below n and for a zero byte; right whenever no byte has its high bit set.
    let control = word.wrapping_sub(ONES.wrapping_mul(0x20));
    let quote = (word ^ ONES.wrapping_mul(b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ ONES.wrapping_mul(b'\\' as u64)).wrapping_sub(ONES);
    let delete = word.wrapping_add(ONES);
    word | control | quote | backslash | delete
}

fn json_char(out: &mut Vec<u8>, char: char) {
    match char {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        hidden if is_hidden(hidden) => {
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                hex(out, *unit);
            }
        }
        shown => out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends text for people: hidden characters as `\n` or `\u{202e}`, the rest as it is.
pub(crate) fn text(out: &mut Vec<u8>, text: Scrubbed<&str>) {
    for char in text.chars() {
        if is_hidden(char) {
            out.extend(char.escape_default().map(|escaped| u8::try_from(escaped).unwrap_or(b'?')));
        } else {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// The same, for places that take a string.
pub(crate) fn visible(given: Scrubbed<Cow<'_, str>>) -> Cow<'_, str> {
    if is_plain(given.as_bytes()) || !given.chars().any(is_hidden) {
        return given.into_inner();
    }
    let mut out = Vec::with_capacity(given.len().saturating_add(16));
    text(&mut out, given.as_deref());
    Cow::Owned(String::from_utf8(out).unwrap_or_default())
}

/// Appends four lower-case hex digits.
fn hex(out: &mut Vec<u8>, unit: u16) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u32| DIGITS.get(usize::from(unit >> shift & 15)).copied().unwrap_or(b'0');
    out.extend_from_slice(&[digit(12), digit(8), digit(4), digit(0)]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json_of(given: &str) -> String {
        let mut out = vec![b'"'];
        json(&mut out, Scrubbed::from_application(given));
        out.push(b'"');
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_forge_a_line_is_escaped() {
        assert_eq!(json_of("a\"b\\c\nd\r\te"), r#""a\"b\\c\nd\r\te""#);
        assert_eq!(json_of("\u{0}\u{1b}[31m\u{7f}\u{9b}"), r#""\u0000\u001b[31m\u007f\u009b""#);
        assert_eq!(json_of("\u{2028}\u{202e}\u{2066}\u{feff}"), r#""\u2028\u202e\u2066\ufeff""#);
        assert_eq!(json_of("\u{e0041}"), r#""\udb40\udc41""#);
        assert_eq!(json_of("Zürich — 東京 🦀"), r#""Zürich — 東京 🦀""#);
        assert_eq!(visible(Scrubbed::from_static("a\nb\u{202e}c").into()), "a\\nb\\u{202e}c");
    }

    #[test]
    fn eight_at_once_sees_what_one_at_a_time_sees() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut word = *b"abcdefgh";
                word[place] = byte;
                let plain = byte.is_ascii() && PLAIN[usize::from(byte)];
                assert_eq!(is_plain_ascii(u64::from_le_bytes(word)), plain, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn a_cut_keeps_whole_characters() {
        assert_eq!((clamp("üü", 3), clamp("abc", 3), clamp("abc", 0)), ("ü", "abc", ""));
    }

    proptest! {
        #[test]
        fn json_reads_back_as_what_it_was_and_hides_nothing(given: String) {
            let written = json_of(&given);
            prop_assert!(!written.chars().any(is_hidden), "{}", written);
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), given);
        }

        #[test]
        fn what_is_known_to_be_plain_is_written_as_what_is_not(given in ".{0,16}|[ -~]{0,16}") {
            let scrubber = steeple_scrub::Scrubber::default();
            let _first = scrubber.recall(given.as_bytes());
            let known = scrubber.recall(given.as_bytes()).unwrap();
            let (mut one, mut other) = (Vec::new(), Vec::new());
            recalled(&mut one, &known);
            json(&mut other, known.text());
            prop_assert_eq!(one, other);
        }

        #[test]
        fn shown_text_has_nothing_hidden(given: String) {
            prop_assert!(!visible(Scrubbed::from_application(given.as_str()).into()).chars().any(is_hidden));
        }
    }
}
