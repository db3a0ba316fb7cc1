//! Names and values in text: `password=…`, `"token": "…"`, `Server=…;Password=…`, `<secret>…</secret>`, `--api-key …`,
//! `IDENTIFIED BY '…'`.

use super::{
    Findings, Table, add, at, before, cut, is_blank, is_in, is_quote, is_space,
    random::{is_prose, looks_random},
    run, run_back, run_max, scheme, table,
};
use crate::{
    marker::{Rule, marker_len},
    name::{self, Class, Names},
};

/// What the configuration knows of names and markers.
#[derive(Clone, Copy)]
pub(crate) struct Known<'p> {
    pub(crate) names: &'p Names,
    pub(crate) markers: &'p [Box<str>],
}

impl Known<'_> {
    fn is_marker(self, value: &[u8]) -> bool {
        marker_len(value, self.markers) == Some(value.len())
    }
}

/// What may stand between a name and its value, or before both.
static SIGNS: Table = table(b"=:[<-\"'");

pub(crate) fn find(text: &[u8], known: Known<'_>, findings: &mut Findings) {
    let mut from = 0;
    loop {
        from = run(text, from, |byte| !is_in(&SIGNS, byte));
        if from >= text.len() {
            return;
        }
        let byte = at(text, from);
        let next = match byte {
            b'=' | b':' => pair(text, from, known, findings),
            b'[' => marker_len(text.get(from..).unwrap_or_default(), known.markers).map(|len| from.saturating_add(len)),
            b'<' => element(text, from, known, findings),
            b'-' if at(text, from.saturating_add(1)) == b'-' => flag(text, from, known, findings),
            b'"' | b'\'' if is_space(before(text, from)) => statement(text, from, known, findings),
            _ => None,
        };
        from = next.unwrap_or(0).max(from.saturating_add(1));
    }
}

static NAME: Table = table(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.$@[]");

#[inline]
fn is_name(byte: u8) -> bool {
    is_in(&NAME, byte)
}

/// How the name is written.
struct Key {
    class: Class,
    end: usize,
    quoted: bool,
    /// Ends the line with it: `Authorization`, `Cookie`.
    line: bool,
}

impl Key {
    /// A value of this name is nearly always secret; the others are asked first.
    fn is_sure(&self) -> bool {
        matches!(self.class, Class::Strong | Class::Word)
    }
}

/// The name before the separator at `sign`.
fn key(text: &[u8], sign: usize, names: &Names) -> Option<Key> {
    let mut end = run_back(text, sign, 2, |byte| byte == b' ');
    let mut quoted = false;
    if at(text, end.wrapping_sub(1)) == b']' && is_quote(at(text, end.wrapping_sub(2))) {
        end = end.saturating_sub(1);
    }
    if is_quote(before(text, end)) {
        // Backticks quote a name in prose: "invalid value for `token`: must not be empty".
        quoted = before(text, end) != b'`';
        end = run_back(text, end.saturating_sub(1), 8, |byte| byte == b'\\');
    }
    let start = run_back(text, end, 64, is_name);
    if start == end {
        return None;
    }
    let (class, name) = if quoted {
        (name::classify(cut(text, start, end), names), cut(text, start, end))
    } else {
        phrase(text, start, end, names)
    };
    let ends = |word: &[u8]| {
        name.len() >= word.len()
            && name.get(name.len().saturating_sub(word.len())..).is_some_and(|tail| tail.eq_ignore_ascii_case(word))
    };
    let line = class > Class::Weak && (ends(b"authorization") || ends(b"cookie"));
    (class != Class::Open).then_some(Key { class, end, quoted, line })
}

/// What the word in `start..end` says, together with the one or two before it.
pub(crate) fn phrase<'t>(text: &'t [u8], start: usize, end: usize, names: &Names) -> (Class, &'t [u8]) {
    let mut name = cut(text, start, end);
    let mut class = name::classify(name, names);
    if class <= Class::Weak {
        // "API key: …", "session id: …"
        const TAILS: [&[u8]; 8] = [b"key", b"id", b"number", b"code", b"phrase", b"string", b"token", b"no"];
        if TAILS.iter().any(|tail| name.eq_ignore_ascii_case(tail)) {
            let gap = run_back(text, start, 1, |byte| byte == b' ');
            let word = run_back(text, gap, 24, |byte| byte.is_ascii_alphabetic());
            let gap = run_back(text, word, 1, |byte| byte == b' ');
            let two = run_back(text, gap, 24, |byte| byte.is_ascii_alphabetic());
            for from in [word, two] {
                let phrase = cut(text, from, end);
                let said = name::classify(phrase, names);
                if said > class {
                    class = said;
                    name = phrase;
                }
            }
        }
    }
    (class, name)
}

