//! `docs/log-fields.md`, compared with real lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs,
};

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use steeple_core::{
    Exchange, User,
    test_util::{ScriptedBody, Step},
};
use steeple_log::{Format, Log, log_error, log_event};
use tower::{Layer, ServiceExt, service_fn};
use tracing::{instrument::WithSubscriber, subscriber::with_default};
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::support::{Body, Book};

/// The page's rows under a heading: key, type, and whether it says that the key is never absent.
fn page(heading: &str, format: Format) -> BTreeMap<String, (String, bool)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/log-fields.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let is_ecs_alone = cells.len() == 4;
        let key = match (format, is_ecs_alone) {
            (Format::Json, true) => continue,
            (Format::Json, false) | (_, true) => cells[0],
            (_, false) => cells[1],
        };
        let kind = cells[cells.len() - 3].to_owned();
        if !key.is_empty() {
            rows.insert(key.trim_matches('`').to_owned(), (kind, cells[cells.len() - 1] == "never"));
        }
    }
    rows
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Array(_) => "list",
        Value::Null | Value::Bool(_) | Value::Object(_) => "something else",
    }
}

/// The keys of a line, all of which are on the page, and have the type that it says.
#[track_caller]
fn check_types(page: &BTreeMap<String, (String, bool)>, line: &Value) -> Vec<String> {
    let check = |(key, value): (&String, &Value)| {
        let prefix = ["attributes.", "labels.attributes_"].into_iter().find(|prefix| key.starts_with(prefix));
        let key = prefix.map_or_else(|| key.clone(), |prefix| format!("{prefix}*"));
        let (want, _) = page.get(&key).unwrap_or_else(|| panic!("{key} is not on the page"));
        let want = if key.starts_with("labels.") { "text" } else { want };
        assert!(want == kind(value) || want == "any", "{key} is {value}, not {want}");
        key
    };
    line.as_object().unwrap().iter().map(check).collect()
}

/// Every key that is written is on the page with its type, every key on the page is written by some line, and what is
/// never absent is on every line.
#[track_caller]
fn check(heading: &str, format: Format, lines: &[Value]) {
    let mut page = page(heading, format);
    if format == Format::Ecs && heading.starts_with("A logged") {
        for key in ["ecs.version", "event.dataset", "transaction.id"] {
            page.insert(key.to_owned(), ("text".to_owned(), false));
        }
    }
    let mut written = BTreeSet::new();
    for line in lines {
        written.extend(check_types(&page, line));
        for (key, _) in page.iter().filter(|(_, (_, always))| *always) {
            assert!(line.get(key).is_some(), "{key} is never absent, says the page: {line:#}");
        }
    }
    // The process that panics is started on Unix alone.
    let of_panics = ["thread.name", "labels.thread_name", "exception.stacktrace", "error.stack_trace"];
    let is_written = |key: &&String| written.contains(*key) || (cfg!(not(unix)) && of_panics.contains(&&***key));
    let unwritten: Vec<_> = page.keys().filter(|key| !is_written(key)).collect();
    assert!(unwritten.is_empty(), "on the page and on no line: {unwritten:?}");
}

/// A gRPC call and another request of which everything is known, and the lines that their handler logs.
async fn everything(format: Format) -> Vec<Value> {
    let logging =
        Log::builder().service_name("shop").service_version("1.2.3").environment("test").region("eu-central-1");
    let book = Book::with(logging, format);
    let layer = book.guard.log().layer();
    let handler = service_fn(|_: Request<Body>| async {
        let exchange = Exchange::current().unwrap();
        exchange.report_route("/shop.v1.Cart/{method}");
        exchange.set_user(User::new("u-42"));
        exchange.set_client_address("2001:db8::77".parse().unwrap());
        exchange.set_attribute("plan", "pro");
        exchange.record_error(&std::io::Error::other("disk gone"));
        let _span = tracing::info_span!("import").entered();
        log_event("order.placed", []);
        log_error(&std::io::Error::other("disk gone"));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("14"));
        Ok::<_, Infallible>(Response::new(ScriptedBody::new([Step::Trailers(trailers)])))
    });
    for content_type in ["application/grpc", "text/plain"] {
        let request = Request::post("/shop.v1.Cart/Get?page=2")
            .header("content-type", content_type)
            .header("user-agent", "grpc-test/1.0")
            .header("x-request-id", "not taken")
            .body(String::new())
            .unwrap();
        let service = layer.layer(handler);
        let answer = service.oneshot(request).with_subscriber(Registry::default().with(book.guard.layer()));
        answer.await.unwrap().into_body().collect().await.unwrap();
    }
    // A line outside of any request, and one with nothing around it.
    with_default(Registry::default().with(book.guard.layer()), || tracing::info!("alone"));
    book.lines()
}

/// What an output writes that was too slow.
fn gap(format: Format) -> Value {
    let book = Book::with(Log::builder().queue_bytes(1), format);
    with_default(Registry::default().with(book.guard.layer()), || tracing::info!("no room"));
    let Book { guard, paper } = book;
    drop(guard);
    crate::support::read(paper.text().trim_end())
}

#[test]
fn the_line_in_the_readme_has_fields_of_the_page_in_their_order() {
    let readme = include_str!("../../README.md");
    let line = readme.lines().find(|line| line.starts_with('{')).unwrap();
    check_types(&page("The line of an exchange", Format::Json), &crate::support::read(line));
    let place = |key: &str| line.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("no {key}"));
    let order = ["timestamp", "message", "service.name", "request_id", "transaction.name", "url.path", "user.id"];
    assert!(order.map(place).is_sorted());
}

#[tokio::test]
async fn the_page_lists_every_field_with_its_type_and_no_other() {
    for format in [Format::Json, Format::Ecs] {
        let is_access =
            |line: &Value| [&line["target"], &line["log.logger"]].contains(&&Value::from("steeple::access"));
        let (access, mut lines): (Vec<_>, Vec<_>) = everything(format).await.into_iter().partition(is_access);
        assert_eq!((access.len(), lines.len()), (2, 5), "{lines:#?}");
        lines.push(gap(format));
        check("The line of an exchange", format, &access);
        // Panics are made where the tests about them run; without one, two fields are missing.
        #[cfg(all(unix, not(steeple_os_other)))]
        {
            lines.push(crate::panics::line_of_a_panic(format));
            check("A logged line", format, &lines);
        }
    }
}
