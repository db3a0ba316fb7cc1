//! Credentials after the name of their scheme: `Bearer …`, `Basic …`; and passwords in prose: `password is …`.

use super::{
    Findings, add, at, before, cut, is_blank, is_quote, is_space,
    phrase::{Known, phrase},
    run, run_back,
    userinfo::is_user,
};
use crate::{
    marker::Rule,
    name::Class,
    scan::{self, lane},
};

/// Credentials without a digit or a capital are at least that long.
pub(crate) const LONG_RUN: u32 = 24;

/// Returns how long the longest stretch without spaces and tabs is, which only this has to know on its way.
pub(crate) fn find(text: &[u8], known: Known<'_>, findings: &mut Findings) -> usize {
    let mut from = 0;
    let (mut last, mut longest) = (0, 0);
    for gap in scan::places(text, |byte| lane(byte == b' ') | lane(byte == b'\t')) {
        longest = gap.saturating_sub(last).max(longest);
        last = gap;
        // The last two letters of the words below; few other words end so.
        let ends = matches!(
            [before(text, gap.saturating_sub(1)) | 0x20, before(text, gap) | 0x20],
            [b'e', b'r' | b'n' | b'y']
                | [b'i', b'c']
                | [b's', b't']
                | [b't' | b'r', b'e']
                | [b'l', b'm']
                | [b'o', b'p']
                | [b'w', b'k']
                | [b't', b'h']
                | [b'5', b'6']
                | [b'r', b'y' | b'd']
                | [b'i' | b'a', b's']
                | [b'-', b'u']
        );
        if gap < from || !ends {
            continue;
        }
        let start = run_back(text, gap, 20, |byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let word = cut(text, start, gap);
        let value = run(text, gap, |byte| matches!(byte, b' ' | b'\t'));
        if let Some((end, rule)) = credentials(text, word, value) {
            add(findings, value, end, rule);
            from = end;
        } else if let Some(end) = said(text, start, word, value, known) {
            add(findings, value, end, Rule::Key);
            from = end;
        } else if word == b"password" && is_netrc(text, start) {
            let end = run(text, value, |byte| !is_blank(byte));
            if !known.is_marker(cut(text, value, end)) {
                add(findings, value, end, Rule::Key);
                from = end;
            }
        } else if word == b"-u" && start > 0 && is_space(at(text, start.saturating_sub(1))) {
            // `curl -u user:password`
            let end = run(text, value, |byte| !is_blank(byte));
            if memchr::memchr(b':', cut(text, value, end)).is_some_and(|colon| colon > 0)
                && is_user(cut(text, value, end))
            {
                add(findings, value, end, Rule::Userinfo);
                from = end;
            }
        }
    }
    text.len().saturating_sub(last).max(longest)
}

const fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'%' | b':' | b'|' | b'!' | b'$' | b'*')
}

