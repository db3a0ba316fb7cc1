//! Tokens that have a form but no prefix.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{
    at, before, cut,
    random::looks_random,
    run, run_back, run_max,
    shape::{Body, is_filler},
};
use crate::marker::Rule;

/// The token that begins at `start`: where it begins and ends, and its rule.
pub(super) fn find(text: &[u8], start: usize) -> Option<(usize, usize, Rule)> {
    let end = run(text, start, |byte| byte.is_ascii_alphanumeric());
    let word = cut(text, start, end);
    let to = match at(text, end) {
        // New Relic licence keys.
        _ if word.len() == 40 && word.ends_with(b"NRAL") => return Some((start, end, Rule::NewRelic)),
        b'~' => return azure(text, start, end),
        b'-' => mailchimp(text, end, word).or_else(|| one_password(text, start, word)),
        b':' => telegram(text, end, word),
        b'|' | b'%' => facebook(text, end, word),
        b'_' => maxmind(text, end, word).or_else(|| authress(text, end, word)),
        b'.' => terraform(text, end, word)
            .or_else(|| vault(text, end, word))
            .or_else(|| harness(text, end, word))
            .or_else(|| airtable(text, end, word)),
        _ => None,
    };
    to.or_else(|| discord(text, start)).map(|to| (start, to, Rule::Token))
}

/// The end of exactly `len` bytes of `body` at `start`.
fn exactly(text: &[u8], start: usize, len: usize, body: Body) -> Option<usize> {
    let end = run_max(text, start, len.saturating_add(1), |byte| body.has(byte));
    (end.saturating_sub(start) == len).then_some(end)
}

/// The end of `sign` and `len` bytes of `body` after it.
fn then(text: &[u8], start: usize, sign: u8, len: usize, body: Body) -> Option<usize> {
    if at(text, start) != sign {
        return None;
    }
    exactly(text, start.saturating_add(1), len, body)
}

/// Telegram bots: `123456789:AA…`; `bot123456789:AA…` in their URLs.
fn telegram(text: &[u8], end: usize, word: &[u8]) -> Option<usize> {
    let id = word.strip_prefix(b"bot").unwrap_or(word);
    if !(5..=16).contains(&id.len()) || !id.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let body = end.saturating_add(1);
    let to = exactly(text, body, 35, Body::Url)?;
    (at(text, body) == b'A' || looks_random(cut(text, body, to))).then_some(to)
}

/// Mailchimp: `…-us6`.
fn mailchimp(text: &[u8], end: usize, word: &[u8]) -> Option<usize> {
    let number = end.saturating_add(3);
    let here = word.len() == 32
        && text.get(end..).unwrap_or_default().starts_with(b"-us")
        && at(text, number).is_ascii_digit();
    here.then(|| run(text, number, |byte| byte.is_ascii_digit()))
}

/// 1Password's secret keys: `A3-` and groups of capitals, 6, 11 (or 6 and 5), 5, 5, 5.
fn one_password(text: &[u8], start: usize, word: &[u8]) -> Option<usize> {
    if word != b"A3" {
        return None;
    }
    let groups = |groups: &[usize]| {
        groups.iter().try_fold(start.saturating_add(2), |end, &len| then(text, end, b'-', len, Body::Upper))
    };
    let end = groups(&[6, 6, 5, 5, 5, 5]).or_else(|| groups(&[6, 11, 5, 5, 5]))?;
    (!is_filler(cut(text, start, end))).then_some(end)
}

/// Facebook: an application's id, `|`, and its secret.
fn facebook(text: &[u8], end: usize, word: &[u8]) -> Option<usize> {
    if !(15..=16).contains(&word.len()) || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let body = end.saturating_add(1);
    let to = run_max(text, body, 48, |byte| Body::Url.has(byte));
    (27..=42).contains(&to.saturating_sub(body)).then_some(to)
}

/// `MaxMind`: 6 characters, `_`, 29 more, `_mmk`.
fn maxmind(text: &[u8], end: usize, word: &[u8]) -> Option<usize> {
    if word.len() != 6 {
        return None;
    }
    let to = then(text, end, b'_', 29, Body::Alnum)?;
    text.get(to..).unwrap_or_default().starts_with(b"_mmk").then(|| to.saturating_add(4))
}

