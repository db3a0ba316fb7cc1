//! The client's address, behind proxies that are trusted and in front of clients that are not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use steeple_user::{AddressResolver, Forwarding, Peer, TrustedProxies};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn resolver(proxies: &str) -> AddressResolver {
    AddressResolver::new(proxies.parse::<TrustedProxies>().unwrap())
}

fn headers(name: &'static str, lines: &[&str]) -> HeaderMap {
    lines.iter().map(|line| (HeaderName::from_static(name), HeaderValue::from_str(line).unwrap())).collect()
}

const PEER: &str = "10.0.0.1";

fn peer_at(address: &str) -> Peer {
    Peer::Address((ip(address), 4711).into())
}

#[track_caller]
fn check_xff(proxies: &str, peer: &str, lines: &[&str], want: &str) {
    let found = resolver(proxies).resolve(Some(peer_at(peer)), &headers("x-forwarded-for", lines));
    assert_eq!(found, Some(ip(want)), "{lines:?} from {peer} behind {proxies:?}");
}

#[track_caller]
fn check_forwarded(proxies: &str, lines: &[&str], want: &str) {
    let resolver = resolver(proxies).forwarding(Forwarding::Forwarded);
    let found = resolver.resolve(Some(peer_at(PEER)), &headers("forwarded", lines));
    assert_eq!(found, Some(ip(want)), "{lines:?} behind {proxies:?}");
}

#[test]
fn a_stranger_is_the_client_whatever_he_sends() {
    check_xff("", PEER, &["1.1.1.1"], PEER);
    check_xff("10.0.0.0/8", "192.0.2.9", &["1.1.1.1", "10.0.0.2"], "192.0.2.9");
    check_xff("10.0.0.0/8", "::ffff:192.0.2.9", &["1.1.1.1"], "192.0.2.9");
}

