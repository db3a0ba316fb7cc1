//! Each surface by example, the configuration, and time that is linear.
use std::{error::Error, fmt};

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use steeple_scrub::{EmailPolicy, HeaderVerdict, HideReason, Scrubbed, Scrubber};

#[track_caller]
fn check(got: &str, want: &str) {
    assert_eq!(got, want);
}

/// The table in the README.
#[test]
fn the_readme_shows_what_comes_out() {
    let scrubber = Scrubber::default();
    let rows = include_str!("../../README.md").lines().filter(|line| line.starts_with("| `"));
    let mut seen = 0;
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])).collect();
        let [surface, given, want] = cells[..] else { continue };
        let got = match surface {
            "text" => scrubber.text(given),
            "query`, `form" => scrubber.query(given),
            "url" => scrubber.url(given),
            "field(\"PWD\", …)" => scrubber.field("PWD", given),
            _ => continue,
        };
        assert_eq!(got, want, "{given}");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn text_loses_whole_values_with_a_reason() {
    let scrubber = Scrubber::default();
    for (text, want) in [
        ("login failed: password=hunter2 user=7", "login failed: password=[redacted:key] user=7"),
        (r#"body {"password":"a\"b","x":1}"#, r#"body {"password":"[redacted:key]","x":1}"#),
        (r#"sent "{\"token\":\"abc\"}""#, r#"sent "{\"token\":\"[redacted:key]\"}""#),
        ("Server=db;Password=Pa,ss;Encrypt=yes", "Server=db;Password=[redacted:key];Encrypt=yes"),
        ("<password>a b</password>", "<password>[redacted:key]</password>"),
        ("mail alice@shop.example, please", "mail [redacted:email], please"),
        ("card 4111 1111 1111 1111 declined", "card [redacted:card] declined"),
        ("paid from DE89370400440532013000", "paid from [redacted:iban]"),
        ("got Basic dXNlcjpodW50ZXIy", "got Basic [redacted:basic]"),
        ("amqp://u:p/w#d@mq/v", "amqp://[redacted:userinfo]@mq/v"),
        ("GET /cb?next=%2F%3Ftoken%3Dabc%26x%3D1", "GET /cb?next=%2F%3Ftoken%3D[redacted:key]%26x%3D1"),
        ("code=Zx81kPq0LmN44rTvYw2s", "code=[redacted:entropy]"),
        ("code=E1234", "code=E1234"),
    ] {
        check(&scrubber.text(text), want);
    }
}

#[test]
fn a_query_is_judged_by_names_and_values_both_decoded() {
    let scrubber = Scrubber::default();
    for (query, want) in [
        ("", ""),
        ("page=2&flag&x=", "page=2&flag&x="),
        ("%70assword=x&a=1", "%70assword=[redacted:key]&a=1"),
        ("user[password]=x", "user[password]=[redacted:key]"),
        ("to=alice%40shop.example", "to=[redacted:email]"),
        ("to=a+b@shop.example", "to=[redacted:email]"),
        ("h=Bearer+abcdef0123456789", "h=[redacted:bearer]"),
        ("q=a=b;token=x", "q=a=b;token=[redacted:key]"),
        ("next=%2Fcb%3Ftoken%3Dx", "next=[redacted:key]"),
        ("alice@shop.example=7", "[redacted:email]=[redacted:key]"),
        ("code=4/0AX4.Xf1.h9k.Zq7.m2N.3Rs", "code=[redacted:entropy]"),
    ] {
        check(&scrubber.query(query), want);
        check(&scrubber.form(query), want);
    }
}

#[test]
fn urls_lose_user_query_and_fragment_secrets() {
    let scrubber = Scrubber::default();
    for (url, want) in [
        (
            "https://u:p@shop.example/a?token=x#access_token=y",
            "https://[redacted:userinfo]@shop.example/a?token=[redacted:key]#access_token=[redacted:key]",
        ),
        ("https://shop.example/#/cb?token=x", "https://shop.example/#/cb?token=[redacted:key]"),
        ("/a/alice@shop.example/b", "/a/[redacted:email]/b"),
        ("//u:p@shop.example", "//[redacted:userinfo]@shop.example"),
        ("https://shop.example", "https://shop.example"),
        ("not a url", "not a url"),
    ] {
        check(&scrubber.url(url), want);
    }
    check(&scrubber.path("/reset-password/Zx81kPq0LmN44rTvYw2s"), "/reset-password/[redacted:entropy]");
    check(
        &scrubber.uri(&Uri::from_static("https://u:p@shop.example/a?sig=x")),
        "https://[redacted:userinfo]@shop.example/a?sig=[redacted:key]",
    );
    let target = Uri::from_static("/items?page=2");
    assert!(scrubber.uri(&target).is_clean(), "a clean target is borrowed");
}

#[test]
fn a_header_is_shown_only_if_allowed_and_never_if_denied_or_sensitive() {
    let scrubber = Scrubber::builder()
        .allow_headers(["x-shop-*", "x-api-key", "X-Tenant"])
        .except_keys(["x-shop-key"])
        .build()
        .unwrap();
    let verdict = |name: &'static str, value: &'static str| {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        scrubber.header(&name, &value).shown().map(|shown| shown.to_string()).ok_or_else(|| {
            match scrubber.header(&name, &value) {
                HeaderVerdict::Hidden(reason) => reason,
                HeaderVerdict::Shown(_) => unreachable!("it was hidden a line above"),
            }
        })
    };
    assert_eq!(verdict("accept", "*/*"), Ok("*/*".to_owned()));
    assert_eq!(verdict("x-tenant", "blue"), Ok("blue".to_owned()));
    assert_eq!(verdict("x-shop-area", "north"), Ok("north".to_owned()));
    assert_eq!(verdict("x-shop-key", "7"), Ok("7".to_owned()), "excepted");
    assert_eq!(verdict("x-shop-token", "7"), Err(HideReason::Denied), "the deny list wins over the allow list");
    assert_eq!(verdict("x-api-key", "7"), Err(HideReason::Denied));
    assert_eq!(verdict("x-other", "7"), Err(HideReason::NotAllowed));
    assert_eq!(
        verdict("referer", "https://x.example/?token=7"),
        Ok("https://x.example/?token=[redacted:key]".to_owned())
    );
    assert_eq!(verdict("user-agent", "bot (alice@shop.example)"), Ok("bot ([redacted:email])".to_owned()));
    let mut value = HeaderValue::from_static("*/*");
    value.set_sensitive(true);
    assert_eq!(
        scrubber.header(&HeaderName::from_static("accept"), &value),
        HeaderVerdict::Hidden(HideReason::Sensitive)
    );
    let latin = HeaderValue::from_bytes(b"caf\xe9").unwrap();
    assert_eq!(
        scrubber.header(&HeaderName::from_static("accept"), &latin),
        HeaderVerdict::Shown(Scrubbed::from_static("caf\u{fffd}").into())
    );
}

#[test]
fn what_other_tools_let_through_is_hidden() {
    let mut headers = HeaderMap::new();
    for name in [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x-auth-token",
        "x-access-token",
        "x-refresh-token",
        "x-csrf-token",
        "x-xsrf-token",
        "x-session-id",
        "x-amz-security-token",
        "x-goog-iap-jwt-assertion",
        "cf-access-jwt-assertion",
        "x-vault-token",
        "x-gitlab-token",
        "x-hub-signature-256",
        "stripe-signature",
        "apikey",
        "x-authorization",
        "authentication",
        "x-functions-key",
        "forwarded",
        "cf-connecting-ip",
        "true-client-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-forwarded-for",
        "x-real-ip",
        "x-forwarded-user",
        "x-remote-user",
        "x-user-id",
        "x-ssl-client-cert",
        "baggage",
    ] {
        headers.insert(name, HeaderValue::from_static("v"));
    }
    let scrubber = Scrubber::default();
    assert_eq!(scrubber.headers(&headers).count(), 0);
}

#[test]
fn cookies_are_shown_by_name() {
    let scrubber = Scrubber::builder().allow_cookies(["theme", "session"]).build().unwrap();
    let cookie = HeaderValue::from_static("theme=dark; id=7; session=9; x");
    let shown = scrubber.header(&http::header::COOKIE, &cookie).shown().unwrap().into_owned();
    check(&shown, "theme=dark; id=[redacted:cookie]; session=[redacted:key]; [redacted:cookie]");
    let set = HeaderValue::from_static("id=7; Path=/; HttpOnly");
    check(&scrubber.header(&http::header::SET_COOKIE, &set).shown().unwrap(), "id=[redacted:cookie]; Path=/; HttpOnly");
    let hidden = Scrubber::default();
    assert_eq!(hidden.header(&http::header::COOKIE, &cookie).shown(), None);
}

#[test]
fn a_pattern_that_is_unusable_is_an_error_that_names_it() {
    for (name, regex) in
        [("order", "("), ("Order", "x"), ("jwt", "x"), ("", "x"), ("order", "x*"), ("big", "(\\w{1000}){1000}")]
    {
        let error = Scrubber::builder().pattern(name, regex).build().unwrap_err();
        assert!(error.is_pattern() && error.to_string().contains(&format!("`{name}`")), "{error}");
    }
    assert!(Scrubber::builder().pattern("a", "x").pattern("a", "y").build().unwrap_err().is_pattern(), "two of a name");
    assert!(Scrubber::builder().allow_headers(["no header"]).build().unwrap_err().is_header());
    assert!(Scrubber::builder().deny_headers([""]).build().unwrap_err().is_header());
    assert!(Scrubber::builder().deny_keys(["--"]).build().unwrap_err().is_key());
}

#[test]
fn the_configuration_is_obeyed_everywhere_and_explained() {
    let scrubber = Scrubber::builder()
        .deny_keys(["customer-number"])
        .except_keys(["session_kind", "sid"])
        .email(EmailPolicy::Keep)
        .pattern("order", r"\bORD-[0-9]{4}\b")
        .build()
        .unwrap();
    check(
        &scrubber.query("customerNumber=7&sid=9&x=ORD-1234"),
        "customerNumber=[redacted:key]&sid=9&x=[redacted:order]",
    );
    check(
        &scrubber.text("customer_number=7 sid=9 ORD-1234 a@b.example"),
        "customer_number=[redacted:key] sid=9 [redacted:order] a@b.example",
    );
    check(&scrubber.path("/ORD-1234"), "/[redacted:order]");
    check(&scrubber.field("customer.number", "7"), "[redacted:key]");
    let explained = scrubber.explain().to_string();
    for part in
        ["customernumber", "sessionkind", "[redacted:order]: pattern", "kept: e-mail", "user-agent", "[redacted:jwt]"]
    {
        assert!(explained.contains(part), "{part} is missing in:\n{explained}");
    }
}

#[derive(Debug)]
struct Level(u32);

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {} password=hunter2", self.0)
    }
}

