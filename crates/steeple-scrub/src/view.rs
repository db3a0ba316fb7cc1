//! A text as it reads once its escapes are undone, and where each byte of it came from.

/// Escapes are undone this often: a percent-encoded URL inside a JSON string inside a log line has three layers.
pub(crate) const LAYERS: usize = 3;

/// A decoded copy.
pub(crate) struct View {
    pub(crate) bytes: Vec<u8>,
    /// For each byte, where its source starts in the original text; one more entry for the end.
    starts: Vec<usize>,
}

impl View {
    /// Undoes percent-encoding, JSON escapes and the HTML escapes of quotes, `=` and `&` in `text`, once. `None`: there was
    /// nothing to undo.
    pub(crate) fn of(text: &[u8]) -> Option<Self> {
        Self::decode(text, |at| at)
    }

    /// The next layer.
    pub(crate) fn again(&self) -> Option<Self> {
        Self::decode(&self.bytes, |at| self.starts.get(at).copied().unwrap_or_default())
    }

    fn decode(text: &[u8], origin: impl Fn(usize) -> usize) -> Option<Self> {
        // A `%` or an `&` that escapes nothing needs no copy.
        let escapes =
            |at: &usize| text.get(*at..).is_some_and(|rest| matches!(rest, [byte, ..] if unescape(*byte, rest).1 > 1));
        let first = memchr::memchr3_iter(b'%', b'\\', b'&', text).find(escapes)?;
        let mut bytes = Vec::with_capacity(text.len());
        let mut starts = Vec::with_capacity(text.len().saturating_add(1));
        let mut at = 0_usize;
        while let Some(&byte) = text.get(at) {
            let rest = text.get(at..).unwrap_or_default();
            let (decoded, len) = if at < first { (Decoded::Byte(byte), 1) } else { unescape(byte, rest) };
            match decoded {
                Decoded::Byte(byte) => {
                    bytes.push(byte);
                    starts.push(origin(at));
                }
                Decoded::Char(char) => {
                    let mut buffer = [0; 4];
                    for byte in char.encode_utf8(&mut buffer).bytes() {
                        bytes.push(byte);
                        starts.push(origin(at));
                    }
                }
            }
            at = at.saturating_add(len);
        }
        starts.push(origin(text.len()));
        Some(Self { bytes, starts })
    }

    /// Where `start..end` of the copy lies in the original: all of every escape that has a part in it.
    pub(crate) fn origin(&self, start: usize, end: usize) -> (usize, usize) {
        let from = self.starts.get(start).copied().unwrap_or_default();
        let last = end.checked_sub(1).and_then(|last| self.starts.get(last)).copied().unwrap_or_default();
        let after = self.starts.get(end..).unwrap_or_default();
        let to =
            after.iter().copied().find(|&at| at > last).or_else(|| self.starts.last().copied()).unwrap_or_default();
        (from, to)
    }
}

enum Decoded {
    Byte(u8),
    Char(char),
}

/// What stands at the beginning of `rest`, and how many bytes it takes.
fn unescape(byte: u8, rest: &[u8]) -> (Decoded, usize) {
    let plain = (Decoded::Byte(byte), 1);
    match (byte, rest) {
        (b'%', [_, high, low, ..]) => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => (Decoded::Byte((high << 4) | low), 3),
            _ => plain,
        },
        (b'\\', [_, escape, ..]) => match escape {
            b'"' | b'\'' | b'\\' | b'/' => (Decoded::Byte(*escape), 2),
            b'n' => (Decoded::Byte(b'\n'), 2),
            b'r' => (Decoded::Byte(b'\r'), 2),
            b't' => (Decoded::Byte(b'\t'), 2),
            b'u' => match rest.get(2..6).and_then(hex4) {
                Some(code) => (Decoded::Char(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)), 6),
                None => plain,
            },
            b'x' => match rest.get(2..4) {
                Some(&[high, low]) => match (hex(high), hex(low)) {
                    (Some(high), Some(low)) => (Decoded::Byte((high << 4) | low), 4),
                    _ => plain,
                },
                _ => plain,
            },
            _ => plain,
        },
        (b'&', [_, b'q' | b'#' | b'a' | b'l' | b'g', ..]) => {
            const ENTITIES: [(&[u8], u8); 12] = [
                (b"&quot;", b'"'),
                (b"&#34;", b'"'),
                (b"&#x22;", b'"'),
                (b"&apos;", b'\''),
                (b"&#39;", b'\''),
                (b"&#x27;", b'\''),
                (b"&#x3D;", b'='),
                (b"&#61;", b'='),
                (b"&#64;", b'@'),
                (b"&amp;", b'&'),
                (b"&lt;", b'<'),
                (b"&gt;", b'>'),
            ];
            match ENTITIES.iter().find(|(entity, _)| rest.starts_with(entity)) {
                Some((entity, byte)) => (Decoded::Byte(*byte), entity.len()),
                None => plain,
            }
        }
        _ => plain,
    }
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(digit.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |code, &digit| Some((code << 4) | u32::from(hex(digit)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        let got = View::of(text.as_bytes()).map(|view| String::from_utf8_lossy(&view.bytes).into_owned());
        assert_eq!(got.as_deref(), want, "{text}");
    }

    #[test]
    fn escapes_are_undone_once() {
        check("plain", None);
        check("100 % of %zz", None);
        check("a%3Db", Some("a=b"));
        check("%2525", Some("%25"));
        check(r#"{\"a\":\"b\"}"#, Some(r#"{"a":"b"}"#));
        check(r"\u0040\x41\n", Some("@A\n"));
        check("&quot;a&quot;", Some("\"a\""));
        check("%", None);
        check("\\", None);
        check("\\u12", None);
    }

    #[test]
    fn every_escape_that_has_a_part_in_a_span_goes_whole() {
        let view = View::of(br"x\u00e9y").expect("there is an escape");
        assert_eq!(view.origin(1, 2), (1, 7), "half a character");
        assert_eq!(view.origin(3, 4), (7, 8));
        let twice = View::of(b"a%2540b").and_then(|view| view.again()).expect("two layers");
        assert_eq!(twice.bytes, b"a@b");
        assert_eq!(twice.origin(1, 2), (1, 6));
    }
}
