//! What other parts of the process show and let be changed on the page.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use steeple_dashboard::{DeadLetter, LogControl, LogLevel, Outbox, OutboxSink, SpanRecord, TraceSource};
use steeple_metrics::indicator::{Frame, Tier};

use crate::kit::{Service, from, text};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

struct One;

impl TraceSource for One {
    fn has(&self, trace_id: &str) -> bool {
        trace_id == TRACE
    }

    fn spans(&self, trace_id: &str) -> Vec<SpanRecord> {
        let span = SpanRecord {
            id: "b7ad6b7169203331".to_owned(),
            parent: "0000000000000000".to_owned(),
            name: "GET /ok".to_owned(),
            kind: "server",
            start_us: 1,
            micros: 2,
            failed: false,
            attributes: vec![("http.route".to_owned(), "/ok".to_owned())],
        };
        if self.has(trace_id) { vec![span] } else { Vec::new() }
    }
}

#[derive(Clone, Default)]
struct Level(Arc<Mutex<LogLevel>>);

impl LogControl for Level {
    fn current(&self) -> LogLevel {
        self.0.lock().unwrap().clone()
    }

    fn set(&self, filter: &str, time: Duration) -> Result<(), String> {
        if filter.contains('=') {
            return Err("not a filter".to_owned());
        }
        *self.0.lock().unwrap() = LogLevel { filter: filter.to_owned(), until: Some(time.as_secs()) };
        Ok(())
    }

    fn reset(&self) {
        *self.0.lock().unwrap() = LogLevel { filter: "info".to_owned(), until: None };
    }
}

fn outbox() -> Outbox {
    Outbox {
        is_durable: true,
        sinks: vec![OutboxSink { sink: "ga4".to_owned(), waiting: 3, dead: 1, ..OutboxSink::default() }],
        dead_letters: vec![DeadLetter { event: "purchase".to_owned(), why: "400".to_owned(), ..DeadLetter::default() }],
    }
}

#[tokio::test]
async fn spans_and_the_outbox_are_asked_for_and_are_not_there_by_default() {
    let none = Service::local();
    for path in [&format!("/steeple/spans?trace={TRACE}"), "/steeple/outbox"] {
        assert_eq!(none.get(path).await.0, 404, "{path}");
    }
    let frame = none.frame("").await;
    let has = |frame: &Value| ["has_spans", "has_outbox"].map(|name| frame["slow"][name].as_bool().unwrap());
    assert_eq!((has(&frame), &frame["slow"]["log"]), ([false, false], &Value::Null));
    let service = Service::new(|builder, _| builder.traces(One).outbox(async || outbox()));
    assert_eq!(has(&service.frame("").await), [true, true]);
    let (status, spans) = service.get(&format!("/steeple/spans?trace={TRACE}")).await;
    let spans: Value = serde_json::from_str(&spans).unwrap();
    assert_eq!((status.as_u16(), &spans[0]["name"], &spans[0]["micros"]), (200, &json!("GET /ok"), &json!(2)));
    assert_eq!(service.get(&format!("/steeple/spans?trace={}", "0".repeat(32))).await.1, "[]");
    for bad in ["", "abc", "..%2F..%2Fetc", &"g".repeat(32)] {
        assert_eq!(service.get(&format!("/steeple/spans?trace={bad}")).await.0, 400, "{bad}");
    }
    let waits: Value = serde_json::from_str(&service.get("/steeple/outbox").await.1).unwrap();
    assert_eq!((&waits["sinks"][0]["waiting"], &waits["dead_letters"][0]["event"]), (&json!(3), &json!("purchase")));
}

#[tokio::test]
async fn what_is_logged_is_changed_for_some_minutes_from_the_page_alone() {
    let level = Level::default();
    level.reset();
    let service = Service::new(|builder, _| builder.log_control(level.clone()));
    assert_eq!(service.frame("").await["slow"]["log"], json!({ "filter": "info", "until": null }));
    let page = [("host", "localhost"), ("sec-fetch-site", "same-origin")];
    let elsewhere = [("host", "localhost"), ("sec-fetch-site", "cross-site")];
    let unnamed = [("host", "localhost")];
    let long = json!({ "filter": "x".repeat(2000), "minutes": 5 }).to_string();
    for (headers, body, want, filter) in [
        (&elsewhere[..], r#"{"filter":"debug","minutes":5}"#, 403, "info"),
        (&unnamed, r#"{"filter":"debug","minutes":5}"#, 403, "info"),
        (&page, r#"{"filter":"debug","minutes":0}"#, 400, "info"),
        (&page, r#"{"filter":"debug","minutes":61}"#, 400, "info"),
        (&page, r#"{"filter":"debug"}"#, 400, "info"),
        (&page, r#"{"filter":"a=b","minutes":5}"#, 400, "info"),
        (&page, "nonsense", 400, "info"),
        (&page, &long, 400, "info"),
        (&page, r#"{"filter":"debug","minutes":5}"#, 200, "debug"),
        (&page, r#"{"filter":"trace","minutes":60}"#, 200, "trace"),
        (&page, "{}", 200, "info"),
    ] {
        let mut request = from("127.0.0.1:1", Method::POST, "/steeple/log", headers);
        *request.body_mut() = Body::from(body.to_owned());
        let response = service.send(request).await;
        assert_eq!(response.status(), want, "{body}");
        let answer = text(response).await;
        assert_eq!(level.current().filter, filter, "{body}: {answer}");
        if want == StatusCode::OK.as_u16() {
            assert!(answer.contains(&format!("\"filter\":\"{filter}\"")), "{answer}");
        }
    }
    let mut request = from("127.0.0.1:1", Method::POST, "/steeple/log", &page);
    *request.body_mut() = Body::from("x".repeat(10_000));
    assert!(Service::local().send(request).await.status().is_client_error());
}

#[tokio::test]
async fn a_page_that_is_open_sees_the_past_that_comes_later() {
    let service = Service::local();
    for _ in 0..3 {
        service.advance(Duration::from_secs(10));
    }
    let frame = service.frame("").await;
    let cursor = frame["cursor"].as_str().unwrap().to_owned();
    let times = |frame: &Value| frame["minutes"]["t"].as_array().map_or(0, Vec::len);
    assert_eq!(times(&frame), 0);
    let mut older = Frame::ended(Duration::from_secs(1_790_000_000 - 600), 60.0);
    older.requests = 120;
    service.metrics.history().prepend(Tier::Minute, vec![older]);
    let next = service.frame(&cursor).await;
    assert_eq!((&next["whole"], times(&next)), (&json!(true), 1), "{next}");
    assert_eq!(next["minutes"]["requests"][0], json!(2));
    assert_eq!(next["tens"]["t"].as_array().unwrap().len(), 3, "earlier points stay");
    let cursor = next["cursor"].as_str().unwrap().to_owned();
    service.advance(Duration::from_secs(10));
    assert_eq!(service.frame(&cursor).await["whole"], json!(false));
}
