//! Free text: log messages, panics, error chains, SQL.
//!
//! A single pass over the bytes notes what kinds of them there are. Most texts have nothing that any detector begins with and
//! are done. For the others, the detectors run whose bytes are there, on the text and on what it reads as once its escapes
//! are undone.

use std::borrow::Cow;

use crate::{
    detect::{Finding, Findings, add, email, number, pair, pem, random::is_uuid, scheme, token, userinfo},
    marker::Rule,
    policy::{EmailPolicy, Policy},
    scan::{Scan, kind},
    splice::Splice,
    view::{LAYERS, View},
};

/// No built-in detector has anything to begin with.
pub(crate) fn is_clean(scan: Scan) -> bool {
    !scan.has_run(SCHEME_RUN)
        && scan.digits < number::FEWEST
        && !scan.has(kind::AT | kind::COLON | kind::EQUALS | kind::ESCAPE | kind::QUOTE | kind::DASH | kind::TILDE)
}

/// The same for a query, whose `=` and `&` are not part of its texts.
pub(crate) fn is_calm(scan: Scan) -> bool {
    is_clean(scan.without(kind::EQUALS | kind::AND)) && !scan.has(kind::PLUS | kind::SLASH)
}

/// The shortest run of letters in credentials that follow their scheme.
const SCHEME_RUN: u32 = 8;

/// Text is scrubbed until nothing more is found, but no more often than this.
const PASSES: usize = 4;

/// A pattern of the configuration that matches more often than this in one text takes the rest of it: that keeps the time
/// linear whatever the pattern.
const MATCHES: usize = 256;

/// Removes secrets.
pub(crate) fn scrub<'t>(policy: &Policy, text: &'t str) -> Cow<'t, str> {
    until_settled(policy, text, once)
}

fn once<'t>(policy: &Policy, text: &'t str) -> Cow<'t, str> {
    let mut findings = Findings::new();
    find(policy, text.as_bytes(), &mut findings);
    if findings.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(replace(policy, text, &mut findings)) }
}

/// A marker is another neighbor than the secret was: scrubs the result again until nothing more is found.
pub(crate) fn until_settled<'t>(
    policy: &Policy,
    text: &'t str,
    pass: impl for<'a> Fn(&Policy, &'a str) -> Cow<'a, str>,
) -> Cow<'t, str> {
    let mut scrubbed = match pass(policy, text) {
        Cow::Borrowed(clean) => return Cow::Borrowed(clean),
        Cow::Owned(scrubbed) => scrubbed,
    };
    for _ in 0..PASSES {
        match pass(policy, &scrubbed) {
            Cow::Borrowed(_) => return Cow::Owned(scrubbed),
            Cow::Owned(again) => scrubbed = again,
        }
    }
    Cow::Owned(policy.marker(Rule::Text).to_owned())
}

fn replace(policy: &Policy, text: &str, findings: &mut Findings) -> String {
    settle(findings);
    let mut splice = Splice::new(text);
    for finding in findings.iter() {
        splice.replace(finding.start..finding.end, policy.marker(finding.rule));
    }
    splice.finish().into_owned()
}

/// Sorts findings, and makes one of those that overlap: all of both is removed, for the reason of the widest.
pub(crate) fn settle(findings: &mut Findings) {
    // Stable: of two that found the same, the one that looked first, and more closely, stays.
    findings.sort_by_key(|finding| (finding.start, std::cmp::Reverse(finding.end)));
    let mut merged = Findings::with_capacity(findings.len());
    for finding in findings.drain(..) {
        match merged.last_mut() {
            Some(Finding { end, .. }) if finding.start < *end => *end = finding.end.max(*end),
            _ => merged.push(finding),
        }
    }
    *findings = merged;
}

