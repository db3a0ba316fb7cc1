//! The `Forwarded` header of RFC 7239: what proxies report about the request that they pass on.
//!
//! Anybody can send this header. Believe it only where a trusted proxy is at the other end of the socket, and only its
//! last elements, which the proxies next to the service have written.

use http::{HeaderMap, header::FORWARDED};

/// One element: what one proxy reports about the request that it got.
///
/// Quotes are removed; escapes within them stay as they are, for no address, host or scheme has any.
///
/// # Examples
/// ```
/// use steeple_core::forwarded::Element;
///
/// let element = Element::parse(b"for=\"[2001:db8::17]:4711\";proto=https;host=shop.example").unwrap();
/// assert_eq!(element.node, Some(&b"[2001:db8::17]:4711"[..]));
/// assert_eq!((element.proto, element.host), (Some(&b"https"[..]), Some(&b"shop.example"[..])));
/// assert_eq!(Element::parse(b"for=192.0.2.1, for=192.0.2.2"), None, "two elements");
/// ```
///
/// # Source
/// RFC 7239, section 4. Deviation: `:`, `[` and `]` are accepted without quotes too, as some proxies write them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Element<'a> {
    /// `for`: who sent the request to the proxy.
    pub node: Option<&'a [u8]>,
    /// `by`: where the proxy received it.
    pub by: Option<&'a [u8]>,
    /// `host`: the `Host` that it had there.
    pub host: Option<&'a [u8]>,
    /// `proto`: the scheme that it came by.
    pub proto: Option<&'a [u8]>,
}

impl<'a> Element<'a> {
    /// Reads one element to its end. `None` when it is malformed, or names something twice: then it would be left to the
    /// reader which one counts.
    pub fn parse(mut rest: &'a [u8]) -> Option<Self> {
        let mut element = Self::default();
        loop {
            rest = rest.trim_ascii_start();
            if rest.is_empty() {
                return Some(element);
            }
            if let Some(after) = rest.strip_prefix(b";") {
                rest = after;
                continue;
            }
            let (name, after) = split_while(rest, is_token);
            let after = after.strip_prefix(b"=")?;
            let (value, after) = match after.strip_prefix(b"\"") {
                Some(quoted) => split_quoted(quoted)?,
                None => split_while(after, |byte| is_token(byte) || b":[]".contains(&byte)),
            };
            rest = after.trim_ascii_start();
            if name.is_empty() || !(rest.is_empty() || rest.starts_with(b";")) {
                return None;
            }
            let names = [
                (&b"for"[..], &mut element.node),
                (b"by", &mut element.by),
                (b"host", &mut element.host),
                (b"proto", &mut element.proto),
            ];
            if let Some((_, place)) = names.into_iter().find(|(known, _)| name.eq_ignore_ascii_case(known))
                && place.replace(value).is_some()
            {
                return None;
            }
        }
    }

    /// The last element of the last line: what the nearest proxy has added. `None` without one, or if it is malformed.
    pub fn nearest(headers: &'a HeaderMap) -> Option<Self> {
        let line = headers.get_all(FORWARDED).iter().next_back()?.as_bytes();
        Self::parse(match last_comma(line) {
            Some(comma) => line.get(comma..)?.strip_prefix(b",")?,
            None => line,
        })
    }
}

/// Where the last element of a line begins: at the last comma that is not within quotes.
///
/// Read from the right, so that a quote which a client left open cannot swallow what a proxy appended. An opening
/// quote follows `=`, an escaped one an odd number of backslashes. Unbalanced quotes hide every comma,
/// and the whole line is an element that [`Element::parse`] refuses.
pub fn last_comma(line: &[u8]) -> Option<usize> {
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

/// The text up to the closing quote, and what follows the quote.
fn split_quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let ends = !escaped && *byte == b'"';
        escaped = !escaped && *byte == b'\\';
        ends
    })?;
    let (value, after) = text.split_at_checked(end)?;
    Some((value, after.get(1..)?))
}

fn split_while(text: &[u8], mut belongs: impl FnMut(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !belongs(*byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, &[]))
}

/// `tchar` of RFC 9110.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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

    #[test]
    fn the_nearest_proxy_wrote_the_last_element_of_the_last_line() {
        let mut headers = HeaderMap::new();
        for line in ["host=forged", "for=1.2.3.4;host=forged, for=10.0.0.1;proto=https;host=\"shop.example:444\""] {
            headers.append(FORWARDED, HeaderValue::from_static(line));
        }
        let nearest = Element::nearest(&headers).unwrap();
        assert_eq!((nearest.host, nearest.proto), (Some(&b"shop.example:444"[..]), Some(&b"https"[..])));
        headers.append(FORWARDED, HeaderValue::from_static("host=a;host=b"));
        assert_eq!((Element::nearest(&headers), Element::nearest(&HeaderMap::new())), (None, None));
    }
}
