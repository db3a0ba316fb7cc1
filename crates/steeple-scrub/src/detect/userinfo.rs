//! Users and passwords in URLs and in the data source names of drivers.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{
    Findings, add, at, before, cut, is_blank, is_quote, random::looks_random, remark::is_placeholder, run, run_back,
    run_max,
};
use crate::marker::{Rule, marker_len};

/// What stands between a URL's scheme and its authority.
pub(crate) static AFTER_SCHEME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"://"));

pub(crate) fn find(text: &[u8], markers: &[Box<str>], findings: &mut Findings) {
    let mut from = 0;
    while let Some(found) = AFTER_SCHEME.find(text.get(from..).unwrap_or_default()) {
        let colon = from.saturating_add(found);
        let start = colon.saturating_add(3);
        from = start;
        if !before(text, colon).is_ascii_alphanumeric() {
            continue;
        }
        if let Some(end) = extent(text, start) {
            let user = cut(text, start, end);
            if marker_len(user, markers) != Some(user.len()) && !is_plain_user(user) {
                add(findings, start, end, Rule::Userinfo);
            }
            from = end;
        }
    }
    driver_names(text, findings);
}

/// The end of the user information that begins at `start`, where an authority begins: the place of its `@`.
///
/// A password with a raw `/`, `?` or `#` in it ends the authority for a URL parser. The rest of it (`user:p`) has
/// no number for a port, and the `@` further on tells.
pub(crate) fn extent(text: &[u8], start: usize) -> Option<usize> {
    let strict =
        run(text, start, |byte| !is_blank(byte) && !is_end(byte) && !matches!(byte, b'/' | b'?' | b'#' | b'\\'));
    if let Some(sign) = memchr::memrchr(b'@', cut(text, start, strict)) {
        let sign = start.saturating_add(sign);
        // `p@ss/w0rd@host`: where there is a password, what goes on to the last `@` may be the rest of it.
        let password = memchr::memchr(b':', cut(text, start, sign)).is_some();
        return if password { later_sign(text, strict).or(Some(sign)) } else { Some(sign) };
    }
    let authority = cut(text, start, strict);
    if authority.starts_with(b"[") {
        return None;
    }
    let colon = memchr::memchr(b':', authority)?;
    let port = authority.get(colon.saturating_add(1)..).unwrap_or_default();
    if colon > 0 && port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    later_sign(text, strict)
}

/// The last `@` of a URL after its authority seemed to end: not one in a query, `?mail=a@b.c`, nor one that begins a segment,
/// `/@name`.
fn later_sign(text: &[u8], strict: usize) -> Option<usize> {
    let loose = run_max(text, strict, 1024, |byte| !is_blank(byte) && !is_end(byte));
    let mut rest = cut(text, strict, loose);
    for mark in memchr::memchr_iter(b'?', rest) {
        let name = mark.saturating_add(1);
        let sign = run(rest, name, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        if sign > name && at(rest, sign) == b'=' {
            rest = cut(rest, 0, mark);
            break;
        }
    }
    let sign = memchr::memrchr(b'@', rest)?;
    (before(rest, sign) != b'/').then(|| strict.saturating_add(sign))
}

const fn is_end(byte: u8) -> bool {
    is_quote(byte) || matches!(byte, b'<' | b'>')
}

/// `ssh://git@host`: a name alone, and a plain one.
fn is_plain_user(user: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_' | b'.');
    user.len() <= 20 && user.iter().all(plain) && !looks_random(user)
}

/// `user:password@tcp(host)/db` of the `MySQL` driver for Go, `jdbc:oracle:thin:user/password@host`.
fn driver_names(text: &[u8], findings: &mut Findings) {
    for sign in memchr::memchr_iter(b'@', text) {
        let rest = text.get(sign..).unwrap_or_default();
        let go = [&b"@tcp("[..], b"@tcp6(", b"@unix(", b"@cloudsql(", b"@("].iter().any(|form| rest.starts_with(form));
        let oracle = matches!(at(rest, 1), b'/' | b'(') || at(rest, 1).is_ascii_alphanumeric();
        if !go && !oracle {
            continue;
        }
        let start = run_back(text, sign, 256, |byte| !is_blank(byte) && !is_end(byte) && byte != b'@');
        let user = cut(text, start, sign);
        if go {
            // `dsn=user:password@tcp(…)`
            let name = memchr::memchr(b'=', user).map_or(0, |equals| equals.saturating_add(1));
            if memchr::memchr(b':', user).is_some() {
                add(findings, start.saturating_add(name), sign, Rule::Userinfo);
            }
        } else if let Some(thin) = memchr::memmem::find(user, b"oracle:thin:") {
            let name = thin.saturating_add(b"oracle:thin:".len());
            add(findings, start.saturating_add(name), sign, Rule::Userinfo);
        }
    }
}

/// `user:password`, and neither a URL, a port nor the ids of a user and a group.
pub(super) fn is_user(value: &[u8]) -> bool {
    let Some(sign) = value.iter().position(|byte| matches!(byte, b':' | b'%')) else { return false };
    let (user, password) = value.split_at(sign);
    let password = password.get(1..).unwrap_or_default();
    let plain = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'-' | b'_' | b'@' | b'\'' | b'"' | b'$' | b'{' | b'}' | b'\\')
    };
    let ids = value.iter().all(|byte| byte.is_ascii_digit() || *byte == b':');
    user.iter().all(plain) && !ids && !password.starts_with(b"//") && !is_hole(password) && !is_example(user, password)
}

/// `username:password`, as manuals write it.
fn is_example(user: &[u8], password: &[u8]) -> bool {
    const USERS: [&[u8]; 5] = [b"login", b"test", b"user", b"username", b"xxx"];
    const PASSWORDS: [&[u8]; 7] = [b"pass", b"passwd", b"password", b"test", b"token", b"xxx", b"yyy"];
    let is_one = |words: &[&[u8]], part: &[u8]| words.iter().any(|word| bare(part).eq_ignore_ascii_case(word));
    is_one(&USERS, user) && is_one(&PASSWORDS, password)
}

/// What stands between quotes, as far as there are any.
fn bare(text: &[u8]) -> &[u8] {
    let quote = |byte: &u8| matches!(byte, b'"' | b'\'' | b'\\');
    let from = text.iter().position(|byte| !quote(byte)).unwrap_or(text.len());
    let to = text.iter().rposition(|byte| !quote(byte)).map_or(from, |last| last.saturating_add(1));
    cut(text, from, to)
}

/// Is it what a script puts the password in for: `$PASSWORD`, `"${password}"`, `[PASSWORD]`, nothing?
fn is_hole(password: &[u8]) -> bool {
    let bare = bare(password);
    let constant =
        |name: &[u8]| name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_');
    match bare {
        [] | [b'$', b'{' | b'(', ..] => true,
        [b'$', name @ ..] | [b'[', name @ .., b']'] => constant(name),
        _ => bare.starts_with(b"[redacted:") || is_placeholder(bare),
    }
}
