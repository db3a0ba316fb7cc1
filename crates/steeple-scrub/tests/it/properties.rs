//! What holds for every input, on every surface; the fuzz targets check the same.

use proptest::prelude::*;
use steeple_scrub::{Scrubber, corpus, property};

/// Pieces that detectors begin with, and anything else.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => prop::sample::select(vec![
            "password", "token", "=", ":", ": ", "://", "@", "/", "?", "&", ";", "%3D", "%40", "%25", "\\\"", "\\u0040", "\"", "'", "`", " ", "\n",
            "Bearer ", "Basic ", "Digest ", "username=\"", "ey", "eyJhbGciOiJIUzI1NiJ9", ".", "AKIA", "ghp_", "sk-", "xoxb-", "-----BEGIN ",
            "RSA PRIVATE KEY-----", "-----END ", "4111 1111 1111 1111", "4111111111111111", "DE89370400440532013000", "a@b.cd", "[redacted:key]",
            "[redacted:", "]", "[", "{", "}", "<", ">", "</", "key", "cookie", "authorization", "--", "is ", "ssn", "078-05-1120", "1234567890", "abcdefgh",
            "Zx81kPq0LmN44rTvYw2s", "hooks.slack.com/services/", "@tcp(", "Some(", "&quot;", "é", "日", "\u{0}", "#", "=>", "oracle:thin:", "Q~",
            "name=\"password\"", "value=", "\"value\":", "curl ", "-u ", " -p", "docker login ", "form-data; name=", "\r\n\r\n", "<![CDATA[", "]]>", "|\n  ",
            " = ", ": &str", "(\"password\", \"", "\")", "?= ", "+= ", "<password id=", "pwd", "/srv/app", "login a ", "пароль", "xoxa-", "whsec_", "+", "bot",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,12}",
        1 => "[A-Za-z0-9_-]{1,40}",
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Words that no detector minds.
fn clean() -> impl Strategy<Value = String> {
    prop::collection::vec("[b-hj-z]{1,9}", 0..12).prop_map(|words| words.join(" "))
}

fn secret() -> impl Strategy<Value = corpus::Secret> {
    prop::sample::select(corpus::secrets())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_is_scrubbed_once_and_for_all(text in text()) {
        property::text(text.as_bytes());
    }

    #[test]
    fn queries_and_forms_are_scrubbed_once_and_for_all(text in text()) {
        property::query(text.as_bytes());
    }

    #[test]
    fn paths_are_scrubbed_once_and_for_all(text in text()) {
        property::path(text.as_bytes());
    }

    #[test]
    fn urls_are_scrubbed_once_and_for_all(text in text()) {
        property::url(text.as_bytes());
    }

    #[test]
    fn headers_and_cookies_are_scrubbed_once_and_for_all(text in text()) {
        property::header(text.as_bytes());
    }

    #[test]
    fn json_is_scrubbed_once_and_for_all(name in text(), value in text(), depth in 0_usize..5) {
        let inner = serde_json::json!({ name.clone(): [value, { "n": name }] });
        let nested = (0..depth).fold(inner, |inner, _| serde_json::json!([inner]));
        property::json(nested.to_string().as_bytes());
    }

    #[test]
    fn fields_are_scrubbed_once_and_for_all(name in text(), value in text()) {
        property::field(name.as_bytes(), value.as_bytes());
    }

    #[test]
    fn any_bytes_will_do(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        property::all(&bytes);
    }

    #[test]
    fn clean_text_comes_back_borrowed(text in clean()) {
        property::clean(&text);
    }

    #[test]
    fn a_planted_secret_goes_whatever_surrounds_it(secret in secret(), before in clean(), after in clean()) {
        let place = secret.place;
        let planted = match place {
            corpus::Place::Message | corpus::Place::Error | corpus::Place::Breadcrumb => {
                corpus::Secret { text: format!("{before} {}\n{after}", secret.text), ..secret }
            }
            corpus::Place::Query | corpus::Place::Form => {
                corpus::Secret { text: format!("a={before}&{}&b={after}", secret.text), ..secret }
            }
            corpus::Place::Header
            | corpus::Place::Path
            | corpus::Place::Target
            | corpus::Place::Url
            | corpus::Place::Json
            | corpus::Place::Cookie
            | corpus::Place::Field
            | _ => secret,
        };
        let seen = planted.seen(&Scrubber::default());
        prop_assert!(!planted.leaks_into(&seen), "{planted:?} leaks: {seen}");
    }
}
