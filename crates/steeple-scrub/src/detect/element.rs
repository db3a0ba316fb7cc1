//! XML and HTML: `<password>…</password>`, with attributes, as CDATA, escaped; a pair of elements for name and value.

use super::{
    Findings, add, at, before, cut, is_blank, is_quote, is_space,
    list::is_label,
    phrase::Known,
    random::is_prose,
    remark::{is_empty, is_placeholder},
    run, run_max,
};
use crate::{
    marker::Rule,
    name::{self, Class},
};

/// A tag has at most so many bytes of attributes.
const ATTRIBUTES: usize = 1024;

const CDATA: &[u8] = b"<![CDATA[";

/// The element that begins at the `<` at `start`.
pub(super) fn find(text: &[u8], start: usize, known: Known<'_>, findings: &mut Findings) -> Option<usize> {
    let tag = start.saturating_add(1);
    let name_end = run_max(text, tag, 64, |byte| super::key::is_name(byte) || byte == b':');
    let next = at(text, name_end);
    if name_end == tag || next != b'>' && !is_space(next) {
        return None;
    }
    let name = cut(text, tag, name_end);
    let class = name::classify(name, known.names);
    if class <= Class::Weak {
        return if next == b'>' && is_label(name) { two(text, name_end, known, findings) } else { None };
    }
    let close = tag_end(text, name_end)?;
    if before(text, close) == b'/' {
        return None;
    }
    let (open, end) = content(text, close.saturating_add(1))?;
    let content = cut(text, open, end);
    // What the attributes hold is judged by their own names.
    if is_empty(content) || known.is_marker(trim(content)) || is_placeholder(trim(content)) {
        return None;
    }
    let cdata = open > close.saturating_add(CDATA.len()) && cut(text, 0, open).ends_with(CDATA);
    let closed = cdata || at(text, end) == b'<' && at(text, end.saturating_add(1)) == b'/';
    // `Vec<Token> has`, `<token> or`: without an end tag it takes more to be an element.
    let alone = next == b'>'
        && !before(text, start).is_ascii_alphanumeric()
        && at(content, 0).is_ascii_alphanumeric()
        && !(class == Class::Word && is_prose(trim(content)));
    if !closed && !alone {
        return None;
    }
    let end = if closed { end } else { run(text, open, |byte| !is_blank(byte) && byte != b'<') };
    add(findings, open, end, Rule::Key);
    Some(end)
}

/// The `>` that ends a tag whose attributes begin at `from`.
fn tag_end(text: &[u8], from: usize) -> Option<usize> {
    let limit = text.len().min(from.saturating_add(ATTRIBUTES));
    let mut quote = 0_u8;
    for (offset, &byte) in cut(text, from, limit).iter().enumerate() {
        match byte {
            _ if quote != 0 => quote = if byte == quote { 0 } else { quote },
            b'>' => return Some(from.saturating_add(offset)),
            b'<' => return None,
            _ if is_quote(byte) => quote = byte,
            _ => {}
        }
    }
    None
}

/// An element's text, from `open` up to the next tag, or the content of its CDATA section.
fn content(text: &[u8], open: usize) -> Option<(usize, usize)> {
    let first = run(text, open, is_space);
    let rest = text.get(first..)?;
    if rest.starts_with(CDATA) {
        let open = first.saturating_add(CDATA.len());
        let end = memchr::memmem::find(text.get(open..)?, b"]]>").map_or(text.len(), |end| open.saturating_add(end));
        return Some((open, end));
    }
    Some((open, run(text, open, |byte| byte != b'<')))
}

/// `<name>password</name><value>…</value>`, from the end of the first tag's name on.
fn two(text: &[u8], name_end: usize, known: Known<'_>, findings: &mut Findings) -> Option<usize> {
    let open = name_end.saturating_add(1);
    let end = run_max(text, open, 64, |byte| byte != b'<');
    if at(text, end) != b'<' || name::classify(trim(cut(text, open, end)), known.names) <= Class::Weak {
        return None;
    }
    let after = run_max(text, end, 72, |byte| byte != b'>').saturating_add(1);
    let next = run_max(text, after, 64, is_space);
    if at(text, next) != b'<' || at(text, next.saturating_add(1)) == b'/' {
        return None;
    }
    let open = tag_end(text, next.saturating_add(1))?.saturating_add(1);
    let end = run(text, open, |byte| byte != b'<');
    let content = trim(cut(text, open, end));
    if is_empty(content) || known.is_marker(content) || is_placeholder(content) {
        return None;
    }
    add(findings, open, end, Rule::Key);
    Some(end)
}

fn trim(content: &[u8]) -> &[u8] {
    content.trim_ascii()
}