fn pair(text: &[u8], sign: usize, known: Known<'_>, findings: &mut Findings) -> Option<usize> {
    let colon = at(text, sign) == b':';
    let after = at(text, sign.saturating_add(1));
    let last = before(text, sign);
    // `::`, `==`, `!=`, `<=`, `://` separate something else.
    if colon && (after == b':' || last == b':')
        || !colon && (after == b'=' || matches!(last, b'=' | b'!' | b'<' | b'>' | b'~'))
    {
        return None;
    }
    if colon && after == b'/' && at(text, sign.saturating_add(2)) == b'/' {
        return None;
    }
    let key = key(text, if !colon && last == b':' { sign.saturating_sub(1) } else { sign }, known.names)?;
    let arrow = !colon && after == b'>' || colon && after == b'=';
    let gap = sign.saturating_add(if arrow { 2 } else { 1 });
    let start = run(text, gap, |byte| matches!(byte, b' ' | b'\t'));
    // `password: ` with white space after it, no quotes: prose or YAML.
    let prose = colon && !key.quoted && !arrow && start > gap;
    let mut value = self::value(text, start, &key, prose, key.is_sure())?;
    let content = cut(text, value.start, value.end);
    if content.is_empty()
        || known.is_marker(content)
        || !is_secret(content, &key, prose || colon && !key.quoted, value.quoted)
    {
        return None;
    }
    if !key.is_sure() {
        value = self::value(text, start, &key, prose, true)?;
    }
    let rule = if key.class == Class::Weak { Rule::Entropy } else { Rule::Key };
    add(findings, value.start, value.end, rule);
    Some(value.end)
}

/// Judges the value of a name that says enough to ask.
fn is_secret(content: &[u8], key: &Key, prose: bool, quoted: bool) -> bool {
    if content.len() <= 64 && is_placeholder(content) {
        return false;
    }
    match key.class {
        Class::Open => false,
        Class::Weak => looks_random(content),
        Class::Digits if prose => {
            content.iter().filter(|byte| byte.is_ascii_digit()).count() >= 3 && content.len() <= 16
        }
        Class::Digits => content.iter().any(u8::is_ascii_alphanumeric),
        Class::Word if prose && !quoted => !is_prose(content),
        Class::Word if !content.iter().any(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80) => false,
        Class::Word => !(content.len() <= 3 && content.iter().all(u8::is_ascii_digit)),
        Class::Strong => {
            content.iter().any(|byte| !matches!(byte, b'*' | b'.' | b'-')) && !(prose && !quoted && is_remark(content))
        }
    }
}

/// Stands for a value, or says that there is none.
fn is_placeholder(content: &[u8]) -> bool {
    const NOTHING: [&[u8]; 18] = [
        b"null",
        b"none",
        b"nil",
        b"undefined",
        b"true",
        b"false",
        b"?",
        b"%s",
        b"[redacted]",
        b"<redacted>",
        b"[filtered]",
        b"redacted",
        b"filtered",
        b"[hidden]",
        b"...",
        b"sensitive",
        b"<hidden>",
        b"[masked]",
    ];
    let name = |inner: &[u8]| {
        !inner.is_empty()
            && inner.iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.' | b' ' | b'-'))
    };
    NOTHING.iter().any(|nothing| content.eq_ignore_ascii_case(nothing))
        || content.iter().all(|byte| matches!(byte, b'*' | b'.' | b'-'))
        || content.len() >= 3 && content.iter().all(|byte| matches!(byte, b'x' | b'X'))
        || content
            .strip_prefix(b"$")
            .is_some_and(|rest| !rest.is_empty() && rest.len() <= 2 && rest.iter().all(u8::is_ascii_digit))
        || content.strip_prefix(b"${").and_then(|rest| rest.strip_suffix(b"}")).is_some_and(name)
        || content.strip_prefix(b"{{").and_then(|rest| rest.strip_suffix(b"}}")).is_some_and(name)
        || content
            .strip_prefix(b"{")
            .and_then(|rest| rest.strip_suffix(b"}"))
            .is_some_and(|rest| rest.is_empty() || name(rest))
        || content.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).is_some_and(name)
}

