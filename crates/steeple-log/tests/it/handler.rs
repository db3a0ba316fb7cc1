//! Lines that handlers and libraries log.

use std::{error::Error, fmt, time::Duration};

use serde_json::{Value, json};
use steeple_core::{Exchange, User};
use steeple_log::{Format, Log, log_error, log_error_with, log_event};
use tracing::subscriber::with_default;
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::support::{Book, Client, Paper, get, read, send, send_through};

fn logged(format: Format, f: impl FnOnce()) -> Book {
    let book = Book::with(Log::builder().level("trace"), format);
    with_default(Registry::default().with(book.guard.layer()), f);
    book
}

#[test]
fn a_handlers_line_has_what_is_known_of_its_request() {
    let exchange = Exchange::detached();
    exchange.trace_or_continue(&http::HeaderMap::new());
    exchange.report_route("/users/{id}");
    exchange.set_user(User::new("u-42"));
    let book = logged(Format::Json, || {
        exchange.in_scope(|| tracing::warn!(target: "shop::cart", items = 3, "cart is full"));
    });
    let (id, trace) = (exchange.request_id(), exchange.trace().unwrap());
    let line = book.line();
    // No id was requested before the line was written, so the line has none.
    assert_eq!(line.get("request_id"), None);
    exchange.in_scope(|| assert_eq!(Exchange::current().unwrap().request_id(), id));
    let want = json!({
        "timestamp": line["timestamp"],
        "level": "warn",
        "message": "cart is full",
        "target": "shop::cart",
        "trace_id": trace.trace_id().to_string(),
        "span_id": trace.span_id().to_string(),
        "transaction.name": "_OTHER /users/{id}",
        "http.route": "/users/{id}",
        "user.id": "u-42",
        "items": 3,
    });
    assert_eq!(line, want);
}

#[tokio::test]
async fn a_handlers_lines_and_its_exchanges_line_share_their_ids() {
    let book = Book::new(Format::Json);
    let layer = book.guard.log().layer();
    let subscriber = Registry::default().with(book.guard.layer());
    let default = tracing::subscriber::set_default(subscriber);
    send_through(&layer, get("/"), |_| tracing::info!("in the handler")).await;
    drop(default);
    let lines = book.lines();
    assert_eq!((&lines[0]["message"], &lines[1]["message"]), (&json!("in the handler"), &json!("GET unmatched 200")));
    for key in ["request_id", "trace_id", "span_id"] {
        assert!(lines[0][key].is_string() && lines[0][key] == lines[1][key], "{key}: {lines:#?}");
    }
}

#[test]
fn values_keep_their_types_and_spans_lend_their_fields() {
    let book = logged(Format::Json, || {
        let outer = tracing::info_span!("outer", tenant = "acme", shared = "outer").entered();
        let inner = tracing::info_span!("inner", shared = "inner", rows = tracing::field::Empty).entered();
        inner.record("rows", 7_u64);
        tracing::info!(whole = -1_i64, big = u64::MAX, part = 0.5, none = f64::NAN, yes = true, list = ?[1, 2], "done");
        drop((inner, outer));
    });
    let line = book.line();
    let want = [
        ("whole", json!(-1)),
        ("big", json!(u64::MAX)),
        ("part", json!(0.5)),
        ("none", Value::Null),
        ("yes", json!(true)),
        ("list", json!("[1, 2]")),
        ("tenant", json!("acme")),
        ("shared", json!("inner")),
        ("rows", json!(7)),
        ("span.name", json!("inner")),
    ];
    for (key, value) in want {
        assert_eq!(line.get(key), Some(&value), "{key} in {line:#}");
    }
}

#[test]
fn the_span_of_an_exchange_lends_no_fields_that_are_for_opentelemetry() {
    let book = logged(Format::Json, || {
        let kind = "server";
        let exchange = tracing::info_span!(target: "steeple_trace", "request", otel.kind = kind, rows = 1).entered();
        let own = tracing::info_span!("own", otel.kind = kind).entered();
        tracing::info!("within");
        drop(own);
        tracing::info!("done");
        drop(exchange);
    });
    let lines = book.lines();
    assert_eq!((lines[0].get("otel.kind"), lines[0].get("rows")), (Some(&json!("server")), None));
    assert_eq!((lines[1].get("otel.kind"), lines[1].get("rows")), (None, None));
}

