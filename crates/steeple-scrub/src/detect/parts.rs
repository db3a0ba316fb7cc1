//! What a token of a known prefix must be made of besides, and what only looks like one: examples from manuals, and pieces of
//! larger texts in base64.

use super::{at, before, cut, run};
use crate::marker::Rule;

/// Does `body` have the parts that its maker gives a token with this prefix?
pub(super) fn has(prefix: &str, body: &[u8]) -> bool {
    match prefix {
        "sgp_" => sourcegraph(body),
        "sntrys_eyJpYXQiO" => sentry(body),
        _ => slack(body),
    }
}

/// Sourcegraph: 40 hexadecimal digits, after nothing, `local_`, or 16 more and `_`.
fn sourcegraph(body: &[u8]) -> bool {
    let instance = body.iter().rposition(|byte| *byte == b'_');
    let (instance, key) = match instance {
        Some(sign) => (cut(body, 0, sign), cut(body, sign.saturating_add(1), body.len())),
        None => (&b"local"[..], body),
    };
    let is_hex = |part: &[u8], len: usize| part.len() == len && part.iter().all(u8::is_ascii_hexdigit);
    is_hex(key, 40) && (instance == b"local" || is_hex(instance, 16))
}

/// An organization's token of Sentry: base64 of JSON, `_`, and 43 characters of base64.
fn sentry(body: &[u8]) -> bool {
    let Some(sign) = body.iter().rposition(|byte| *byte == b'_') else { return false };
    let key = sign.saturating_add(1);
    let end = run(body, key, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    end.saturating_sub(key) == 43
}

/// Slack: the workspace's number, of eight digits and more, and what follows it.
fn slack(body: &[u8]) -> bool {
    let number = run(body, 0, |byte| byte.is_ascii_digit());
    number >= 8 && at(body, number) == b'-' && body.len() >= number.saturating_add(12)
}

/// Is it an example from a manual, or a key that its maker has published? Only for vendors whose examples people log.
pub(super) fn is_example(rule: Rule, body: &[u8]) -> bool {
    let is_published = rule == Rule::Gcp && PUBLISHED.contains(&body);
    let is_named = rule == Rule::Aws && memchr::memmem::find(body, b"EXAMPLE").is_some();
    is_published || is_named || matches!(rule, Rule::Gcp | Rule::OpenAi) && has_sequence(body)
}

/// `abcdefghij`, `0123456789`: ten in a row that no random value has.
fn has_sequence(body: &[u8]) -> bool {
    let mut run = 0_u8;
    let mut last = 0_u8;
    for byte in body.iter().map(u8::to_ascii_lowercase) {
        let follows = last.is_ascii_alphanumeric() && byte == last.wrapping_add(1);
        run = if follows { run.saturating_add(1) } else { 0 };
        if run >= 9 {
            return true;
        }
        last = byte;
    }
    false
}

/// Google's keys in its own published pages and samples, without `AIza`, as gitleaks' rule `gcp-api-key` lists them.
const PUBLISHED: [&[u8]; 15] = [
    b"SyA4UrcGxgwQFTfaI3no3t7Lt1sjmdnP5sQ",
    b"SyA5_iVawFQ8ABuTZNUdcwERLJv_a_p4wtM",
    b"SyA8vmApnrHNFE0bApF4hoZ11srVL_n0nvY",
    b"SyANUvH9H9BsUccjsu2pCmEkOPjjaXeDQgY",
    b"SyASWm6HmTMdYWpgMnjRBjxcQ9CKctWmLd4",
    b"SyAdOS2zB6NCsk1pCdZ4-P6GBdi_UUPwX7c",
    b"SyAnLA7NfeLquW1tJFpx_eQCxoX-oo6YyIs",
    b"SyB8qGxt4ec15vitgn44duC5ucxaOi4FmqE",
    b"SyBF2RrAIm4a0mO64EShQfqfd2AFnzAvvuU",
    b"SyBcE-OOIbhjyR83gm4r2MFCu4MJmprNXsw",
    b"SyCkEhVjf3pduRDt6d1yKOMitrUEke8agEM",
    b"SyD3asb-2pEZVqMkmL6M9N6nHZRR_znhrh0",
    b"SyDMAScliyLx7F0NPDEJi1QmyCgHIAODrlU",
    b"SyDSb51JiIcB6OJpwwMicseKRhhrOq1cS7g",
    b"yDNSXIbFmlXbIE6mCzDLQAqITYefhixbX4A",
];

/// Is the token a piece of a longer text in base64: `…vfQ+EZAK…/3Vm…`? A `+` alone may stand for a space before it.
pub(super) fn is_inside_base64(text: &[u8], start: usize, end: usize) -> bool {
    before(text, start) == b'+'
        && before(text, start.saturating_sub(1)).is_ascii_alphanumeric()
        && matches!(at(text, end), b'+' | b'/')
        && at(text, end.saturating_add(1)).is_ascii_alphanumeric()
}
