//! Tokens that their makers gave a shape: JWTs and keys with a prefix.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{
    Findings, add, at, before, cut, odd, run, run_max,
    shape::{self, Body},
};
use crate::{
    marker::Rule,
    scan::{Scan, kind},
};

/// No token is shorter.
const SHORTEST: usize = 13;

/// Nearly all are at least this long; shorter ones are looked at only where they begin like [one that is short](is_short).
const USUAL: usize = 16;

/// One that has dots in it (`hvs.…`) still has a run of letters, digits, `_` and `-` of that length.
pub(crate) const SHORTEST_RUN: u32 = 16;

/// The shortest token whose alphabet has more than letters, digits, `_` and `-` in it.
const SPLIT: usize = 24;

static SLACK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"xox"));

/// May there be a token in a text that has no run of [`SHORTEST_RUN`]: a short one, or one with `+`, `/`, `=`, `.` or `~` in it?
/// `stretch` is the length of the longest part without spaces.
#[inline]
pub(crate) fn may_be_split(text: &[u8], scan: Scan, stretch: usize) -> bool {
    stretch >= SPLIT && shape::may_begin(text, scan)
        || stretch >= odd::TERRAFORM && scan.has(kind::EQUALS) && odd::may_be_terraform(text)
        || scan.has_run(10) && scan.has(kind::DASH) && may_be_short(text)
}

#[inline(never)]
fn may_be_short(text: &[u8]) -> bool {
    SLACK.find_iter(text).any(|at| is_short(text.get(at..).unwrap_or_default()))
}

#[inline(never)]
pub(crate) fn find(text: &[u8], findings: &mut Findings) {
    let mut from = 0;
    while from < text.len() {
        // Runs of letters, digits, `_` and `-` with `.` and the like inside. Runs shorter than the shortest token are skipped,
        // unless it ends where the alphabets of some tokens go on.
        let start = run(text, from, |byte| !byte.is_ascii_alphanumeric());
        let end = run(text, start, is_part);
        let short = end.saturating_sub(start) < USUAL;
        if short && !is_joint(at(text, end)) && !is_short(cut(text, start, end)) {
            from = end.max(start.saturating_add(1));
            continue;
        }
        // Forms without a prefix have no sign of base64 in them.
        let is_whole = !short || at(text, end) == b'|';
        from = part(text, start, end, is_whole, findings);
    }
}

const fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~' | b':')
}

/// Slack's older tokens.
fn is_short(word: &[u8]) -> bool {
    word.len() >= SHORTEST && (word.starts_with(b"xoxa-") || word.starts_with(b"xoxr-"))
}

/// Within the body of a token: base64, or an application's id and its secret.
const fn is_joint(byte: u8) -> bool {
    matches!(byte, b'+' | b'/' | b'=' | b'|')
}

/// Looks at each place in `start..end` where a token can begin; goes on after it.
fn part(text: &[u8], start: usize, end: usize, is_whole: bool, findings: &mut Findings) -> usize {
    let mut here = start;
    while here < end {
        if before(text, here).is_ascii_alphanumeric() && here > start {
            here = run(text, here, |byte| byte.is_ascii_alphanumeric()).max(here.saturating_add(1));
            continue;
        }
        let found = jwt(text, here)
            .map(|end| (here, end, Rule::Jwt))
            .or_else(|| shape::shaped(text, here).map(|(end, rule)| (here, end, rule)))
            .or_else(|| if is_whole { odd::find(text, here) } else { None });
        if let Some((from, to, rule)) = found {
            add(findings, from, to, rule);
            here = to.max(here.saturating_add(1));
        } else {
            here = here.saturating_add(1);
        }
    }
    here.max(end)
}

/// `header.payload.signature`, also unsigned, encrypted, or cut off.
fn jwt(text: &[u8], start: usize) -> Option<usize> {
    if !text.get(start..).unwrap_or_default().starts_with(b"ey") {
        return None;
    }
    let url = |byte: u8| Body::Url.has(byte);
    let header = run_max(text, start, 256, url);
    let len = header.saturating_sub(start);
    if len < 12 {
        return None;
    }
    let dot = at(text, header) == b'.';
    let payload = header.saturating_add(1);
    let payload_end = run_max(text, payload, 16, url);
    let json = dot && at(text, payload) == b'e' && at(text, payload.saturating_add(1)) == b'y';
    if !(json && payload_end.saturating_sub(payload) >= 4) {
        // One part alone may be anyone's JSON; a JWT's header names its algorithm.
        if at(text, start.saturating_add(2)) != b'J' {
            return None;
        }
        let head = super::scheme::base64(cut(text, start, header), 256);
        let names = [&b"\"alg\""[..], b"\"enc\"", b"\"typ\"", b"\"kid\""];
        if !names.iter().any(|name| memchr::memmem::find(&head, name).is_some()) {
            return None;
        }
    }
    // The dot that ends a sentence stays; the one of an empty signature goes.
    let end = run(text, header, |byte| Body::Dotted.has(byte) || byte == b'=');
    let sentence = before(text, end) == b'.' && memchr::memchr_iter(b'.', cut(text, header, end)).count() != 2;
    Some(if sentence { end.saturating_sub(1) } else { end })
}
