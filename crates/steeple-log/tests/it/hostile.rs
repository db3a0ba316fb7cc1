//! Nothing that a client sends can forge a line, break one, or hide in one.

use http::{HeaderValue, Request, Uri};
use proptest::prelude::*;
use serde_json::Value;
use steeple_core::{Exchange, User};
use steeple_log::{Format, log_error, log_event};
use tracing::subscriber::with_default;
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::support::{Book, Client, read, send, send_through};

/// What no line may have in it, written as it is.
fn is_forbidden(char: char) -> bool {
    matches!(char,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// So many lines, none of which has anything in it that could be taken for another.
#[track_caller]
fn check(book: &Book, lines: usize) -> String {
    let text = book.text();
    assert!(text.is_empty() || text.ends_with('\n'));
    assert_eq!(text.lines().count(), lines, "{text}");
    for line in text.lines() {
        assert!(!line.chars().any(is_forbidden), "{line}");
    }
    text
}

/// Text of the characters that break things, among others.
fn nasty() -> impl Strategy<Value = String> {
    let chars = prop_oneof![
        any::<char>(),
        prop::char::range('\0', '\u{ff}'),
        prop::sample::select(vec![
            '\n',
            '\r',
            '"',
            '\\',
            '{',
            '}',
            ',',
            '\u{1b}',
            '\u{9b}',
            '\u{2028}',
            '\u{202e}',
            '\u{2066}',
            '\u{feff}',
            '\u{200b}',
            '\u{e0041}',
            '=',
            ':',
            '%',
        ]),
    ];
    prop::collection::vec(chars, 0..200).prop_map(String::from_iter)
}

fn request(path: &[u8], query: &[u8], user_agent: &[u8], id: &[u8]) -> Option<Request<String>> {
    let target = [b"/", path, b"?", query].concat();
    let uri = Uri::try_from(&target[..]).ok()?;
    let mut request = Request::builder().uri(uri);
    for (name, value) in [("user-agent", user_agent), ("x-request-id", id)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request = request.header(name, value);
        }
    }
    request.body(String::new()).ok()
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_bytes_a_request_is_made_of_its_line_is_one_line(
        path: Vec<u8>, query: Vec<u8>, user_agent: Vec<u8>, id: Vec<u8>
    ) {
        for format in [Format::Json, Format::Ecs, Format::Pretty] {
            let Some(request) = request(&path, &query, &user_agent, &id) else { continue };
            let book = Book::new(format);
            let layer = book.guard.log().layer();
            run(send(&layer, request, Client::ToTheEnd));
            let text = check(&book, 1);
            if format != Format::Pretty {
                let line = read(&text);
                prop_assert!(line.get("request_id").or(line.get("http.request.id")).is_some_and(Value::is_string));
            }
        }
    }

    #[test]
    fn the_line_of_an_exchange_is_one_line_whatever_is_set_on_it(
        user in nasty(), name in nasty(), route in nasty(), key in nasty(), value in nasty(), error in nasty()
    ) {
        for format in [Format::Json, Format::Ecs, Format::Pretty] {
            let book = Book::new(format);
            let layer = book.guard.log().layer();
            run(send_through(&layer, Request::new(String::new()), |exchange| {
                exchange.set_user(User::new(&*user));
                exchange.report_route(route.clone());
                if value.len() % 2 == 0 {
                    exchange.set_name(name.clone());
                }
                exchange.set_attribute(key.clone(), value.clone());
                exchange.set_attribute(value.clone(), key.clone());
                exchange.set_attribute(format!("fields.{key}"), 1_i64);
                exchange.record_error(&std::io::Error::other(error.clone()));
            }));
            let text = check(&book, 1);
            if format != Format::Pretty {
                read(&text);
            }
        }
    }

    #[test]
    fn whatever_a_handler_logs_is_one_line(message in nasty(), value in nasty(), name in nasty()) {
        for format in [Format::Json, Format::Ecs, Format::Pretty] {
            let book = Book::new(format);
            with_default(Registry::default().with(book.guard.layer()), || {
                let exchange = Exchange::detached();
                exchange.set_name(name.clone());
                exchange.in_scope(|| {
                    let _span = tracing::info_span!("span", inner = value, debug = ?value).entered();
                    tracing::info!(value, shown = %value, debug = ?value, inner = 1, "{message}");
                    log_event(&name, [("value", value.clone().into()), ("level", 1_i64.into())]);
                    log_error(&std::io::Error::other(message.clone()));
                });
            });
            let text = check(&book, 3);
            if format != Format::Pretty {
                text.lines().for_each(|line| drop(read(line)));
            }
        }
    }
}

#[test]
fn a_forged_line_in_a_header_stays_in_its_field() {
    let forged = "curl\u{9b}31m\u{2028}{\"level\":\"error\",\"message\":\"all is lost\"}";
    let book = Book::new(Format::Json);
    let layer = book.guard.log().layer();
    let request = Request::get("/%0a%1b[2J").header("user-agent", HeaderValue::from_bytes(forged.as_bytes()).unwrap());
    run(send(&layer, request.body(String::new()).unwrap(), Client::ToTheEnd));
    check(&book, 1);
    let line = book.line();
    assert_eq!(line["user_agent.original"], forged, "read back, it is the sent text");
    assert_eq!((&line["level"], &line["url.path"]), (&"info".into(), &"/%0a%1b[2J".into()));
}

#[test]
fn bytes_of_a_header_that_are_no_text_are_shown_as_such() {
    let book = Book::new(Format::Json);
    let layer = book.guard.log().layer();
    let request = Request::get("/").header("user-agent", HeaderValue::from_bytes(b"caf\xe9").unwrap());
    run(send(&layer, request.body(String::new()).unwrap(), Client::ToTheEnd));
    assert_eq!(book.line()["user_agent.original"], "caf\u{fffd}");
}

#[test]
fn endless_values_make_a_line_of_bounded_length() {
    let long = "x".repeat(30_000);
    let book = Book::new(Format::Json);
    let layer = book.guard.log().layer();
    let request = Request::get(format!("/{long}?{long}")).header("user-agent", &long).header("x-request-id", &long);
    run(send_through(&layer, request.body(String::new()).unwrap(), |exchange| {
        exchange.set_user(User::new(&*long));
        exchange.set_name(long.clone());
        exchange.record_error(&std::io::Error::other(long.clone()));
    }));
    let line = book.line();
    let text = line["url.path"].as_str().unwrap();
    assert!(text.ends_with('…') && text.len() < 2_100, "{}", text.len());
    assert!(book.text().len() < 20_000, "{}", book.text().len());
}
