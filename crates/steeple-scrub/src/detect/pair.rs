//! Names and values in text: `password=…`, `"token": "…"`, `Server=…;Password=…`, `let token: &str = "…"`,
//! `IDENTIFIED BY '…'`. What stands in another order is in `list`, `element` and `command`.

use super::{
    Findings, add, at, before, command, cut, element, is_space,
    key::{Key, is_name, key},
    list,
    phrase::Known,
    random::{is_prose, looks_opaque},
    remark::{is_folder, is_placeholder, is_remark},
    run, run_back, run_max, scheme,
    value::{self, LOOK, quoted},
};
use crate::{
    marker::{Rule, marker_len},
    name::{self, Class, Names},
    scan::{self, lane},
};

pub(crate) fn find(text: &[u8], known: Known<'_>, findings: &mut Findings) {
    let mut from = 0;
    for place in scan::places(text, is_sign) {
        if place < from {
            continue;
        }
        let next = match at(text, place) {
            b'=' | b':' => pair(text, place, known, findings),
            b'[' => {
                marker_len(text.get(place..).unwrap_or_default(), known.markers).map(|len| place.saturating_add(len))
            }
            b'<' => element::find(text, place, known, findings),
            b'-' if at(text, place.saturating_add(1)) == b'-' => command::flag(text, place, known, findings),
            b'-' if before(text, place) == b' ' => command::option(text, place, known, findings),
            b'"' | b'\'' if is_space(before(text, place)) => statement(text, place, known, findings),
            b'"' | b'\'' if at(text, place.saturating_add(1)) == b',' => list::two(text, place, known, findings),
            _ => None,
        };
        from = next.unwrap_or(from);
    }
}

/// What may stand between a name and its value, or before both: `=:[<-"'`.
#[inline]
const fn is_sign(byte: u8) -> u8 {
    lane(byte == b'=')
        | lane(byte == b':')
        | lane(byte == b'[')
        | lane(byte == b'<')
        | lane(byte == b'-')
        | lane(byte == b'"')
        | lane(byte == b'\'')
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
    // `:=`, `::=`, `?=`, `+=`, `.=`, `??=`, `||=`
    let operator =
        if colon { sign } else { run_back(text, sign, 3, |byte| matches!(byte, b':' | b'?' | b'+' | b'.' | b'|')) };
    // `q=0.9`: one letter means nothing, unless the configuration has it.
    let letter = operator.saturating_sub(1);
    if at(text, letter).is_ascii_alphanumeric() && !is_name(before(text, letter)) && known.names.denied.is_empty() {
        return None;
    }
    let types =
        || if colon || before(text, operator) != b' ' { None } else { typed(text, sign, operator, known.names) };
    let key = match key(text, operator, known.names) {
        Some(key) if key.class > Class::Weak => key,
        Some(key) => {
            if list::is_label(key.name)
                && let Some(next) = list::labeled(text, sign, &key, known, findings)
            {
                return Some(next);
            }
            types().unwrap_or(key)
        }
        None => types()?,
    };
    if key.class == Class::Open {
        return None;
    }
    let arrow = !colon && after == b'>' || colon && after == b'=';
    let gap = sign.saturating_add(if arrow { 2 } else { 1 });
    let start = run(text, gap, |byte| matches!(byte, b' ' | b'\t'));
    // `password: ` with white space after it, no quotes: prose or YAML.
    let prose = colon && !key.quoted && !arrow && start > gap;
    if prose && type_end(text, start).is_some() {
        // The value comes after the `=`.
        return None;
    }
    if prose
        && key.class > Class::Weak
        && let Some((open, end)) = value::block(text, start)
        && !known.is_marker(cut(text, open, end))
    {
        add(findings, open, end, Rule::Key);
        return Some(end);
    }
    let mut value = value::value(text, start, &key, prose, key.is_sure())?;
    let content = cut(text, value.start, value.end);
    if content.is_empty()
        || known.is_marker(content)
        || !is_secret(content, &key, prose || colon && !key.quoted, value.quoted)
    {
        return None;
    }
    if !key.is_sure() {
        value = value::value(text, start, &key, prose, true)?;
    }
    let rule = if key.class == Class::Weak { Rule::Entropy } else { Rule::Key };
    add(findings, value.start, value.end, rule);
    Some(value.end)
}

