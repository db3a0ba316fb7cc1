//! What holds for every input. The property tests and the fuzz targets call these. For tests; not covered by semver.
//!
//! # Panics
//! Each function does, when a property does not hold: scrubbing panics on no input, is done after once, and gives a text without
//! secrets back as it was, borrowed.

#![expect(clippy::missing_panics_doc, reason = "said once, above")]

use std::{borrow::Cow, sync::LazyLock};

use http::{HeaderName, HeaderValue, Uri};

use crate::{EmailPolicy, Scrubbed, Scrubber};

/// Scrubs with the defaults, and with everything configured.
fn scrubbers() -> &'static [Scrubber; 2] {
    static SCRUBBERS: LazyLock<[Scrubber; 2]> = LazyLock::new(build);
    &SCRUBBERS
}

fn build() -> [Scrubber; 2] {
    let all = Scrubber::builder()
        .allow_headers(["x-shop", "x-any-*"])
        .allow_cookies(["theme", "a"])
        .deny_keys(["q"])
        .except_keys(["token"])
        .email(EmailPolicy::Keep)
        .build();
    [Scrubber::default(), all.unwrap_or_default()]
}

#[track_caller]
fn once_and_for_all(text: &str, scrub: impl Fn(&str) -> Scrubbed<Cow<'_, str>>) {
    let once = scrub(text);
    if once.is_clean() {
        assert_eq!(once, text, "borrowed is unchanged");
    }
    let twice = scrub(&once);
    assert_eq!(twice, once, "scrubbing {text:?} twice");
    assert!(twice.is_clean(), "a clean text is borrowed: {once:?}");
}

fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Free text.
pub fn text(bytes: &[u8]) {
    for scrubber in scrubbers() {
        once_and_for_all(&lossy(bytes), |text| owned_if_changed(text, scrubber.text(text)));
    }
}

/// The closure's result must not borrow from anything but its argument.
fn owned_if_changed<'t>(_text: &'t str, scrubbed: Scrubbed<Cow<'t, str>>) -> Scrubbed<Cow<'t, str>> {
    scrubbed
}

/// Queries and forms.
pub fn query(bytes: &[u8]) {
    for scrubber in scrubbers() {
        once_and_for_all(&lossy(bytes), |text| owned_if_changed(text, scrubber.query(text)));
        once_and_for_all(&lossy(bytes), |text| owned_if_changed(text, scrubber.form(text)));
    }
}

/// Paths.
pub fn path(bytes: &[u8]) {
    for scrubber in scrubbers() {
        once_and_for_all(&lossy(bytes), |text| owned_if_changed(text, scrubber.path(text)));
    }
}

/// URLs, as text and parsed.
pub fn url(bytes: &[u8]) {
    for scrubber in scrubbers() {
        once_and_for_all(&lossy(bytes), |text| owned_if_changed(text, scrubber.url(text)));
        if let Ok(uri) = Uri::try_from(bytes) {
            drop(scrubber.uri(&uri));
        }
    }
}

/// Headers, shown and hidden, and cookies.
pub fn header(bytes: &[u8]) {
    for scrubber in scrubbers() {
        once_and_for_all(&lossy(bytes), |text| owned_if_changed(text, scrubber.cookies(text)));
        let Ok(value) = HeaderValue::from_bytes(bytes) else { continue };
        let mut names = ["user-agent", "referer", "cookie", "set-cookie", "authorization", "x-any-thing"]
            .map(HeaderName::from_static)
            .to_vec();
        names.extend(HeaderName::from_bytes(bytes).ok());
        for name in names {
            let Some(once) = scrubber.header(&name, &value).shown() else { continue };
            let Ok(again) = HeaderValue::from_bytes(once.as_bytes()) else { continue };
            assert_eq!(
                scrubber.header(&name, &again).shown().map(Scrubbed::into_inner).as_deref(),
                Some(&**once),
                "{name} twice"
            );
            let mut hidden = value.clone();
            hidden.set_sensitive(true);
            assert_eq!(scrubber.header(&name, &hidden).shown(), None, "a sensitive value is never shown");
        }
    }
}

/// Fields.
pub fn field(name: &[u8], value: &[u8]) {
    for scrubber in scrubbers() {
        let name = lossy(name);
        once_and_for_all(&lossy(value), |text| owned_if_changed(text, scrubber.field(&name, text)));
    }
}

/// JSON documents; without the feature `json`, text.
pub fn json(bytes: &[u8]) {
    #[cfg(feature = "json")]
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) {
        for scrubber in scrubbers() {
            let mut once = value.clone();
            scrubber.json(&mut once);
            let mut twice = once.clone();
            scrubber.json(&mut twice);
            assert_eq!(twice, once, "scrubbing {value} twice");
        }
    }
    text(bytes);
}

/// All of them.
pub fn all(bytes: &[u8]) {
    text(bytes);
    query(bytes);
    path(bytes);
    url(bytes);
    header(bytes);
    json(bytes);
    let (name, value) = bytes.split_at_checked(bytes.len() / 2).unwrap_or_default();
    field(name, value);
}

/// `words` hold nothing secret: each surface gives them back, borrowed.
pub fn clean(words: &str) {
    let scrubber = Scrubber::default();
    for scrubbed in [
        scrubber.text(words),
        scrubber.query(words),
        scrubber.path(words),
        scrubber.url(words),
        scrubber.field("note", words),
    ] {
        assert_eq!(scrubbed, words, "clean text stays as it is");
        assert!(scrubbed.is_clean(), "clean text is borrowed: {words:?}");
    }
}