impl Error for Level {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&Level(1))
            .filter(|_| self.0 == 0)
            .map(|level| level as _)
            .or_else(|| (self.0 == 1).then_some(&std::fmt::Error as _))
    }
}

#[test]
fn an_error_chain_is_scrubbed_at_each_level() {
    let chain = Scrubber::default().error_chain(&Level(0)).into_inner();
    assert!(chain.starts_with("level 0 password=[redacted:key]: level 1 password=[redacted:key]: an error"), "{chain}");
}

#[derive(Debug)]
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("again")
    }
}

impl Error for Endless {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&Endless)
    }
}

#[test]
fn an_endless_error_chain_ends() {
    assert_eq!(Scrubber::default().error_chain(&Endless).matches("again").count(), 32);
}

#[cfg(feature = "json")]
mod json {
    use serde_json::{Value, json};
    use steeple_scrub::Scrubber;

    #[track_caller]
    fn check(mut value: Value, want: &Value) {
        Scrubber::default().json(&mut value);
        assert_eq!(value, *want);
    }

    #[test]
    fn members_go_by_name_and_by_look() {
        check(
            json!({ "user": { "password": "x", "pin": 1234, "credentials": { "a": [1] }, "token": null, "session": "", "max_tokens": 5 }, "n": 7 }),
            &json!({ "user": { "password": "[redacted:key]", "pin": "[redacted:key]", "credentials": "[redacted:key]", "token": null, "session": "",
                "max_tokens": 5 }, "n": 7 }),
        );
        check(json!([4_111_111_111_111_111_u64, "a@b.example"]), &json!(["[redacted:card]", "[redacted:email]"]));
        check(json!({ "a@b.example": 1 }), &json!({ "[redacted:email]": "[redacted:key]" }));
        check(
            json!([{ "name": "password", "value": "x" }, ["x-api-key", "y"]]),
            &json!([{ "name": "password", "value": "[redacted:key]" }, ["x-api-key", "[redacted:key]"]]),
        );
    }

