//! What has no secret in it costs no allocation.

use std::hint::black_box;

use http::{HeaderMap, HeaderValue, Uri};
use steeple_scrub::Scrubber;

#[track_caller]
fn check(what: &str, scrub: impl Fn() -> bool) {
    assert!(scrub(), "{what} is clean");
    let counted = allocation_counter::measure(|| {
        black_box(scrub());
    });
    assert_eq!(counted.count_total, 0, "{what}");
}

#[test]
fn clean_text_allocates_nothing() {
    let scrubber = Scrubber::default();
    let long = "the queue went on: 17 of 20 done, next=\"shipping\" in 12ms (retry 0) ".repeat(64);
    for text in [
        "",
        "ok",
        "the cart of this customer was empty",
        "order 81723 saved in 12ms: status=201 items=3 total=59.90 currency=EUR user=u-42 region=eu-west-1",
        "550e8400-e29b-41d4-a716-446655440000",
        "connect to 127.0.0.1:5432 refused (os error 111), token: none",
        "at src/main.rs:42:7 in <shop::Cart as Service>::call",
        &long,
    ] {
        check(text, || scrubber.text(text).is_clean());
        check(text, || scrubber.field("note", text).is_clean());
    }
}

#[test]
fn clean_targets_allocate_nothing() {
    let scrubber = Scrubber::default();
    for query in ["", "a", "page=2&sort=date", "tab=orders&page=2&sort=date&filter=open;x=1"] {
        check(query, || scrubber.query(query).is_clean() && scrubber.form(query).is_clean());
    }
    for path in ["/", "/api/v1/users/42/orders", "/static/app.3f2a1b.js"] {
        check(path, || scrubber.path(path).is_clean());
        let target = Uri::from_static(path);
        check(path, || scrubber.uri(&target).is_clean());
    }
    let url = "https://shop.example.org/users/42?tab=orders&page=2#top";
    check(url, || scrubber.url(url).is_clean());
}

#[test]
fn clean_headers_allocate_nothing() {
    let scrubber = Scrubber::default();
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "shop.example.org"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        ),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-US,en;q=0.9,de;q=0.8"),
        ("referer", "https://shop.example.org/users?page=2"),
        ("sec-ch-ua", "\"Chromium\";v=\"126\", \"Not/A)Brand\";v=\"8\""),
        ("sec-fetch-mode", "navigate"),
        ("x-request-id", "0193e0c4-6d1e-7c1a-9d7e-0123456789ab"),
        // Not shown, and that costs nothing either.
        ("authorization", "Bearer abcdef0123456789"),
        ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    check("headers", || scrubber.headers(&headers).all(|(_, value)| value.is_clean()));
    assert_eq!(scrubber.headers(&headers).count(), headers.len() - 2);
    check("verdicts", || headers.iter().all(|(name, value)| scrubber.header(name, value).or_marker().is_clean()));
}
