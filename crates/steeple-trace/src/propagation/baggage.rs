//! W3C `baggage`, bounded: what callers want everybody on the way to know.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::baggage::Baggage;

pub(super) static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Most bytes that are read and passed on, over all members. The standard asks for this much.
const MAX_LEN: usize = 8192;

/// Baggage as the caller sent it.
pub(crate) struct Packed {
    /// The members that are passed on, as they came.
    pub(crate) header: HeaderValue,
    /// What the application sees: the first 64 of them, decoded.
    pub(crate) baggage: Baggage,
}

/// Reads the members; invalid ones and those beyond the bounds are left out, whole. `None` when nothing is left.
pub(crate) fn read(headers: &HeaderMap) -> Option<Packed> {
    let mut lines = headers.get_all(&BAGGAGE).iter().peekable();
    lines.peek()?;
    let mut baggage = Baggage::new();
    let mut header = String::new();
    for line in lines {
        let Ok(line) = line.to_str() else { continue };
        for member in line.split(',') {
            let mut parts = member.split(';');
            let Some((key, value)) = parts.next().and_then(pair).filter(|(key, _)| is_token(key)) else { continue };
            let before = header.len();
            if before > 0 {
                header.push(',');
            }
            header.extend([key, "=", value]);
            let end_of_value = header.len();
            for property in parts {
                push_property(&mut header, property);
            }
            if header.len() > MAX_LEN {
                header.truncate(before);
                continue;
            }
            // The leading semicolon does not belong to the properties.
            let properties = header.get(end_of_value.saturating_add(1)..).unwrap_or_default();
            baggage.insert_with_metadata(key.to_owned(), decode(value), properties.to_owned());
        }
    }
    (!header.is_empty())
        .then_some(Packed { header: HeaderValue::from_maybe_shared(header.into_bytes()).ok()?, baggage })
}

/// `key = value`, with white space around both.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let (key, value) = (trim(key), trim(value));
    value.bytes().all(is_value_octet).then_some((key, value))
}

/// Appends a property without the white space around it. An invalid one is left out.
fn push_property(out: &mut String, property: &str) {
    match pair(property) {
        Some((key, value)) if is_token(key) => out.extend([";", key, "=", value]),
        None if is_token(trim(property)) => out.extend([";", trim(property)]),
        _ => (),
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The header that passes baggage on. `None` when there is nothing to pass on.
pub(crate) fn write(baggage: &Baggage) -> Option<HeaderValue> {
    let mut out = String::new();
    for (key, (value, properties)) in baggage.iter().filter(|(key, _)| is_token(key.as_str())) {
        let before = out.len();
        if before > 0 {
            out.push(',');
        }
        out.extend([key.as_str(), "=", &encode(value.as_str())]);
        // What the application sets may be anything.
        for property in properties.as_str().split(';') {
            push_property(&mut out, property);
        }
        if out.len() > MAX_LEN {
            out.truncate(before);
        }
    }
    if out.is_empty() { None } else { HeaderValue::from_str(&out).ok() }
}

/// Whether two hold the same.
pub(crate) fn is_same(one: &Baggage, other: &Baggage) -> bool {
    one.len() == other.len()
        && one.iter().all(|(key, value)| other.get_with_metadata(key.as_str()).is_some_and(|found| found == value))
}

/// A token of RFC 9110.
fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

fn is_value_octet(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// Undoes percent-encoding. Invalid UTF-8 is replaced; a `+` is a plus.
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
        read(&headers).map(|packed| packed.baggage)
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
            if let Some(packed) = read(&headers) {
                prop_assert!(packed.header.len() <= MAX_LEN && packed.baggage.len() <= 64);
            }
        }

        #[test]
        fn any_text_survives_the_way(value in "\\PC{0,100}", key in "[a-zA-Z0-9_.-]{1,20}") {
            let mut baggage = Baggage::new();
            baggage.insert(key.clone(), value.clone());
            let mut headers = HeaderMap::new();
            headers.insert("baggage", write(&baggage).unwrap());
            let back = read(&headers).unwrap().baggage;
            prop_assert_eq!(back.get(&key).unwrap().as_str(), value.as_str());
        }
    }
}
