use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use steeple_core::forwarded::last_comma;

use super::node::{parse_forwarded, parse_node};

/// Entries that are looked at, from the right. More proxies than this are not believed in.
pub(super) const MAX_ENTRIES: usize = 32;

/// Bytes that are looked at, from the right.
const MAX_BYTES: usize = 2048;

/// The entries of an `X-Forwarded-For`, the last one first. `None` for one that cannot be read.
pub(super) fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let comma = |line: &[u8]| line.iter().rposition(|byte| *byte == b',');
    from_the_right(headers, &X_FORWARDED_FOR, comma, |entry| parse_node(entry.trim_ascii()))
}

/// The elements of a `Forwarded`, the last one first. `None` for one that cannot be read.
pub(super) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    from_the_right(headers, &FORWARDED, last_comma, parse_forwarded)
}

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED: HeaderName = http::header::FORWARDED;

/// Splits all lines of a header into entries, from the last to the first, as far as the caps allow.
fn from_the_right<'a>(
    headers: &'a HeaderMap,
    name: &'static HeaderName,
    last_comma: impl Fn(&[u8]) -> Option<usize>,
    parse: impl Fn(&[u8]) -> Option<IpAddr>,
) -> impl Iterator<Item = Option<IpAddr>> {
    let mut lines = headers.get_all(name).iter().rev();
    let mut rest: Option<&'a [u8]> = None;
    let mut budget = MAX_BYTES;
    std::iter::from_fn(move || {
        let line = match rest.take() {
            Some(line) => line,
            None => lines.next()?.as_bytes(),
        };
        let hidden = line.len().saturating_sub(budget);
        let seen = line.get(hidden..)?;
        let entry = match last_comma(seen) {
            Some(comma) => {
                rest = line.get(..hidden.checked_add(comma)?);
                seen.get(comma.checked_add(1)?..)?
            }
            None if hidden == 0 => seen,
            // Where it begins is out of sight.
            None => {
                budget = 0;
                return Some(None);
            }
        };
        budget = budget.saturating_sub(entry.len().saturating_add(1));
        Some(parse(entry))
    })
    .take(MAX_ENTRIES)
}
