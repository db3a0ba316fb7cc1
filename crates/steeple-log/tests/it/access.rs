use http::Request;
use serde_json::json;
use steeple_log::{Format, Logging};

use crate::support::{Book, Client, get, send, send_through};

/// What a request of this path, by this client, has on its line.
#[track_caller]
fn check(line: &serde_json::Value, want: &[(&str, serde_json::Value)]) {
    for (key, value) in want {
        assert_eq!(line.get(key).unwrap_or(&serde_json::Value::Null), value, "{key} in {line:#}");
    }
}

#[tokio::test]
async fn every_ending_has_one_line_that_says_how_it_ended() {
    let cases = [
        ("/ok", Client::ToTheEnd, "info", "completed", json!(200), json!(null)),
        ("/status/404", Client::ToTheEnd, "info", "completed", json!(404), json!(null)),
        ("/status/503", Client::ToTheEnd, "error", "completed", json!(503), json!("503")),
        ("/upgrade", Client::ToTheEnd, "info", "upgraded", json!(101), json!(null)),
        ("/service-error", Client::ToTheEnd, "error", "service_error", json!(null), json!("service_error")),
        ("/body-error", Client::ToTheEnd, "error", "body_error", json!(200), json!("body_error")),
        ("/panic", Client::ToTheEnd, "error", "panicked", json!(null), json!("panicked")),
        ("/body-panic", Client::ToTheEnd, "error", "panicked", json!(200), json!("panicked")),
        ("/never", Client::OnePoll, "warn", "cancelled", json!(null), json!("cancelled")),
        ("/stream", Client::UntilTheHead, "warn", "cancelled_in_body", json!(200), json!("cancelled_in_body")),
        ("/stream", Client::UntilTheFirstFrame, "warn", "cancelled_in_body", json!(200), json!("cancelled_in_body")),
    ];
    for (path, client, level, outcome, status, error) in cases {
        let book = Book::new(Format::Json);
        let layer = book.guard.log().build().unwrap().layer();
        send(&layer, get(path), client).await;
        check(
            &book.line(),
            &[
                ("level", json!(level)),
                ("outcome", json!(outcome)),
                ("http.response.status_code", status),
                ("error.type", error),
                ("url.path", json!(path)),
                ("transaction.name", json!("GET unmatched")),
                ("target", json!("steeple::access")),
            ],
        );
    }
}

#[tokio::test]
async fn a_line_says_all_that_is_known() {
    let logging = Logging::new().service_name("shop").service_version("1.2.3").environment("test");
    let book = Book::with(logging, Format::Json);
    let layer = book.guard.log().build().unwrap().layer();
    let request = Request::post("/users/42?page=2&access_token=hush")
        .header("user-agent", "test/1.0")
        .header("x-request-id", "too short? no: has spaces")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .body("12345".to_owned())
        .unwrap();
    send_through(&layer, request, |exchange| {
        exchange.report_route("/users/{id}");
        exchange.set_user(steeple_core::User::new("u-42"));
        exchange.set_client_address("192.0.2.77".parse().unwrap());
        exchange.attribute("plan", "pro");
        exchange.attribute("password", "hunter2");
        exchange.attribute("level", 3_u32);
        exchange.notice_error(&std::io::Error::other("cannot reach postgres://app:hunter2@db/shop"));
    })
    .await;
    let line = book.line();
    check(
        &line,
        &[
            ("level", json!("info")),
            ("message", json!("POST /users/{id} 200")),
            ("service.name", json!("shop")),
            ("service.version", json!("1.2.3")),
            ("deployment.environment.name", json!("test")),
            ("client_request_id", json!("too short? no: has spaces")),
            ("trace_id", json!("0af7651916cd43dd8448eb211c80319c")),
            ("transaction.name", json!("POST /users/{id}")),
            ("http.request.method", json!("POST")),
            ("http.route", json!("/users/{id}")),
            ("url.path", json!("/users/42")),
            ("url.query", json!("page=2&access_token=[redacted:key]")),
            ("http.response.body.size", json!(0)),
            ("network.protocol.version", json!("1.1")),
            ("user_agent.original", json!("test/1.0")),
            ("client.address", json!("192.0.2.0")),
            ("user.id", json!("u-42")),
            ("attributes.plan", json!("pro")),
            ("attributes.level", json!(3)),
        ],
    );
    assert!(!line.to_string().contains("hunter2"), "{line:#}");
    let timestamp = line["timestamp"].as_str().unwrap();
    assert_eq!((timestamp.len(), &timestamp[19..20], &timestamp[26..]), (27, ".", "Z"), "{timestamp}");
    assert_eq!(line["request_id"].as_str().unwrap().len(), 36);
    assert_eq!(line["span_id"].as_str().unwrap().len(), 16);
    assert!(line["duration_ms"].is_f64() && line["response_head_ms"].is_f64());
}
