//! Where the value of a name begins and ends.

use super::{
    at, before, cut, is_blank, is_quote, is_space,
    key::{Key, is_name},
    remark::is_placeholder,
    run, run_back, run_max, scheme,
};

pub(super) struct Value {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) quoted: bool,
}

/// A value that may turn out not to be secret is read no further than this.
pub(super) const LOOK: usize = 512;

/// The value that begins at `start`. `sure`: it is secret whatever its text, or is known to be; it is read to its end.
#[inline]
pub(super) fn value(text: &[u8], start: usize, key: &Key<'_>, prose: bool, sure: bool) -> Option<Value> {
    let max = if sure { text.len() } else { LOOK };
    if let Some((open, end)) = quoted(text, start, max) {
        return Some(Value { start: open, end, quoted: before(text, open) != b'`' });
    }
    let first = at(text, start);
    if is_blank(first) {
        return None;
    }
    if key.line && (prose || at(text, key.end) == b':') {
        let end = run(text, start, |byte| !matches!(byte, b'\n' | b'\r' | b'"' | b'\''));
        return Some(Value { start, end: trim(text, start, end), quoted: false });
    }
    if key.is_sure()
        && matches!(first, b'[' | b'{')
        && !cut(text, start, text.len()).starts_with(b"[redacted:")
        && !cut(text, start, text.len()).starts_with(b"{{")
    {
        return Some(Value { start, end: bracket_end(text, start), quoted: false });
    }
    // `Some("…")`, `String("…")`, `b"…"`.
    let word = run_max(text, start, 24, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if key.is_sure() && word > start {
        let open = run_max(text, word, 4, |byte| byte == b'(');
        let short = word.saturating_sub(start) <= 2;
        if (open > word || short)
            && let Some((_, end)) = quoted(text, open, text.len())
        {
            let end = run(text, end, |byte| is_quote(byte) || matches!(byte, b')' | b'\\'));
            return Some(Value { start, end, quoted: true });
        }
        // `authorization=Bearer …`
        if at(text, word) == b' '
            && let Some((end, _)) = scheme::credentials(text, cut(text, start, word), word.saturating_add(1))
        {
            return Some(Value { start, end, quoted: false });
        }
    }
    let hole = run_max(text, start, 64, |byte| !is_blank(byte) && !matches!(byte, b'}' | b'>'));
    let hole = run_max(text, hole, 2, |byte| matches!(byte, b'}' | b'>'));
    if matches!(first, b'$' | b'{' | b'<') && is_placeholder(cut(text, start, hole)) && !is_name(at(text, hole)) {
        return None;
    }
    let end = bare_end(text, start, max);
    Some(Value { start, end, quoted: false })
}

fn trim(text: &[u8], start: usize, end: usize) -> usize {
    run_back(text, end, end.saturating_sub(start), is_space)
}

/// Inside and end of a quoted value; the quotes may be escaped, any number of times. One that does not end goes on to the end
/// of its line.
pub(super) fn quoted(text: &[u8], start: usize, max: usize) -> Option<(usize, usize)> {
    let quote_at = run_max(text, start, 8, |byte| byte == b'\\');
    let level = quote_at.saturating_sub(start);
    let quote = at(text, quote_at);
    if !is_quote(quote) {
        return None;
    }
    let open = quote_at.saturating_add(1);
    let limit = text.len().min(open.saturating_add(max));
    let mut slashes = 0_usize;
    for (offset, &byte) in cut(text, open, limit).iter().enumerate() {
        if byte == quote && (slashes == level || level == 0 && slashes.is_multiple_of(2)) {
            return Some((open, open.saturating_add(offset).saturating_sub(level)));
        }
        if byte == b'\n' && level == 0 {
            return Some((open, open.saturating_add(offset)));
        }
        slashes = if byte == b'\\' { slashes.saturating_add(1) } else { 0 };
    }
    Some((open, limit))
}

/// The end of `[…]` or `{…}`, whatever is nested in it, counted and not recursed into.
fn bracket_end(text: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut quote = 0_u8;
    let mut escaped = false;
    for (offset, &byte) in text.get(start..).unwrap_or_default().iter().enumerate() {
        let here = start.saturating_add(offset);
        if quote != 0 {
            if byte == quote && !escaped {
                quote = 0;
            }
            escaped = byte == b'\\' && !escaped;
            continue;
        }
        match byte {
            b'"' => quote = byte,
            b'[' | b'{' => depth = depth.saturating_add(1),
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return here.saturating_add(1);
                }
            }
            b'\n' if depth == 0 => return here,
            _ => {}
        }
    }
    text.len()
}