    #[test]
    fn no_depth_overflows_the_stack() {
        let nest = |depth: usize| (0..depth).fold(json!({ "password": "x" }), |inner, _| Value::Array(vec![inner]));
        let mut deep = nest(100_000);
        Scrubber::default().json(&mut deep);
        let mut denied = json!({});
        denied.as_object_mut().expect("an object").insert("secret".to_owned(), nest(100_000));
        Scrubber::default().json(&mut denied);
        assert_eq!(denied, json!({ "secret": "[redacted:key]" }));
        // `Value` drops recursively; take it apart.
        let mut level = deep;
        while let Value::Array(mut items) = level {
            level = items.pop().expect("one inside");
        }
        assert_eq!(level, json!({ "password": "[redacted:key]" }));
    }
}

/// How many bytes a text of one piece has: a quadratic algorithm takes minutes for that many, a linear one a second at most.
const PIECES: usize = 50_000;

/// Longer than that only what hangs takes, on any machine.
const HANG: std::time::Duration = std::time::Duration::from_secs(30);

/// Bytes that make a careless scanner go back again and again.
#[test]
fn time_is_linear_in_the_input() {
    let scrubber = Scrubber::builder().pattern("far", r"a[^b]*b").build().unwrap();
    let pieces = [
        "token:",
        "key:\"",
        "key:[",
        "pin:a",
        "password=",
        "password=[",
        "a@",
        "a://",
        "a://b:c/",
        "ey-",
        "eyJhbGciOi-",
        "sk-",
        "sk-a1",
        "M-",
        "s.",
        "4111 ",
        "4111-",
        "1",
        "DE89",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "Bearer ",
        "Digest a=",
        "digest username=\"",
        "%25",
        "\\\\",
        "\\\"",
        "key:\\\"key:\"",
        "<token>",
        "--token ",
        "hooks.slack.com/services/",
        "@tcp(",
        ".com/",
        "Q~",
        "[redacted:key]",
        "[redacted:",
        "&quot;",
        "a",
        "é",
        "'",
        " '",
        "password '",
        "x=1&",
        ";",
        "/",
        "code=a1B2-",
        "oracle:thin:@a",
        "fo1_",
        "glpat-",
        "access-sandbox-",
        "xoxa-",
        "whsec_a/",
        "SG.",
        "bot12345:A",
        "12345|",
        "(\"password\",",
        "(\"password\",\"",
        "{name:token,",
        "value=name=password ",
        "form-data; name=\"password\" ",
        "form-data; name=\"password\"\n\n",
        "<password ",
        "<password a='",
        "<password a><![CDATA[",
        "<name>password</name>",
        "docker login -p ",
        " -p",
        " -u a:b",
        "--token \"",
        "--user ",
        "login a password ",
        "password: |\n  ",
        "a: B = ",
        "password: &str",
        "пароль",
        "?+.=",
    ];
    for piece in pieces {
        let text = piece.repeat(PIECES / piece.len());
        let start = std::time::Instant::now();
        drop((scrubber.text(&text), scrubber.query(&text), scrubber.path(&text), scrubber.url(&text)));
        let took = start.elapsed();
        assert!(took < HANG, "{piece:?}: {took:?} for {} kB", text.len() / 1_000);
    }
}