/// Does `word` name a scheme of HTTP's authentication?
pub(super) fn is_scheme(word: &[u8]) -> bool {
    const SCHEMES: [&[u8]; 14] = [
        b"apikey",
        b"aws4-hmac-sha256",
        b"basic",
        b"bearer",
        b"digest",
        b"dpop",
        b"hawk",
        b"negotiate",
        b"ntlm",
        b"oauth",
        b"sentry",
        b"signature",
        b"token",
        b"key",
    ];
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// The end of the credentials at `value`, if `word` names a scheme and they look like it.
pub(crate) fn credentials(text: &[u8], word: &[u8], value: usize) -> Option<(usize, Rule)> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    if is(b"basic") {
        let end = run(text, value, is_token68);
        return is_basic(cut(text, value, end)).then_some((end, Rule::Basic));
    }
    if is(b"bearer") || is(b"negotiate") || is(b"ntlm") || is(b"token") || is(b"apikey") || is(b"dpop") {
        let end = run(text, value, is_token68);
        let token = cut(text, value, end);
        let random = if is(b"bearer") { is_token(token) } else { super::random::looks_random(token) };
        return random.then_some((end, Rule::Bearer));
    }
    if is(b"digest") || is(b"hawk") || is(b"oauth") || is(b"aws4-hmac-sha256") || is(b"signature") || is(b"sentry") {
        let name = run(text, value, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        let names: [&[u8]; 13] = [
            b"username",
            b"realm",
            b"nonce",
            b"response",
            b"id",
            b"oauth_consumer_key",
            b"oauth_token",
            b"Credential",
            b"keyId",
            b"keyid",
            b"sentry_key",
            b"sentry_version",
            b"qop",
        ];
        if name > value && at(text, name) == b'=' && names.contains(&cut(text, value, name)) {
            return Some((parameters_end(text, value), Rule::Digest));
        }
    }
    None
}

/// The end of `name="value", name=value, …`.
fn parameters_end(text: &[u8], start: usize) -> usize {
    let mut end = start;
    loop {
        end = run(text, end, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if at(text, end) != b'=' {
            return end;
        }
        end = end.saturating_add(1);
        end = if at(text, end) == b'"' {
            run(text, end.saturating_add(1), |byte| !matches!(byte, b'"' | b'\n')).saturating_add(1).min(text.len())
        } else {
            run(text, end, |byte| !is_blank(byte) && !is_quote(byte) && byte != b',')
        };
        let next = run(text, end, |byte| matches!(byte, b',' | b' '));
        let name = run(text, next, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if next == end || name == next || at(text, name) != b'=' {
            return end;
        }
        end = next;
    }
}

/// Base64 of `user:password`.
fn is_basic(value: &[u8]) -> bool {
    let decoded = base64(value, 192);
    let printable = decoded.iter().all(|byte| *byte >= b' ' && *byte != 0x7f);
    let colon = memchr::memchr(b':', &decoded).is_some();
    // Not as in RFC 7617, but after `Basic` nothing else is as long and as mixed.
    value.len() >= 4 && (colon && printable || super::random::looks_random(value))
}

/// Long enough, and not a word of prose: digits, capitals within or sheer length.
fn is_token(value: &[u8]) -> bool {
    let letters = value.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    let digit = value.iter().any(u8::is_ascii_digit);
    let inner = value.get(1..).unwrap_or_default();
    let mixed = inner.iter().any(u8::is_ascii_uppercase) && inner.iter().any(u8::is_ascii_lowercase);
    let named = memchr::memchr(b'=', value.strip_suffix(b"=").unwrap_or(value)).is_some_and(|equals| {
        // `token id=42`: a pair's own business.
        value.get(equals.saturating_add(1)..).is_some_and(|rest| rest.iter().any(|byte| *byte != b'='))
    });
    let path = value.starts_with(b"/") || memchr::memmem::find(value, b"://").is_some();
    letters >= 8 && !named && !path && (digit || mixed && letters >= 16 || letters >= 24)
}

/// The beginning of what base64, of either alphabet, stands for; nothing when it is not base64.
pub(crate) fn base64(value: &[u8], max: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(max.min(value.len()));
    let mut bits = 0_u32;
    let mut count = 0_u32;
    for &byte in value {
        let six = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => break,
            _ => return Vec::new(),
        };
        bits = (bits << 6 | u32::from(six)) & 0x00ff_ffff;
        count = count.saturating_add(6);
        if count >= 8 {
            count = count.saturating_sub(8);
            out.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
        }
        if out.len() >= max {
            break;
        }
    }
    out
}

/// `password is hunter2`: the end of the password.
fn said(text: &[u8], start: usize, word: &[u8], value: usize, known: Known<'_>) -> Option<usize> {
    if !word.eq_ignore_ascii_case(b"is") && !word.eq_ignore_ascii_case(b"was") {
        return None;
    }
    let gap = run_back(text, start, 2, |byte| byte == b' ');
    let subject = run_back(text, gap, 32, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if phrase(text, subject, gap, known.names).0 <= Class::Weak {
        return None;
    }
    let end = run(text, value, |byte| !is_blank(byte) && !is_quote(byte) && !matches!(byte, b',' | b';'));
    let said = cut(text, value, end);
    let telling = said.iter().any(u8::is_ascii_digit) && said.len() >= 4;
    (telling && !said.starts_with(b"[redacted:")).then_some(end)
}

/// `machine host login user password`: the last word begins at `start`.
fn is_netrc(text: &[u8], start: usize) -> bool {
    let gap = run_back(text, start, 8, is_space);
    let user = run_back(text, gap, 128, |byte| !is_blank(byte));
    let gap = run_back(text, user, 8, is_space);
    let word = run_back(text, gap, 8, |byte| byte.is_ascii_alphabetic());
    gap < user && matches!(cut(text, word, gap), b"login" | b"account")
}