/// `token: &str = …`: the name before the type that stands before the `=` at `sign`.
#[inline(never)]
fn typed<'t>(text: &'t [u8], sign: usize, operator: usize, names: &Names) -> Option<Key<'t>> {
    let from = operator.saturating_sub(64);
    let colon = from.saturating_add(memchr::memrchr(b':', cut(text, from, operator))?);
    // `&std::string::String`
    let colon = if before(text, colon) == b':' {
        let path = run_back(text, colon, 48, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'&'));
        run_back(text, path, 2, |byte| byte == b' ').saturating_sub(1)
    } else {
        colon
    };
    let start = run(text, colon.saturating_add(1), |byte| byte == b' ');
    let found = key(text, colon, names)?;
    (at(text, colon) == b':' && found.class > Class::Weak && type_end(text, start) == Some(sign)).then_some(found)
}

/// The place of the `=` after the type that begins at `start`: `&'static str =`, `Option<String> =`, `string | null =`.
fn type_end(text: &[u8], start: usize) -> Option<usize> {
    const SMALL: [&[u8]; 20] = [
        b"any",
        b"auto",
        b"bool",
        b"boolean",
        b"byte",
        b"bytes",
        b"char",
        b"const",
        b"float",
        b"int",
        b"number",
        b"object",
        b"str",
        b"string",
        b"text",
        b"u8",
        b"var",
        b"varchar",
        b"void",
        b"xs:string",
    ];
    let mut word = run_max(text, start, 4, |byte| matches!(byte, b'&' | b'*'));
    for prefix in [&b"'static "[..], b"mut ", b"const ", b"readonly "] {
        if text.get(word..).unwrap_or_default().starts_with(prefix) {
            word = word.saturating_add(prefix.len());
        }
    }
    let end = run_max(text, word, 48, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.'));
    let name = cut(text, word, end).rsplit(|byte| matches!(byte, b':' | b'.')).next().unwrap_or_default();
    let capital = at(name, 0).is_ascii_uppercase() && name.iter().all(u8::is_ascii_alphabetic);
    if !capital && !SMALL.contains(&name) {
        return None;
    }
    let end = run_max(text, end, 48, |byte| {
        byte.is_ascii_alphabetic()
            || matches!(byte, b'<' | b'>' | b'[' | b']' | b'?' | b'!' | b'|' | b',' | b' ' | b':' | b'&' | b'*')
    });
    let equals = run_max(text, end, 3, |byte| byte == b' ');
    let alone = at(text, equals) == b'=' && !matches!(at(text, equals.saturating_add(1)), b'=' | b'>');
    (alone && before(text, equals) == b' ').then_some(equals)
}

/// Judges the value of a name that is suspicious enough.
fn is_secret(content: &[u8], key: &Key<'_>, prose: bool, quoted: bool) -> bool {
    if content.len() <= 64 && is_placeholder(content) {
        return false;
    }
    match key.class {
        Class::Open => false,
        Class::Weak => looks_opaque(content),
        Class::Folder => !is_folder(content) && content.iter().any(u8::is_ascii_alphanumeric),
        Class::Digits if prose => {
            content.iter().filter(|byte| byte.is_ascii_digit()).count() >= 3 && content.len() <= 16
        }
        Class::Digits => content.iter().any(u8::is_ascii_alphanumeric),
        Class::Word if prose && !quoted && key.line => !is_answer(content),
        Class::Word if prose && !quoted => !is_prose(content),
        Class::Word if !content.iter().any(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80) => false,
        Class::Word => !(content.len() <= 3 && content.iter().all(u8::is_ascii_digit)),
        Class::Strong => {
            content.iter().any(|byte| !matches!(byte, b'*' | b'.' | b'-')) && !(prose && !quoted && is_remark(content))
        }
    }
}

/// "authorization: denied for user 7" reports a result.
fn is_answer(content: &[u8]) -> bool {
    let mut words = content.split(|&byte| byte == b' ');
    let first = words.next().unwrap_or_default();
    is_prose(first) && (!scheme::is_scheme(first) || words.clone().next().is_none()) && words.all(is_prose)
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
