//! W3C `baggage`, bounded: what callers want everybody on the way to know.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::baggage::Baggage;

static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Most members that are read and passed on.
const MAX_MEMBERS: usize = 64;
/// Most bytes that are read and passed on, over all members.
const MAX_LEN: usize = 8192;

/// Reads the members; invalid ones and those beyond the bounds are left out, whole. `None` when nothing is left.
pub(crate) fn read(headers: &HeaderMap) -> Option<Baggage> {
    let mut lines = headers.get_all(&BAGGAGE).iter().peekable();
    lines.peek()?;
    let mut baggage = Baggage::new();
    let mut room = MAX_LEN;
    for line in lines {
        let Ok(line) = line.to_str() else { continue };
        for member in line.split(',').map(|member| member.trim_matches([' ', '\t'])) {
            let Some(left) = room.checked_sub(member.len().saturating_add(1)) else { continue };
            if baggage.len() >= MAX_MEMBERS {
                break;
            }
            let (pair, properties) = member.split_once(';').unwrap_or((member, ""));
            let Some((key, value)) = pair.split_once('=') else { continue };
            let (key, value) = (key.trim_matches([' ', '\t']), value.trim_matches([' ', '\t']));
            if is_token(key) && value.bytes().all(is_value_octet) {
                room = left;
                baggage.insert_with_metadata(key.to_owned(), decode(value), properties.to_owned());
            }
        }
    }
    (!baggage.is_empty()).then_some(baggage)
}

/// The header that passes baggage on. `None` when there is nothing to pass on.
pub(crate) fn write(baggage: &Baggage) -> Option<HeaderValue> {
    let mut out = String::new();
    for (key, (value, properties)) in baggage.iter().take(MAX_MEMBERS) {
        let mut member = format!("{}={}", key.as_str(), encode(value.as_str()));
        // Properties were read as they are; what the application sets may be anything.
        if !properties.as_str().is_empty()
            && properties.as_str().bytes().all(|byte| byte == b';' || is_value_octet(byte))
        {
            member.push(';');
            member.push_str(properties.as_str());
        }
        let comma = usize::from(!out.is_empty());
        if is_token(key.as_str()) && out.len().saturating_add(member.len()).saturating_add(comma) <= MAX_LEN {
            if comma == 1 {
                out.push(',');
            }
            out.push_str(&member);
        }
    }
    if out.is_empty() { None } else { HeaderValue::from_str(&out).ok() }
}

/// A token of RFC 9110.
fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

fn is_value_octet(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// Undoes percent-encoding. What is no UTF-8 then is replaced; a `+` is a plus.
pub(crate) fn decode(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (byte, rest) {
            (b'%', [high, low, after @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                out.push(hex(high).unwrap_or_default() << 4 | hex(low).unwrap_or_default());
                bytes = after;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if is_value_octet(byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.extend(char::from_digit(nibble.into(), 16).map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_lines(lines: &[&str]) -> Option<Baggage> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("baggage", HeaderValue::from_str(line).unwrap());
        }
        read(&headers)
    }

    #[test]
    fn members_of_all_lines_are_decoded() {
        let baggage = read_lines(&["a = 1 ;p=q, b=x%20y%2Cz", "c=1=2,b=last,bad,=x,d=+"]).unwrap();
        let get = |key: &str| baggage.get(key).map(ToString::to_string);
        assert_eq!(get("a").as_deref(), Some("1"));
        assert_eq!(get("b").as_deref(), Some("last"), "one value for each name");
        assert_eq!(get("c").as_deref(), Some("1=2"));
        assert_eq!(get("d").as_deref(), Some("+"));
        assert_eq!(baggage.len(), 4);
        assert_eq!(read_lines(&["x=%FF"]).unwrap().get("x").unwrap().as_str(), "\u{fffd}");
        assert!(read_lines(&[]).is_none() && read_lines(&["nothing"]).is_none());
    }

    #[test]
    fn what_goes_beyond_the_bounds_is_left_out_whole() {
        let many = (0..100).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(read_lines(&[&many]).unwrap().len(), MAX_MEMBERS);
        let long = format!("a=1,big={},b=2", "x".repeat(MAX_LEN));
        let baggage = read_lines(&[&long]).unwrap();
        assert!(baggage.len() == 2 && baggage.get("big").is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(line in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&line) {
                headers.append("baggage", value);
            }
            if let Some(baggage) = read(&headers) {
                prop_assert!(baggage.len() <= MAX_MEMBERS);
            }
        }

        #[test]
        fn any_text_survives_the_way(value in "\\PC{0,100}", key in "[a-zA-Z0-9_.-]{1,20}") {
            let mut baggage = Baggage::new();
            baggage.insert(key.clone(), value.clone());
            let mut headers = HeaderMap::new();
            headers.insert("baggage", write(&baggage).unwrap());
            let back = read(&headers).unwrap();
            prop_assert_eq!(back.get(&key).unwrap().as_str(), value.as_str());
        }
    }
}