#[test]
fn a_field_cannot_take_the_place_of_a_lines_own() {
    let book = logged(Format::Json, || {
        let exchange = Exchange::detached();
        exchange.request_id();
        exchange.in_scope(|| {
            tracing::info!(
                level = "none",
                target = "me",
                request_id = "forged",
                "fields.level" = "twice",
                r#type = 1,
                "m"
            );
        });
    });
    let line = book.line();
    assert_eq!((&line["level"], &line["fields.level"]), (&json!("info"), &json!("none")), "{line:#}");
    assert_eq!((&line["fields.target"], &line["fields.request_id"]), (&json!("me"), &json!("forged")));
    assert_eq!(line["type"], 1);
    assert_ne!(line["request_id"], "forged");
}

#[test]
fn secrets_do_not_get_into_lines_of_handlers() {
    let book = logged(Format::Json, || {
        let span = tracing::info_span!("login", password = "hunter2").entered();
        tracing::info!(token = "hunter2", pin = 98_765_432, "connecting to postgres://app:hunter2@db/shop");
        tracing::info!("Authorization: Bearer {}", "hunter2hunter2hunter2");
        log_error(&std::io::Error::other("redis://:hunter2@cache is down"));
        log_event("login", [("password", "hunter2".into())]);
        drop(span);
    });
    let text = book.text();
    assert_eq!(book.lines().len(), 4);
    assert!(!text.contains("hunter2") && !text.contains("98765432"), "{text}");
}

#[derive(Debug)]
struct Layered(&'static str, Option<Box<Layered>>);

impl fmt::Display for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Layered {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|error| error as _)
    }
}

#[test]
fn an_error_is_written_down_with_all_its_sources() {
    let error =
        Layered("cannot save", Some(Box::new(Layered("cannot write", Some(Box::new(Layered("disk full", None)))))));
    let book = logged(Format::Json, || {
        log_error(&error);
        tracing::warn!(error = &error as &dyn Error, "retrying");
    });
    let lines = book.lines();
    assert_eq!((&lines[0]["level"], &lines[0]["message"]), (&json!("error"), &json!("cannot save")));
    assert_eq!(lines[0]["error.message"], "cannot save: cannot write: disk full");
    assert!(lines[0]["error.type"].as_str().unwrap().ends_with("Layered"));
    assert_eq!(lines[1]["error"], "cannot save: cannot write: disk full");
}