#[test]
fn the_first_untrusted_hop_from_the_right_is_the_client() {
    for (lines, want) in [
        (&["203.0.113.9"][..], "203.0.113.9"),
        (&["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        (&["1.1.1.1, 203.0.113.9, 10.0.0.3,10.0.0.2"], "203.0.113.9"),
        (&["1.1.1.1", "203.0.113.9", "10.0.0.3 , 10.0.0.2"], "203.0.113.9"),
        (&["203.0.113.9:5678"], "203.0.113.9"),
        (&["[2001:db8::9]:443, 10.0.0.2"], "2001:db8::9"),
        (&["2001:db8::9\t"], "2001:db8::9"),
        (&["1.1.1.1, ::ffff:10.0.0.2, ::ffff:10.0.0.3"], "1.1.1.1"),
    ] {
        check_xff("10.0.0.0/8", PEER, lines, want);
    }
}

#[test]
fn the_leftmost_is_the_client_when_all_are_proxies() {
    check_xff("10.0.0.0/8", PEER, &["10.0.0.9, 10.0.0.2"], "10.0.0.9");
    check_xff("10.0.0.0/8", PEER, &[], PEER);
}

#[test]
fn what_cannot_be_read_ends_the_walk_at_the_last_trusted_hop() {
    for odd in ["unknown", "", "_hidden", "fe80::1%eth0", "203.0.113.9x", "for=203.0.113.9", "203.0.113.09"] {
        check_xff("10.0.0.0/8", PEER, &[&format!("1.1.1.1, {odd}, 10.0.0.3, 10.0.0.2")], "10.0.0.3");
        check_xff("10.0.0.0/8", PEER, &[&format!("1.1.1.1, {odd}")], PEER);
    }
}

#[test]
fn the_caps_bound_the_walk_and_not_what_a_client_prepends() {
    let flood = "1.1.1.1, ".repeat(10_000);
    check_xff("10.0.0.0/8", PEER, &[&flood, "203.0.113.9, 10.0.0.2"], "203.0.113.9");
    check_xff("10.0.0.0/8", PEER, &[&format!("{flood}203.0.113.9, 10.0.0.2")], "203.0.113.9");
    let long = "x".repeat(10_000);
    check_xff("10.0.0.0/8", PEER, &[&format!("{long},203.0.113.9,10.0.0.2")], "203.0.113.9");
    check_xff("10.0.0.0/8", PEER, &[&format!("203.0.113.9,{long},10.0.0.2")], "10.0.0.2");
    let hops = format!("203.0.113.9{}", ", 10.0.0.2".repeat(31));
    check_xff("10.0.0.0/8", PEER, &[&hops], "203.0.113.9");
    let hops = format!("203.0.113.9{}", ", 10.0.0.2".repeat(32));
    check_xff("10.0.0.0/8", PEER, &[&hops], "10.0.0.2");
    let spaces = format!("203.0.113.9,{}10.0.0.2", " ".repeat(2_000));
    check_xff("10.0.0.0/8", PEER, &[&spaces], "203.0.113.9");
    let spaces = format!("203.0.113.9,{}10.0.0.2", " ".repeat(2_100));
    check_xff("10.0.0.0/8", PEER, &[&spaces], PEER);
}

#[test]
fn with_a_number_of_proxies_the_entry_is_counted_from_the_right() {
    check_xff("1", "198.51.100.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9");
    check_xff("2", "198.51.100.1", &["1.1.1.1", "203.0.113.9, 198.51.100.2"], "203.0.113.9");
    check_xff("2", "198.51.100.1", &["203.0.113.9"], "198.51.100.1");
    check_xff("2", "198.51.100.1", &["unknown, 198.51.100.2"], "198.51.100.1");
    check_xff("2", "198.51.100.1", &["203.0.113.9, unknown"], "203.0.113.9");
    check_xff("1", "198.51.100.1", &[], "198.51.100.1");
    let unknown_peer = resolver("1").resolve(None, &headers("x-forwarded-for", &["203.0.113.9"]));
    assert_eq!(unknown_peer, Some(ip("203.0.113.9")), "as behind a Unix socket");
}

#[test]
fn forwarded_is_walked_like_x_forwarded_for() {
    for (lines, want) in [
        (&["for=203.0.113.9"][..], "203.0.113.9"),
        (&["for=1.1.1.1, For=\"[2001:db8::9]:4711\";proto=https;by=_me, for=10.0.0.2"], "2001:db8::9"),
        (&["for=1.1.1.1", "for=203.0.113.9;host=\"a,b\"", "for=\"10.0.0.2:80\""], "203.0.113.9"),
        (&["for=203.0.113.9, for=unknown"], PEER),
        (&["for=203.0.113.9, for=_hidden, for=10.0.0.2"], "10.0.0.2"),
        (&["for=203.0.113.9, proto=https"], PEER),
        (&["for=203.0.113.9, for=10.0.0.2;for=10.0.0.3"], PEER),
        (&["for=203.0.113.9, for=\"10.0.0.2"], PEER),
        (&[], PEER),
    ] {
        check_forwarded("10.0.0.0/8", lines, want);
    }
    check_forwarded("2", &["for=1.1.1.1, for=203.0.113.9;host=\",\", for=_hidden"], "203.0.113.9");
}

#[test]
fn a_quote_that_a_client_left_open_swallows_nothing() {
    for attack in
        ["for=\"", "for=\"1.1.1.1", "for=\"\\", "\"", "for=1.1.1.1;x=\"", "for=\"\\\\\"\\", "host=\"a,", "\\\""]
    {
        check_forwarded("10.0.0.0/8", &[&format!("{attack}, for=\"[2001:db8::9]:1\";by=\"x,y\"")], "2001:db8::9");
        check_forwarded("10.0.0.0/8", &[attack, "for=203.0.113.9, for=\"10.0.0.2\""], "203.0.113.9");
    }
}

#[test]
fn only_the_header_that_is_configured_counts() {
    let mut both = headers("x-forwarded-for", &["1.1.1.1"]);
    both.extend(headers("forwarded", &["for=2.2.2.2"]));
    both.extend(headers("cf-connecting-ip", &["3.3.3.3"]));
    let resolve = |header: &'static str| {
        resolver(PEER).forwarding(HeaderName::from_static(header)).resolve(Some(peer_at(PEER)), &both)
    };
    assert_eq!(resolve("x-forwarded-for"), Some(ip("1.1.1.1")));
    assert_eq!(resolve("forwarded"), Some(ip("2.2.2.2")));
    assert_eq!(resolve("cf-connecting-ip"), Some(ip("3.3.3.3")));
    assert_eq!(resolve("x-real-ip"), Some(ip(PEER)));
}

#[test]
fn a_header_of_one_address_is_believed_of_a_trusted_peer_and_only_alone() {
    let check = |name: &'static str, peer: &str, lines: &[&str], want: &str| {
        let resolver = resolver("10.0.0.0/8").forwarding(HeaderName::from_static(name));
        assert_eq!(resolver.resolve(Some(peer_at(peer)), &headers(name, lines)), Some(ip(want)), "{name} {lines:?}");
    };
    check("x-real-ip", PEER, &["203.0.113.9"], "203.0.113.9");
    check("x-real-ip", "192.0.2.9", &["203.0.113.9"], "192.0.2.9");
    check("x-real-ip", PEER, &["203.0.113.9", "203.0.113.9"], PEER);
    check("x-real-ip", PEER, &["203.0.113.9, 203.0.113.10"], PEER);
    check("cf-connecting-ip", PEER, &["2001:db8::9"], "2001:db8::9");
    check("cloudfront-viewer-address", PEER, &["203.0.113.9:46532"], "203.0.113.9");
    check("cloudfront-viewer-address", PEER, &["2001:db8::9:46532"], "2001:db8::9");
    check("cloudfront-viewer-address", PEER, &["203.0.113.9"], PEER);
}

