//! E-mail addresses.

use super::{Findings, add, at, before, cut, run, run_back};
use crate::marker::Rule;

pub(crate) fn find(text: &[u8], findings: &mut Findings) {
    for sign in memchr::memchr_iter(b'@', text) {
        let start = local_start(text, sign);
        if start == sign {
            continue;
        }
        let domain = sign.saturating_add(1);
        let mut end =
            run(text, domain, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.') || byte >= 0x80);
        // A full stop or a dash belongs to the sentence.
        end = run_back_trim(text, domain, end);
        if is_domain(cut(text, domain, end)) && !is_other(cut(text, start, sign), cut(text, domain, end), at(text, end))
        {
            add(findings, start, end, Rule::Email);
        }
    }
}

fn run_back_trim(text: &[u8], domain: usize, end: usize) -> usize {
    let max = end.saturating_sub(domain);
    run_back(text, end, max, |byte| matches!(byte, b'.' | b'-'))
}

/// An address's local part has at most 64 characters; a longer one is removed as a whole, back to the `@` before.
fn local_start(text: &[u8], sign: usize) -> usize {
    if before(text, sign) == b'"' {
        let end = sign.saturating_sub(1);
        let start = run_back(text, end, 64, |byte| !matches!(byte, b'"' | b'@' | b'\n' | b'='));
        if before(text, start) == b'"' && start < end {
            return start.saturating_sub(1);
        }
    }
    let start = run_back(text, sign, usize::MAX, is_local);
    // `'a@b.c'`, `name=a@b.c`, `?a@b.c`: the sign in front is not the address's.
    let mut first = start;
    while first < sign
        && matches!(
            at(text, first),
            b'.' | b'-' | b'\'' | b'=' | b'?' | b'&' | b'/' | b'*' | b'|' | b'{' | b'}' | b'#' | b'`' | b'!'
        )
    {
        first = first.saturating_add(1);
    }
    let split = cut(text, first, sign).iter().rposition(|byte| matches!(byte, b'=' | b'?' | b'&' | b'/' | b'#' | b'|'));
    split.map_or(first, |split| first.saturating_add(split).saturating_add(1))
}

const fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || byte >= 0x80
        || matches!(
            byte,
            b'.' | b'!'
                | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'/'
                | b'='
                | b'?'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
                | b'-'
        )
}

/// Labels with dots between them, the last of at least two letters.
fn is_domain(domain: &[u8]) -> bool {
    let mut labels = domain.split(|&byte| byte == b'.');
    let last = labels.next_back().unwrap_or_default();
    let mut others = labels.peekable();
    others.peek().is_some()
        && others.all(|label| !label.is_empty() && !label.starts_with(b"-") && !label.ends_with(b"-"))
        && last.len() >= 2
        && (last.iter().all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80) || last.starts_with(b"xn--"))
}

/// `git@github.com:owner/name`, `logo@2x.png`, `getty@tty1.service`, `serde@1.0.beta`.
fn is_other(local: &[u8], domain: &[u8], next: u8) -> bool {
    const UNITS: [&[u8]; 14] = [
        b".png",
        b".jpg",
        b".jpeg",
        b".gif",
        b".svg",
        b".webp",
        b".css",
        b".js",
        b".service",
        b".socket",
        b".timer",
        b".target",
        b".mount",
        b".slice",
    ];
    let version = domain.strip_prefix(b"v").unwrap_or(domain);
    (local == b"git" && matches!(next, b':' | b'/'))
        || UNITS.iter().any(|unit| domain.ends_with(unit))
        || (at(version, 0).is_ascii_digit()
            && version.split(|&byte| byte == b'.').take(2).all(|label| label.iter().all(u8::is_ascii_digit)))
}