#[test]
fn an_error_has_separate_fields_without_secrets() {
    let error = Layered("cannot save", None);
    let book = logged(Format::Json, || {
        log_error_with(&error, [("order.id", 42_i64.into()), ("password", "hunter2".into())]);
        log_error(&error);
    });
    let lines = book.lines();
    assert_eq!((&lines[0]["order.id"], &lines[0]["error.message"]), (&json!(42), &json!("cannot save")));
    assert_ne!(lines[0]["password"], "hunter2");
    assert!(lines[0].get("fields").is_none() && lines[1].get("order.id").is_none(), "{lines:#?}");
    let foreign = with_somebody_elses_subscriber(|| log_error_with(&error, [("order.id", 42_i64.into())]));
    assert_eq!(foreign[0]["fields"]["fields"], r#"{"order.id":42}"#);
}

#[test]
fn a_business_event_has_its_fields_as_they_are() {
    let book = logged(Format::Json, || {
        log_event("order.placed", [("plan", "pro".into()), ("seats", 5_i64.into()), ("trial", false.into())]);
        log_event("many", (0..100).map(|_| ("same", 1_i64.into())));
    });
    let line = &book.lines()[0];
    assert_eq!((&line["target"], &line["event.name"]), (&json!("steeple::event"), &json!("order.placed")));
    assert_eq!((&line["plan"], &line["seats"], &line["trial"]), (&json!("pro"), &json!(5), &json!(false)));
    assert_eq!(line.get("fields"), None);
}

/// Lines of `tracing_subscriber`'s own JSON formatter.
fn with_somebody_elses_subscriber(f: impl FnOnce()) -> Vec<Value> {
    let paper = Paper::default();
    let writer = paper.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    with_default(subscriber, f);
    paper.text().lines().map(read).collect()
}

#[test]
fn any_subscriber_gets_exchanges_events_and_errors() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lines = with_somebody_elses_subscriber(|| {
        runtime.block_on(async {
            let layer = Log::default().layer();
            send(&layer, get("/orders?token=hush"), Client::ToTheEnd).await;
            send(&layer, get("/status/500"), Client::ToTheEnd).await;
            send(&layer, get("/never"), Client::OnePoll).await;
            send_through(&layer, get("/"), |exchange| exchange.set_attribute("plan", "pro")).await;
        });
        log_event("order.placed", [("plan", "pro".into())]);
        log_error(&std::fmt::Error);
    });
    let levels: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["INFO", "ERROR", "WARN", "INFO", "INFO", "ERROR"]);
    let fields = &lines[0]["fields"];
    for (key, value) in [
        ("message", json!("GET unmatched 200")),
        ("transaction.name", json!("GET unmatched")),
        ("url.path", json!("/orders")),
        ("url.query", json!("token=[redacted:key]")),
        ("http.response.status_code", json!(200)),
        ("http.response.body.size", json!(5)),
        ("outcome", json!("completed")),
    ] {
        assert_eq!(fields[key], value, "{key} in {fields:#}");
    }
    assert!(fields["duration_ms"].is_f64() && fields["request_id"].is_string() && fields["trace_id"].is_string());
    assert_eq!(fields.get("http.route"), None, "unknown facts are absent");
    assert_eq!(lines[0]["target"], "steeple::access");
    assert_eq!(lines[2]["fields"]["outcome"], "cancelled");
    assert_eq!(lines[3]["fields"]["attributes"], r#"{"plan":"pro"}"#);
    assert_eq!(lines[4]["fields"]["fields"], r#"{"plan":"pro"}"#);
}

#[test]
fn exchanges_events_come_out_of_our_own_subscriber_like_lines_of_the_short_way() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let book = logged(Format::Json, || {
        runtime.block_on(async { send(&Log::default().layer(), get("/orders"), Client::ToTheEnd).await });
    });
    let line = book.line();
    assert!(line["request_id"].is_string() && line["trace_id"].is_string(), "{line:#}");
    assert_eq!((&line["message"], &line["url.path"]), (&json!("GET unmatched 200"), &json!("/orders")));
    assert!(!line.to_string().contains("fields."), "{line:#}");
}

#[test]
fn a_value_that_logs_while_it_is_logged_is_written_and_ends() {
    struct Chatty;
    impl fmt::Debug for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::info!(inner = ?Chatty, "from within");
            f.write_str("chatty")
        }
    }
    let book = logged(Format::Json, || tracing::info!(value = ?Chatty, "outside"));
    let lines = book.lines();
    assert_eq!(lines.last().unwrap()["value"], "chatty");
    assert!(lines.len() <= 8, "{}", lines.len());
}

#[test]
fn the_filter_decides_which_lines_there_are() {
    let book = Book::with(Log::builder().level("warn,shop=debug,steeple::access=off"), Format::Json);
    with_default(Registry::default().with(book.guard.layer()), || {
        tracing::info!(target: "hyper", "no");
        tracing::warn!(target: "hyper", "yes");
        tracing::debug!(target: "shop::cart", "yes");
        tracing::trace!(target: "shop::cart", "no");
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        send(&book.guard.log().layer(), get("/status/500"), Client::ToTheEnd).await;
    });
    let messages: Vec<_> = book.lines().iter().map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["yes", "yes"]);
}

#[test]
fn a_guard_that_is_dropped_has_written_everything() {
    let Book { guard, paper } = Book::new(Format::Json);
    let handle = guard.handle();
    with_default(Registry::default().with(guard.layer()), || {
        for _ in 0..1_000 {
            tracing::info!("line");
        }
        drop(guard);
        tracing::info!("too late");
    });
    assert_eq!((paper.text().lines().count(), handle.dropped()), (1_000, 1));
    assert!(handle.flush(Duration::from_secs(1)), "nothing is left to wait for");
}