#[test]
fn forwarding_headers_are_ignored_without_a_peer() {
    assert_eq!(resolver("10.0.0.0/8").resolve(None, &headers("x-forwarded-for", &["1.1.1.1"])), None);
    assert_eq!(resolver("").resolve(None, &HeaderMap::new()), None);
}

/// Bytes that a header may hold, with those that matter more often than by chance.
fn header_bytes() -> impl Strategy<Value = HeaderValue> {
    let interesting = prop::sample::select(b",;\"\\=[]:%. \t1f\xff".to_vec());
    let byte = prop_oneof![3 => interesting, 1 => (32_u8..=255).prop_filter("no DEL", |byte| *byte != 127)];
    let piece = prop_oneof![
        prop::collection::vec(byte, 0..12),
        prop::sample::select(vec!["1.1.1.1", "for=", "for=1.1.1.1", "10.0.0.9", "unknown", "[::1]:1", "host=\"a,b\""])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| HeaderValue::from_bytes(&pieces.concat()).unwrap())
}

/// What the client sent, and what trusted proxies appended: in the same line, or in separate lines.
fn prepend(name: &'static str, attack: &[HeaderValue], appended: &str, joined: bool) -> HeaderMap {
    let name = HeaderName::from_static(name);
    let mut lines = attack.to_vec();
    if let Some(last) = lines.pop().filter(|_| joined) {
        lines.push(HeaderValue::from_bytes(&[last.as_bytes(), b", ", appended.as_bytes()].concat()).unwrap());
    } else {
        lines = attack.to_vec();
        lines.push(HeaderValue::from_str(appended).unwrap());
    }
    lines.into_iter().map(|line| (name.clone(), line)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_walked_without_a_panic(
        lines in prop::collection::vec(header_bytes(), 0..4),
        proxies in prop::sample::select(vec!["", "10.0.0.0/8", "0.0.0.0/0,::/0", "1", "3", "32"]),
        name in prop::sample::select(vec!["x-forwarded-for", "forwarded", "x-real-ip", "cloudfront-viewer-address"]),
    ) {
        let resolver = resolver(proxies).forwarding(HeaderName::from_static(name));
        let headers: HeaderMap = lines.into_iter().map(|line| (HeaderName::from_static(name), line)).collect();
        prop_assert!(resolver.resolve(Some(peer_at(PEER)), &headers).is_some());
    }

    #[test]
    fn what_a_client_prepends_never_changes_who_he_is(
        attack in prop::collection::vec(header_bytes(), 0..4),
        joined: bool,
        client in prop::sample::select(vec!["203.0.113.9", "203.0.113.9:4711", "2001:db8::9", "[2001:db8::9]:1"]),
        hops in 0_usize..4,
    ) {
        let want = if client.starts_with("203") { ip("203.0.113.9") } else { ip("2001:db8::9") };
        let appended = format!("{client}{}", ", 10.0.0.2".repeat(hops));
        let headers = prepend("x-forwarded-for", &attack, &appended, joined);
        let by_number = hops.saturating_add(1).to_string();
        for proxies in ["10.0.0.0/8", by_number.as_str()] {
            prop_assert_eq!(resolver(proxies).resolve(Some(peer_at(PEER)), &headers), Some(want));
        }
        let appended = format!("for=\"{client}\";by=\"a,\\\"b\\\\\"{}", ", proto=https;for=10.0.0.2".repeat(hops));
        let headers = prepend("forwarded", &attack, &appended, joined);
        for proxies in ["10.0.0.0/8", by_number.as_str()] {
            let resolver = resolver(proxies).forwarding(Forwarding::Forwarded);
            prop_assert_eq!(resolver.resolve(Some(peer_at(PEER)), &headers), Some(want));
        }
    }

    #[test]
    fn any_text_is_a_list_of_proxies_or_an_error(text in "[0-9a-f:./, %a-z]{0,40}|\\PC*") {
        if let Err(error) = text.parse::<TrustedProxies>() {
            prop_assert!(error.is_proxies() && !error.is_key());
        }
    }
}
