//! Paths, queries, forms and URLs.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::percent_decode;

use crate::{
    detect::{random::looks_random, userinfo},
    judge,
    marker::Rule,
    name::Class,
    policy::Policy,
    scan::{SHORT, Scan},
    splice::Splice,
    text,
};

/// `name=value&name=value`.
pub(crate) fn query<'t>(policy: &Policy, query: &'t str) -> Cow<'t, str> {
    if is_harmless(policy, query.as_bytes()) { Cow::Borrowed(query) } else { by_pair(policy, query) }
}

/// Whether a short query has nothing to decode, nothing that looks like a secret and no name that tells anything, as most
/// have: then [`pairs`] removes nothing.
fn is_harmless(policy: &Policy, query: &[u8]) -> bool {
    if query.len() > SHORT || !policy.patterns.is_empty() {
        return false;
    }
    let (mut begin, mut in_name, mut is_open) = (0_usize, true, true);
    let scan = Scan::of_short(query, |at, byte| match byte {
        b'&' | b';' => {
            begin = at.saturating_add(1);
            in_name = true;
        }
        b'=' => {
            let name = query.get(begin..at).unwrap_or_default();
            is_open = is_open && in_name && policy.classify(name) == Class::Open;
            in_name = false;
        }
        _ => (),
    });
    is_open && text::is_calm(scan)
}

#[inline(never)]
fn by_pair<'t>(policy: &Policy, query: &'t str) -> Cow<'t, str> {
    let mut splice = Splice::new(query);
    pairs(policy, query.as_bytes(), 0, &mut splice);
    splice.finish()
}

/// Scrubs the pairs in `query`, which lies at `base` in the text of `splice`.
fn pairs(policy: &Policy, query: &[u8], base: usize, splice: &mut Splice<'_>) {
    let mut from = base;
    // Most queries have nothing to decode and nothing that looks like a secret: only the names decide.
    let is_calm = |text| policy.patterns.is_empty() && text::is_calm(Scan::of(text));
    let all_calm = is_calm(query);
    for pair in query.split(|&byte| matches!(byte, b'&' | b';')) {
        let end = from.saturating_add(pair.len());
        // Names are short: to call `memchr` would take longer than it takes to look.
        let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
            Some(sign) => (pair.get(..sign).unwrap_or_default(), pair.get(sign.saturating_add(1)..)),
            None => (pair, None),
        };
        if (all_calm || is_calm(pair)) && value.is_none_or(|value| !value.contains(&b'=')) {
            let class = policy.classify(name);
            if let Some(value) = value
                && class > Class::Open
                && let Some(rule) = judge::verdict(policy, class, value)
            {
                splice.replace(end.saturating_sub(value.len())..end, policy.marker(rule));
            }
            from = end.saturating_add(1);
            continue;
        }
        let decoded = Decoded::of(name);
        let named = decoded.hit(policy);
        if let Some(rule) = named {
            splice.replace(from..from.saturating_add(name.len()), policy.marker(rule));
        }
        if let Some(value) = value {
            // Behind a name that is a secret, or a marker in its place, the value is removed as well.
            let class = if named.is_some() || policy.is_marker(decoded.bytes()) {
                Class::Strong
            } else {
                policy.classify(decoded.bytes())
            };
            let decoded = Decoded::of(value);
            if let Some(rule) = decoded.verdict(policy, class) {
                splice.replace(end.saturating_sub(value.len())..end, policy.marker(rule));
            }
        }
        from = end.saturating_add(1);
    }
}

/// A name or a value as sent, and as meant.
struct Decoded<'t> {
    raw: &'t [u8],
    decoded: Cow<'t, [u8]>,
}

impl<'t> Decoded<'t> {
    fn of(raw: &'t [u8]) -> Self {
        Self { raw, decoded: decode(raw, true) }
    }

    fn bytes(&self) -> &[u8] {
        &self.decoded
    }

