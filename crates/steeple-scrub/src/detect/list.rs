//! Names and values side by side: `("password", "…")`, `{"name": "password", "value": "…"}`, `<input name="password" value="…">`,
//! the parts of a multipart form.

use super::{
    Findings, add, at, before, cut, is_space,
    key::{Key, is_name, name_before},
    phrase::Known,
    remark::{is_empty, is_placeholder},
    run, run_back, run_max,
    value::quoted,
};
use crate::{
    marker::Rule,
    name::{self, Class},
};

/// A value stands no further than this from its name.
const NEAR: usize = 256;

/// Says that its value is a name: `name="password"`.
#[inline]
pub(super) fn is_label(name: &[u8]) -> bool {
    matches!(
        name,
        b"name"
            | b"Name"
            | b"NAME"
            | b"key"
            | b"Key"
            | b"KEY"
            | b"id"
            | b"field"
            | b"header"
            | b"param"
            | b"parameter"
            | b"property"
            | b"variable"
    )
}

/// Says that its value belongs to such a name.
fn is_value_label(name: &[u8]) -> bool {
    matches!(name, b"value" | b"Value" | b"VALUE" | b"values" | b"val" | b"v" | b"content" | b"data" | b"default")
}

/// `("password", "…")` and `["password", "…"]`, at the quote that ends the name.
#[inline(never)]
pub(super) fn two(text: &[u8], quote: usize, known: Known<'_>, findings: &mut Findings) -> Option<usize> {
    let mark = at(text, quote);
    let start = run_back(text, quote, 64, is_name);
    let bracket = run_back(text, start.saturating_sub(1), 4, is_space);
    if start == quote || before(text, start) != mark || !matches!(before(text, bracket), b'(' | b'[') {
        return None;
    }
    if name::classify(cut(text, start, quote), known.names) <= Class::Weak {
        return None;
    }
    let second = run_max(text, quote.saturating_add(2), 4, is_space);
    let (open, end) = quoted(text, second, NEAR.saturating_mul(16))?;
    let close = run_max(text, end.saturating_add(1), 4, is_space);
    // `["password", "email", "name"]` lists names.
    let ends = match (before(text, bracket), at(text, close)) {
        (b'(', b')') | (b'[', b']') => true,
        (b'(', b',') => before(text, bracket.saturating_sub(1)).is_ascii_alphanumeric(),
        _ => false,
    };
    take(text, open, end, ends, known, findings)
}

fn take(text: &[u8], open: usize, end: usize, is: bool, known: Known<'_>, findings: &mut Findings) -> Option<usize> {
    let content = cut(text, open, end);
    if !is || is_empty(content) || known.is_marker(content) || is_placeholder(content) {
        return None;
    }
    add(findings, open, end, Rule::Key);
    Some(end)
}

/// A name that stands as a value, after the separator at `sign`: finds the value that belongs to it.
#[inline(never)]
pub(super) fn labeled(
    text: &[u8],
    sign: usize,
    label: &Key<'_>,
    known: Known<'_>,
    findings: &mut Findings,
) -> Option<usize> {
    let (start, end) = plain(text, sign)?;
    // No name begins with a digit: an id, most likely.
    if at(text, start).is_ascii_digit() || name::classify(cut(text, start, end), known.names) <= Class::Weak {
        return None;
    }
    if let Some((open, close)) = part(text, label, end) {
        return take(text, open, close, true, known, findings);
    }
    let (open, close) = after(text, end).or_else(|| ahead(text, label.end.saturating_sub(label.name.len())))?;
    take(text, open, close, true, known, findings)?;
    Some(end)
}

fn label_before(text: &[u8], sign: usize) -> &[u8] {
    name_before(text, sign).map_or(&[], |(start, end, _)| cut(text, start, end))
}

/// The value after the separator at `sign`, in quotes or one word.
fn plain(text: &[u8], sign: usize) -> Option<(usize, usize)> {
    let start = run_max(text, sign.saturating_add(1), 4, |byte| matches!(byte, b' ' | b'\t'));
    if let Some((open, end)) = quoted(text, start, NEAR.saturating_mul(16)) {
        return Some((open, end));
    }
    let end = run_max(text, start, NEAR.saturating_mul(16), |byte| {
        !is_space(byte) && !matches!(byte, b',' | b'}' | b'>' | b'<' | b';')
    });
    (end > start).then_some((start, end))
}

/// Looks for `value=…` after the name.
fn after(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let limit = text.len().min(from.saturating_add(NEAR));
    let near = cut(text, 0, limit);
    let mut here = from;
    loop {
        here = run(near, here, |byte| !matches!(byte, b'=' | b':' | b'}' | b'\n'));
        match at(near, here) {
            b'\n' if at(near, here.saturating_add(1)) == b'\n' => return None,
            b'\n' => {}
            b'=' | b':' => {
                let name = label_before(near, here);
                if is_value_label(name) {
                    return plain(text, here);
                }
                // The next one's name.
                if is_label(name) {
                    return None;
                }
            }
            _ => return None,
        }
        here = here.saturating_add(1);
    }
}

/// Looks for `value=…` before the name.
fn ahead(text: &[u8], label: usize) -> Option<(usize, usize)> {
    let from = run_back(text, label, NEAR, |byte| !matches!(byte, b'{' | b'<'));
    if from == label.saturating_sub(NEAR) {
        return None;
    }
    let near = cut(text, 0, label);
    let mut here = from;
    loop {
        here = run(near, here, |byte| !matches!(byte, b'=' | b':'));
        if here >= label {
            return None;
        }
        if is_value_label(label_before(near, here)) {
            return plain(text, here);
        }
        here = here.saturating_add(1);
    }
}

/// `Content-Disposition: form-data; name="password"`, an empty line, the value: up to the line that ends the part.
fn part(text: &[u8], label: &Key<'_>, name_end: usize) -> Option<(usize, usize)> {
    let line = cut(text, label.end.saturating_sub(64), label.end);
    memchr::memmem::rfind(line, b"form-data")?;
    let head = cut(text, name_end, text.len().min(name_end.saturating_add(NEAR)));
    let unix = memchr::memmem::find(head, b"\n\n").map(|at| at.saturating_add(2));
    let http = memchr::memmem::find(head, b"\r\n\r\n").map(|at| at.saturating_add(4));
    let open = name_end.saturating_add(unix.into_iter().chain(http).min()?);
    let rest = text.get(open..)?;
    let end = memchr::memmem::find(rest, b"\n--").map_or(rest.len(), |end| end);
    let end = if at(rest, end.wrapping_sub(1)) == b'\r' { end.saturating_sub(1) } else { end };
    Some((open, open.saturating_add(end)))
}