/// Finds the secrets in `text`, in no order.
pub(crate) fn find(policy: &Policy, text: &[u8], findings: &mut Findings) {
    let scan = Scan::of(text);
    let may_be_split = || scan.has(kind::PLUS | kind::SLASH) && token::may_be_split(text, scan, text.len());
    // Ids are the most frequent values that are not clean at first sight.
    if (!is_clean(scan) || may_be_split()) && !is_uuid(text) {
        detect(policy, text, scan, findings);
    }
    patterns(policy, text, findings);
    if !scan.has(kind::ESCAPE) {
        return;
    }
    let mut view = View::of(text);
    let mut inside = Findings::new();
    for layer in 0..LAYERS {
        let Some(decoded) = view else { return };
        detect(policy, &decoded.bytes, Scan::of(&decoded.bytes), &mut inside);
        patterns(policy, &decoded.bytes, &mut inside);
        for found in inside.drain(..) {
            let (start, end) = decoded.origin(found.start, found.end);
            add(findings, start, end, found.rule);
        }
        view = if layer.saturating_add(1) < LAYERS { decoded.again() } else { None };
    }
}

fn detect(policy: &Policy, text: &[u8], scan: Scan, findings: &mut Findings) {
    if scan.has_run(pem::SHORTEST) && scan.has(kind::DASH) {
        pem::find(text, findings);
    }
    let has_run = scan.has_run(token::SHORTEST_RUN);
    if has_run {
        token::find(text, findings);
    }
    if scan.digits >= number::FEWEST {
        number::find(text, findings);
    }
    if scan.has(kind::AT) {
        userinfo::find(text, &policy.markers, findings);
        if policy.email == EmailPolicy::Redact {
            email::find(text, findings);
        }
    }
    if scan.has_run(SCHEME_RUN) && scan.has(kind::SLASH) {
        crate::detect::webhook::find(text, findings);
    }
    let telling = scan.digits > 0 || scan.has(kind::UPPER) || scan.has_run(scheme::LONG_RUN);
    let stretch =
        if scan.has(kind::GAP) && (scan.has_run(SCHEME_RUN) && telling || scan.has(kind::COLON | kind::EQUALS)) {
            scheme::find(text, policy.known(), findings)
        } else if scan.has(kind::GAP) && !telling {
            // Words of small letters.
            0
        } else {
            text.len()
        };
    if !has_run && token::may_be_split(text, scan, stretch) {
        token::find(text, findings);
    }
    if scan.has(kind::COLON | kind::EQUALS | kind::QUOTE | kind::DASH) {
        pair::find(text, policy.known(), findings);
    }
}

fn patterns(policy: &Policy, text: &[u8], findings: &mut Findings) {
    for (nth, pattern) in policy.patterns.iter().enumerate() {
        let rule = Rule::Pattern(u16::try_from(nth).unwrap_or(u16::MAX));
        for (count, found) in pattern.regex.find_iter(text).take(MATCHES).enumerate() {
            let (start, end) = around(policy, text, found.start(), found.end());
            if count.saturating_add(1) == MATCHES {
                add(findings, start, text.len(), rule);
            } else if !policy.is_marker(text.get(start..end).unwrap_or_default()) {
                add(findings, start, end, rule);
            }
        }
    }
}

/// A match that touches a marker takes all of it: half a marker means nothing.
fn around(policy: &Policy, text: &[u8], start: usize, end: usize) -> (usize, usize) {
    let (mut from, mut to) = (start, end);
    let near = start.saturating_sub(MARKER);
    for open in memchr::memchr_iter(b'[', text.get(near..end).unwrap_or_default()) {
        let open = near.saturating_add(open);
        let len = crate::marker::marker_len(text.get(open..).unwrap_or_default(), &policy.markers);
        if let Some(close) = len.map(|len| open.saturating_add(len)).filter(|&close| close > start) {
            from = from.min(open);
            to = to.max(close);
        }
    }
    (from, to)
}

/// No marker is longer.
pub(crate) const MARKER: usize = 64;