/// What an error message says about a password: "password: must be longer".
fn is_remark(content: &[u8]) -> bool {
    const REMARKS: [&[u8]; 42] = [
        b"required",
        b"missing",
        b"invalid",
        b"incorrect",
        b"wrong",
        b"expired",
        b"must",
        b"is",
        b"was",
        b"should",
        b"cannot",
        b"can't",
        b"too",
        b"has",
        b"empty",
        b"unset",
        b"mismatch",
        b"changed",
        b"reset",
        b"not",
        b"no",
        b"authentication",
        b"does",
        b"field",
        b"value",
        b"please",
        b"failed",
        b"the",
        b"a",
        b"an",
        b"at",
        b"may",
        b"expected",
        b"unexpected",
        b"blank",
        b"short",
        b"error",
        b"length",
        b"string",
        b"str",
        b"option",
        b"unknown",
    ];
    let word = content.strip_suffix(b".").unwrap_or(content);
    REMARKS.iter().any(|remark| word.eq_ignore_ascii_case(remark))
        || !content.iter().any(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80) && content.len() < 4
}

struct Value {
    start: usize,
    end: usize,
    quoted: bool,
}

/// A value that may turn out not to be secret is read no further than this.
const LOOK: usize = 512;

/// The value that begins at `start`. `sure`: it is secret whatever it says, or is known to be; it is read to its end.
fn value(text: &[u8], start: usize, key: &Key, prose: bool, sure: bool) -> Option<Value> {
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
fn quoted(text: &[u8], start: usize, max: usize) -> Option<(usize, usize)> {
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

/// `<password>…</password>`.
fn element(text: &[u8], start: usize, known: Known<'_>, findings: &mut Findings) -> Option<usize> {
    let name = start.saturating_add(1);
    let end = run_max(text, name, 64, |byte| is_name(byte) || byte == b':');
    if end == name || at(text, end) != b'>' {
        return None;
    }
    let class = name::classify(cut(text, name, end), known.names);
    if class <= Class::Weak {
        return None;
    }
    let open = end.saturating_add(1);
    // Without an end tag, as `Vec<Token>` has none, there is no element.
    let close = run(text, open, |byte| byte != b'<');
    let content = cut(text, open, close);
    if at(text, close.saturating_add(1)) != b'/'
        || content.iter().all(|byte| is_blank(*byte))
        || known.is_marker(content)
    {
        return Some(close);
    }
    add(findings, open, close, Rule::Key);
    Some(close)
}

/// `--password hunter2`.
fn flag(text: &[u8], start: usize, known: Known<'_>, findings: &mut Findings) -> Option<usize> {
    if start > 0 && !is_space(before(text, start)) && !is_quote(before(text, start)) {
        return None;
    }
    let name = start.saturating_add(2);
    let end = run_max(text, name, 64, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if at(text, end) != b' ' || end == name {
        return None;
    }
    let class = name::classify(cut(text, name, end), known.names);
    let value = run(text, end, |byte| byte == b' ');
    let (value, close) =
        quoted(text, value, text.len()).unwrap_or_else(|| (value, run(text, value, |byte| !is_blank(byte))));
    let content = cut(text, value, close);
    if class <= Class::Weak
        || content.is_empty()
        || content.starts_with(b"-")
        || known.is_marker(content)
        || is_placeholder(content)
    {
        return None;
    }
    add(findings, value, close, Rule::Key);
    Some(close)
}

/// `PASSWORD 'hunter2'`, `IDENTIFIED BY 'hunter2'`.
fn statement(text: &[u8], quote: usize, known: Known<'_>, findings: &mut Findings) -> Option<usize> {
    let gap = run_back(text, quote, 2, is_space);
    let start = run_back(text, gap, 32, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let mut word = cut(text, start, gap);
    if word.eq_ignore_ascii_case(b"by") {
        let gap = run_back(text, start, 2, is_space);
        word = cut(text, run_back(text, gap, 16, |byte| byte.is_ascii_alphabetic()), gap);
        if !word.eq_ignore_ascii_case(b"identified") {
            return None;
        }
    } else if name::classify(word, known.names) != Class::Strong {
        return None;
    }
    let (open, end) = quoted(text, quote, LOOK)?;
    let content = cut(text, open, end);
    if content.is_empty()
        || known.is_marker(content)
        || is_placeholder(content)
        || memchr::memchr(b'\n', content).is_some()
    {
        return None;
    }
    add(findings, open, end, Rule::Key);
    Some(end)
}