    #[inline(never)]
    fn verdict(&self, policy: &Policy, class: Class) -> Option<Rule> {
        if policy.is_marker(self.raw) {
            return None;
        }
        // What `+` stands for depends on who wrote it: `a+b@example.com` and `Bearer+…` are both seen.
        judge::verdict(policy, class, &self.decoded).or_else(|| self.plus(policy))
    }

    #[inline(never)]
    fn hit(&self, policy: &Policy) -> Option<Rule> {
        if policy.is_marker(self.raw) || policy.is_marker(&self.decoded) {
            return None;
        }
        judge::hit(policy, &self.decoded).or_else(|| self.plus(policy))
    }

    fn plus(&self, policy: &Policy) -> Option<Rule> {
        if memchr::memchr(b'+', self.raw).is_none() || policy.is_marker(&self.decoded) {
            return None;
        }
        judge::hit(policy, &decode(self.raw, false))
    }
}

/// Undoes percent-encoding, and `+` for a space. Kept out of the loops over calm queries, which never come here.
#[inline(never)]
fn decode(raw: &[u8], plus: bool) -> Cow<'_, [u8]> {
    if !plus || memchr::memchr(b'+', raw).is_none() {
        return percent_decode(raw).into();
    }
    let spaced: Vec<u8> = raw.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

/// `/segments/of/a/path`.
pub(crate) fn path<'t>(policy: &Policy, path: &'t str) -> Cow<'t, str> {
    if is_clean(policy, path.as_bytes()) {
        return Cow::Borrowed(path);
    }
    let mut splice = Splice::new(path);
    by_segment(policy, path.as_bytes(), 0, &mut splice);
    splice.finish()
}

/// Whether no rule has anything to begin with.
fn is_clean(policy: &Policy, path: &[u8]) -> bool {
    policy.patterns.is_empty() && text::is_clean(Scan::of(path))
}

fn segments(policy: &Policy, path: &[u8], base: usize, splice: &mut Splice<'_>) {
    if !is_clean(policy, path) {
        by_segment(policy, path, base, splice);
    }
}

#[inline(never)]
fn by_segment(policy: &Policy, path: &[u8], base: usize, splice: &mut Splice<'_>) {
    let mut from = base;
    let mut last = Class::Open;
    for segment in path.split(|&byte| byte == b'/') {
        let end = from.saturating_add(segment.len());
        let decoded = decode(segment, false);
        let marked = policy.is_marker(segment) || policy.is_marker(&decoded);
        // `/reset-password/Zx81kPq0…`: a name, and what looks random after it.
        let random = || (last > Class::Open && looks_random(&decoded)).then_some(Rule::Entropy);
        let rule = if marked { None } else { judge::hit(policy, &decoded).or_else(random) };
        if let Some(rule) = rule {
            splice.replace(from..end, policy.marker(rule));
        }
        last = if marked || rule.is_some() { Class::Open } else { policy.classify(&decoded) };
        from = end.saturating_add(1);
    }
}

/// Path, query and fragment, from `base` on; a URL's authority is done with.
fn tail(policy: &Policy, text: &[u8], base: usize, splice: &mut Splice<'_>) {
    let rest = text.get(base..).unwrap_or_default();
    let hash = memchr::memchr(b'#', rest);
    let (rest, fragment) = match hash {
        Some(hash) => (rest.get(..hash).unwrap_or_default(), rest.get(hash.saturating_add(1)..)),
        None => (rest, None),
    };
    path_query(policy, rest, base, splice);
    if let Some(fragment) = fragment {
        let start = base.saturating_add(rest.len()).saturating_add(1);
        // `#access_token=…`, `#section`, or a whole path and query as single-page applications have it.
        let plain = memchr::memchr2(b'/', b'?', fragment)
            .is_none_or(|at| memchr::memchr(b'=', fragment).is_some_and(|sign| sign < at));
        if plain {
            pairs(policy, fragment, start, splice);
        } else {
            path_query(policy, fragment, start, splice);
        }
    }
}

