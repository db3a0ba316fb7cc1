use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

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

/// Where the last element of a `Forwarded` line begins: at the last comma that is not within quotes.
///
/// Read from the right, so that a quote which a client left open cannot swallow what a proxy appended. An opening
/// quote follows `=`, an escaped one an odd number of backslashes. When the quotes do not match up, there is no
/// comma, and the whole line is an element that [`parse_forwarded`] refuses.
fn last_comma(line: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (place, byte) in line.iter().enumerate().rev() {
        match byte {
            b',' if !quoted => return Some(place),
            b'"' if quoted => {
                let before = line.get(..place)?.iter().rev();
                quoted = before.take_while(|byte| **byte == b'\\').count() % 2 == 1;
            }
            b'"' => quoted = true,
            _ => (),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_comma_outside_of_quotes_is_found() {
        for (line, want) in [
            ("for=a", None),
            ("for=a,for=b", Some("for=b")),
            ("for=a,for=\"x,y\"", Some("for=\"x,y\"")),
            ("for=a,for=\"x\\\",y\\\\\"", Some("for=\"x\\\",y\\\\\"")),
            ("for=\"a, for=b", Some(" for=b")),
            ("for=\"a, for=\"b\"", Some(" for=\"b\"")),
            ("for=a, b\"", None),
            ("for=a,", Some("")),
        ] {
            let found = last_comma(line.as_bytes()).map(|comma| &line[comma + 1..]);
            assert_eq!(found, want, "{line}");
        }
    }
}
