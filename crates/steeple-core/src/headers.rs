//! Headers by name, several of them in one pass.

use std::hash::{Hash, Hasher};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Names to look for in many heads, all in one pass over each.
///
/// A look-up hashes the name, and costs as much where it finds nothing. A pass costs a fifth of a look-up for each header that is
/// there: heads with many more headers than names are looked up in.
///
/// # Examples
/// ```
/// use http::{HeaderMap, HeaderValue, header};
/// use steeple_core::headers::Wanted;
///
/// let wanted = Wanted::new([header::HOST, header::ACCEPT]);
/// let mut headers = HeaderMap::new();
/// headers.insert(header::HOST, HeaderValue::from_static("shop.example"));
/// let mut found = Vec::new();
/// wanted.each(&headers, |place, value| found.push((place, value.clone())));
/// assert_eq!(found, [(0, HeaderValue::from_static("shop.example"))]);
/// ```
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Each with the place of the next one that has the same mark.
    names: Box<[(HeaderName, u8)]>,
    /// By mark, where the names with it begin.
    by_mark: Box<[u8; 256]>,
}

/// No name has this place.
const NONE: u8 = u8::MAX;

/// With more names than these, heads are looked up in.
const MAX_NAMES: usize = 32;

/// So many headers for each name, and a pass costs as much as look-ups.
const HEADERS_PER_NAME: usize = 4;

impl Wanted {
    /// These names. One that is there twice is found twice.
    pub fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut by_mark = Box::new([NONE; 256]);
        let mut names: Box<[_]> = names.into_iter().map(|name| (name, NONE)).collect();
        for (place, (name, next)) in names.iter_mut().enumerate().take(MAX_NAMES) {
            if let Some(first) = by_mark.get_mut(usize::from(mark(name))) {
                *next = std::mem::replace(first, u8::try_from(place).unwrap_or(NONE));
            }
        }
        Self { names, by_mark }
    }

    /// Calls `found` with the place of each name that is there and its first value, as [`HeaderMap::get`] has it. In any order.
    #[inline]
    pub fn each<'h>(&self, headers: &'h HeaderMap, mut found: impl FnMut(usize, &'h HeaderValue)) {
        if self.names.len() > MAX_NAMES || headers.len() > self.names.len().saturating_mul(HEADERS_PER_NAME) {
            return self.look_up(headers, &mut found);
        }
        let mut seen = 0_u32;
        headers.iter().for_each(|(name, value)| {
            let mut place = self.by_mark.get(usize::from(mark(name))).copied().unwrap_or(NONE);
            while let Some((wanted, next)) = self.names.get(usize::from(place)) {
                let bit = 1_u32 << (place & 31);
                if seen & bit == 0 && wanted == name {
                    seen |= bit;
                    found(usize::from(place), value);
                }
                place = *next;
            }
        });
    }

    fn look_up<'h>(&self, headers: &'h HeaderMap, found: &mut dyn FnMut(usize, &'h HeaderValue)) {
        for (place, (name, _)) in self.names.iter().enumerate() {
            if let Some(value) = headers.get(name) {
                found(place, value);
            }
        }
    }
}

/// Whether the `http` crate keeps a name as a text (`traceparent`) and not as a constant (`host`).
///
/// A hint to sort names by: equal names give equal answers, but which answer is up to the version of `http`.
#[inline]
pub fn is_custom(name: &HeaderName) -> bool {
    mark(name) >= CUSTOM
}

/// The mark of a name with text has this bit.
const CUSTOM: u8 = 128;

/// A number that equal names share and few others do. Of a name with a constant it takes one load.
#[inline]
fn mark(name: &HeaderName) -> u8 {
    let mut mark = Mark(0);
    name.hash(&mut mark);
    mark.0
}

/// What a name's `Hash` writes last: a constant's number, or a text.
struct Mark(u8);

impl Hasher for Mark {
    #[inline]
    fn finish(&self) -> u64 {
        self.0.into()
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a mark needs some of the bits")]
    fn write(&mut self, bytes: &[u8]) {
        let last = bytes.last().copied().unwrap_or_default();
        self.0 = CUSTOM | ((bytes.len() as u8).wrapping_mul(8) ^ last);
    }

    #[inline]
    fn write_u8(&mut self, number: u8) {
        self.0 = number & !CUSTOM;
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "there are fewer constants")]
    fn write_isize(&mut self, number: isize) {
        self.0 = number as u8 & !CUSTOM;
    }
}

#[cfg(test)]
mod tests {
    use http::header;
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 12] = [
        "host",
        "accept",
        "user-agent",
        "referer",
        "cookie",
        "content-type",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
        "x-a",
        "x-b",
    ];

    fn named(name: &str) -> HeaderName {
        HeaderName::from_bytes(name.as_bytes()).unwrap()
    }

    fn found<'h>(wanted: &Wanted, headers: &'h HeaderMap) -> Vec<(usize, &'h HeaderValue)> {
        let mut found = Vec::new();
        wanted.each(headers, |place, value| found.push((place, value)));
        found.sort_by_key(|(place, _)| *place);
        found
    }

    #[test]
    fn names_without_a_constant_are_custom() {
        for (name, custom) in [("host", false), ("dnt", false), ("traceparent", true), ("x-request-id", true)] {
            assert_eq!(is_custom(&named(name)), custom, "{name}");
        }
        assert!(!is_custom(&header::USER_AGENT));
    }

    proptest! {
        #[test]
        fn a_pass_finds_what_look_ups_find(
            wanted in prop::collection::vec(0..NAMES.len(), 0..10),
            sent in prop::collection::vec((0..NAMES.len(), "[a-z]{0,5}"), 0..40),
        ) {
            let wanted = Wanted::new(wanted.into_iter().map(|name| named(NAMES[name])));
            let mut headers = HeaderMap::new();
            for (name, value) in sent {
                headers.append(named(NAMES[name]), HeaderValue::from_str(&value).unwrap());
            }
            let mut looked_up = Vec::new();
            wanted.look_up(&headers, &mut |place, value| looked_up.push((place, value)));
            prop_assert_eq!(found(&wanted, &headers), looked_up);
        }
    }

    #[test]
    fn more_names_than_a_pass_takes_are_found_as_well() {
        let names: Vec<_> = (0..300).map(|number| named(&format!("x-{number}"))).collect();
        let wanted = Wanted::new(names.iter().cloned());
        let headers: HeaderMap = names.iter().map(|name| (name.clone(), HeaderValue::from_static("1"))).collect();
        assert_eq!(found(&wanted, &headers).len(), 300);
    }
}