fn path_query(policy: &Policy, text: &[u8], base: usize, splice: &mut Splice<'_>) {
    let mark = memchr::memchr(b'?', text).unwrap_or(text.len());
    segments(policy, text.get(..mark).unwrap_or_default(), base, splice);
    if let Some(query) = text.get(mark.saturating_add(1)..) {
        pairs(policy, query, base.saturating_add(mark).saturating_add(1), splice);
    }
}

/// A URL, absolute or relative, as text.
pub(crate) fn url<'t>(policy: &Policy, url: &'t str) -> Cow<'t, str> {
    text::until_settled(policy, url, url_once)
}

fn url_once<'t>(policy: &Policy, url: &'t str) -> Cow<'t, str> {
    let mut splice = Splice::new(url);
    let bytes = url.as_bytes();
    let start = authority(bytes);
    let mut rest = start.unwrap_or(0);
    if let Some(start) = start {
        let user_end = userinfo::extent(bytes, start);
        if let Some(end) = user_end {
            if !policy.is_marker(bytes.get(start..end).unwrap_or_default()) {
                splice.replace(start..end, policy.marker(Rule::Userinfo));
            }
            rest = end;
        }
        let host = bytes.get(rest..).unwrap_or_default();
        rest =
            rest.saturating_add(host.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(host.len()));
    }
    tail(policy, bytes, rest, &mut splice);
    // What only shows in the whole: a webhook's host and path.
    match splice.finish() {
        Cow::Borrowed(text) => text::scrub(policy, text),
        Cow::Owned(text) => Cow::Owned(text::scrub(policy, &text).into_owned()),
    }
}

/// Where the authority begins, if there is one.
fn authority(url: &[u8]) -> Option<usize> {
    if url.starts_with(b"//") {
        return Some(2);
    }
    let scheme = userinfo::AFTER_SCHEME.find(url)?;
    let name = url.get(..scheme)?;
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b':'));
    plain.then(|| scheme.saturating_add(3))
}

/// A request's target. Borrowed when it is a path and a query and nothing in them is secret.
pub(crate) fn uri<'t>(policy: &Policy, uri: &'t Uri) -> Cow<'t, str> {
    match (uri.authority(), uri.path_and_query()) {
        (None, Some(target)) => {
            let target = target.as_str();
            let mut splice = Splice::new(target);
            path_query(policy, target.as_bytes(), 0, &mut splice);
            splice.finish()
        }
        _ => Cow::Owned(url(policy, &uri.to_string()).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Scrubber;

    #[track_caller]
    fn check(query: &str) {
        for scrubber in [Scrubber::default(), Scrubber::builder().deny_keys(["tab"]).build().unwrap()] {
            assert_eq!(super::query(&scrubber.policy, query), by_pair(&scrubber.policy, query), "{query}");
        }
    }

    #[test]
    fn a_short_query_is_scrubbed_as_a_long_one_is() {
        let harmless = |query: &str| is_harmless(&Scrubber::default().policy, query.as_bytes());
        for query in ["tab=orders&page=7", "", "a", "page=1;tab", "q=a.b,c&=&x="] {
            assert!(harmless(query), "{query}");
            check(query);
        }
        for query in ["token=abc", "page=1;pin=12", "a=b=c", "q=x%40y", "key=Zx81kPq", "n=123456789", "csrf=1&a=2"] {
            assert!(!harmless(query), "{query}");
            check(query);
        }
    }

    proptest! {
        #[test]
        fn a_harmless_query_has_nothing_to_remove(
            query in "((token|pin|key|code|tab|page|csrf|pwd|q|[a-zA-Z]{1,6})?[=&;]{0,2}[a-z0-9A-Z.,@%+/_-]{0,4}){0,6}",
        ) {
            check(&query);
        }

        #[test]
        fn nor_has_any_other_text(query: String) {
            check(&query);
        }
    }
}
