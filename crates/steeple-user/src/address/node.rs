use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use steeple_core::forwarded::Element;

/// The longest that is an address with a port, and then some.
const MAX_NODE: usize = 64;

/// Reads an address as proxies write it: alone, in brackets, with a port. IPv4 inside IPv6 becomes IPv4.
///
/// `None` for everything else: names, `unknown`, obfuscated nodes, zones, leading zeros, and the unspecified address, which
/// belongs to no client.
pub(super) fn parse_node(text: &[u8]) -> Option<IpAddr> {
    if text.len() > MAX_NODE {
        return None;
    }
    let text = str::from_utf8(text).ok()?;
    let address = if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
            return None;
        }
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        IpAddr::V4(address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?)
    };
    let address = address.to_canonical();
    (!address.is_unspecified()).then_some(address)
}

/// A number up to 65535, or an obfuscated port of RFC 7239: `_` and what follows.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

/// Reads the `for` of one element of a `Forwarded` header.
pub(super) fn parse_forwarded(element: &[u8]) -> Option<IpAddr> {
    parse_node(Element::parse(element)?.node?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parse: fn(&[u8]) -> Option<IpAddr>, text: &str, want: Option<&str>) {
        assert_eq!(parse(text.as_bytes()).map(|address| address.to_string()).as_deref(), want, "{text:?}");
    }

    #[test]
    fn an_address_is_read_however_proxies_write_it() {
        for (text, want) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:5678", "192.0.2.1"), // Azure
            ("192.0.2.1:0", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]:_port", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ] {
            check(parse_node, text, Some(want));
        }
    }

    #[test]
    fn invalid_addresses_are_none() {
        for text in [
            "",
            " ",
            "unknown",
            "_hidden",
            "0.0.0.0",
            "0.0.0.0:80",
            "::",
            "[::]:80",
            "::ffff:0.0.0.0",
            "localhost",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.01",
            "0x7f.0.0.1",
            "3221225985",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:+1",
            "192.0.2.1:8x",
            "192.0.2.1/24",
            "fe80::1%eth0",
            "[fe80::1%1]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]443",
            "[192.0.2.1]",
            "[]",
            "[]:1",
            "192.0.2.1 192.0.2.2",
            "\"192.0.2.1\"",
            "192.0.2.1\0",
            "１92.0.2.1",
            ":80",
            "[2001:db8::1]:_",
        ] {
            check(parse_node, text, None);
        }
        assert_eq!(parse_node(b"\xff\xfe"), None);
        assert_eq!(parse_node(&[b'1'; 10_000]), None);
    }

    #[test]
    fn the_examples_of_rfc_7239_are_read() {
        for (text, want) in [
            ("for=\"_gazonk\"", None),
            ("For=\"[2001:db8:cafe::17]:4711\"", Some("2001:db8:cafe::17")),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", Some("192.0.2.60")),
            ("for=192.0.2.43", Some("192.0.2.43")),
            ("for=198.51.100.17", Some("198.51.100.17")),
            ("for=_hidden, for=_SEVKISEK", None), // two elements
            ("for=\"192.0.2.43:47011\"", Some("192.0.2.43")),
            ("for=192.0.2.43,for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com", None), // two elements
            ("for=\"[2001:db8:cafe::17]\"", Some("2001:db8:cafe::17")),
            ("for=unknown", None),
        ] {
            check(parse_forwarded, text, want);
        }
    }

    #[test]
    fn an_element_is_read_to_its_end_or_not_at_all() {
        for (text, want) in [
            ("proto=https;FOR=192.0.2.1", Some("192.0.2.1")),
            (" for=192.0.2.1 ; proto=https ;; ", Some("192.0.2.1")),
            ("for=192.0.2.1:80", Some("192.0.2.1")), // without the quotes that it should have
            ("for=[2001:db8::1]:80", Some("2001:db8::1")),
            ("host=\"a,b;for=6.6.6.6\\\"\";for=192.0.2.1", Some("192.0.2.1")),
            ("by=\"\\\\\";for=192.0.2.1", Some("192.0.2.1")),
            ("proto=https", None),
            ("", None),
            (";", None),
            ("for=192.0.2.1;for=192.0.2.2", None),
            ("for=192.0.2.1 for=192.0.2.2", None),
            ("for=\"192.0.2.1", None),
            ("for=\"192.0.2.1\"x", None),
            ("for=\"192.0.2.\\1\"", None),
            ("for = 192.0.2.1", None),
            ("for", None),
            ("=192.0.2.1", None),
            ("192.0.2.1", None),
        ] {
            check(parse_forwarded, text, want);
        }
    }
}