/// The end of a value without quotes. Its own punctuation belongs to it: what looks like a delimiter ends it only where
/// something follows that delimiters are followed by.
fn bare_end(text: &[u8], start: usize, max: usize) -> usize {
    let limit = text.len().min(start.saturating_add(max));
    let mut here = start;
    while here < limit {
        let byte = at(text, here);
        let next = here.saturating_add(1);
        let after = at(text, next);
        let ends = match byte {
            _ if is_blank(byte) => true,
            // "password=hunter2: connection refused"
            b':' => is_blank(after) && here > start,
            // `?token=…#access_token=…`
            b'#' => pair_follows(text, next),
            b'&' | b';' | b',' => is_blank(after) || is_quote(after) || pair_follows(text, next),
            b')' | b']' | b'}' | b'"' | b'\'' | b'`' | b'>' => {
                (is_blank(after)
                    || is_quote(after)
                    || matches!(after, b',' | b';' | b':' | b'.' | b')' | b']' | b'}' | b'>' | b'\\' | b'&' | b'<'))
                    && !(byte == b']' && marker_here(text, start, here))
            }
            b'\\' => matches!(after, b'"' | b'\'' | b'\\') && closes(text, here),
            b'<' => after == b'/',
            _ => false,
        };
        if ends {
            return here;
        }
        here = next;
    }
    here
}

/// Is the `]` at `here` the one of a marker that began at `start`?
fn marker_here(text: &[u8], start: usize, here: usize) -> bool {
    let value = cut(text, start, here);
    value.starts_with(b"[redacted:") && memchr::memchr(b']', value).is_none()
}

/// Backslashes, a quote, and then the end of something.
fn closes(text: &[u8], here: usize) -> bool {
    let quote = run_max(text, here, 8, |byte| byte == b'\\');
    let after = at(text, quote.saturating_add(1));
    is_quote(at(text, quote))
        && (is_blank(after) || matches!(after, b',' | b';' | b'}' | b']' | b')' | b'&' | b'"' | b'\\'))
}

/// `name=` or `name:`, spaces within as in `User Id=`.
fn pair_follows(text: &[u8], start: usize) -> bool {
    let start = run_max(text, start, 2, |byte| byte == b' ');
    let end = run_max(text, start, 40, |byte| is_name(byte) || matches!(byte, b' ' | b'%'));
    end > start && matches!(at(text, end), b'=' | b':')
}

/// The lines of a YAML block, `|` or `>` and lines that are indented: its first and last byte that are not blank.
#[inline]
pub(super) fn block(text: &[u8], start: usize) -> Option<(usize, usize)> {
    if !matches!(at(text, start), b'|' | b'>') {
        return None;
    }
    let line =
        run_max(text, start.saturating_add(1), 3, |byte| matches!(byte, b'-' | b'+' | b'0'..=b'9' | b' ' | b'\r'));
    if at(text, line) != b'\n' {
        return None;
    }
    let open = run(text, line, is_space);
    if before(text, open) == b'\n' {
        return None;
    }
    let mut end = open;
    loop {
        end = run(text, end, |byte| byte != b'\n');
        let next = end.saturating_add(1);
        if end >= text.len() || !matches!(at(text, next), b' ' | b'\t') {
            return (end > open).then(|| (open, trim(text, open, end)));
        }
        end = next;
    }
}