/// Authress: `sc_….….acc_….…`.
fn authress(text: &[u8], end: usize, word: &[u8]) -> Option<usize> {
    if !matches!(word, b"sc" | b"ext" | b"scauth" | b"authress") {
        return None;
    }
    let client = run_max(text, end.saturating_add(1), 31, |byte| byte.is_ascii_alphanumeric());
    let key = run_max(text, client.saturating_add(1), 7, |byte| byte.is_ascii_alphanumeric());
    let account = key.saturating_add(5);
    let named = at(text, client) == b'.'
        && at(text, key) == b'.'
        && matches!(cut(text, key.saturating_add(1), account), b"acc_" | b"acc-");
    if !named {
        return None;
    }
    let dot = run_max(text, account, 40, |byte| Body::Url.has(byte));
    let to = run_max(text, dot.saturating_add(1), 160, |byte| Body::Base64.has(byte));
    (at(text, dot) == b'.' && to.saturating_sub(dot) > 30).then_some(to)
}

/// `HashiCorp`'s tokens are at least that long.
pub(super) const TERRAFORM: usize = 83;

const ATLAS: &[u8] = b".atlasv1.";

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(ATLAS));

/// May there be one of `HashiCorp`'s tokens, which may have an `=` after every few letters?
#[inline(never)]
pub(super) fn may_be_terraform(text: &[u8]) -> bool {
    FINDER.find(text).is_some()
}

/// `HashiCorp`: `….atlasv1.…`.
fn terraform(text: &[u8], end: usize, word: &[u8]) -> Option<usize> {
    (word.len() == 14 && text.get(end..).unwrap_or_default().starts_with(ATLAS))
        .then(|| run(text, end, |byte| Body::Scale.has(byte)))
}

/// Vault's older tokens: `s.` and 24 letters and digits in turns.
fn vault(text: &[u8], end: usize, word: &[u8]) -> Option<usize> {
    if word != b"s" {
        return None;
    }
    let to = then(text, end, b'.', 24, Body::Alnum)?;
    let body = cut(text, end.saturating_add(1), to);
    // `s.acceptanceTimeoutSeconds` is a member of something.
    let (turns, odd) = super::random::turns(body);
    (!matches!(at(text, to), b'_' | b'(' | b'.') && (odd > 0 && turns > 2 || turns > 6)).then_some(to)
}

/// Harness: `pat.` or `sat.`, 22, 24 and 20 characters.
fn harness(text: &[u8], end: usize, word: &[u8]) -> Option<usize> {
    if !matches!(word, b"pat" | b"sat") {
        return None;
    }
    let account = then(text, end, b'.', 22, Body::Url)?;
    let id = then(text, account, b'.', 24, Body::Alnum)?;
    then(text, id, b'.', 20, Body::Alnum)
}

/// Airtable: `pat` and 14 characters, `.`, 64 hexadecimal digits.
fn airtable(text: &[u8], end: usize, word: &[u8]) -> Option<usize> {
    if word.len() != 17 || !word.starts_with(b"pat") {
        return None;
    }
    then(text, end, b'.', 64, Body::Hex)
}

/// Discord's bots: 24 to 28, 6, and at least 27 characters; the first begins with M, N or O.
fn discord(text: &[u8], start: usize) -> Option<usize> {
    if !matches!(at(text, start), b'M' | b'N' | b'O') {
        return None;
    }
    let id = run_max(text, start, 32, |byte| Body::Url.has(byte));
    if !(23..=28).contains(&id.saturating_sub(start)) {
        return None;
    }
    let time = then(text, id, b'.', 6, Body::Url)?;
    let mac = time.saturating_add(1);
    let to = run_max(text, mac, 80, |byte| Body::Url.has(byte));
    (at(text, time) == b'.' && to.saturating_sub(mac) >= 27).then_some(to)
}

/// Azure's client secrets: three characters, a digit, `Q~`, and 31 to 34 more.
fn azure(text: &[u8], start: usize, end: usize) -> Option<(usize, usize, Rule)> {
    if before(text, end) != b'Q' || end.saturating_sub(start) < 2 || !at(text, end.saturating_sub(2)).is_ascii_digit() {
        return None;
    }
    let is = |byte: u8| Body::Dotted.has(byte) || byte == b'~';
    let from = run_back(text, end, 5, is);
    let to = run_max(text, end, 48, is);
    // The dot that ends a sentence belongs to the alphabet.
    let to = if before(text, to) == b'.' { to.saturating_sub(1) } else { to };
    let len = to.saturating_sub(end.saturating_add(1));
    // The last of 34 may be a dot itself.
    let whole = (31..=34).contains(&len) || len == 30;
    whole.then_some((from.min(start), to, Rule::Token))
}
