//! One judgement of a gRPC call for every signal: line, metrics, span and event say the same of it.
#![cfg(all(feature = "axum", feature = "sentry", feature = "trace"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use axum::{
    Router,
    body::{Body, Bytes},
    routing::post,
};
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::{BodyExt, Full};
use steeple::testing::Recorder;
use steeple_export::test_util::Receiver;
use tower::ServiceExt;

const METHOD: &str = "shop.v1.Cart/Get";

/// An answer of a server: its status, its head, its only frame and its trailers.
#[derive(Clone, Copy)]
struct Answer {
    status: u16,
    head: &'static [(&'static str, &'static str)],
    frame: &'static [u8],
    trailers: &'static [(&'static str, &'static str)],
}

const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];
const FAILED: &[(&str, &str)] = &[("grpc-status", "13"), ("grpc-message", "no card%2C password=hunter2")];

const ANSWER: Answer = Answer { status: 200, head: &[], frame: b"\0\0\0\0\x01m", trailers: &[] };

fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
    let header = |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), value.parse().unwrap());
    of.iter().map(header).collect()
}

/// What each signal has of a call: the level of its line and its message, its code on line, in the metrics and on the span,
/// whether line and span say that the server has failed, and the event.
#[derive(Debug, PartialEq)]
struct Seen {
    level: String,
    message: String,
    codes: [String; 2],
    in_metrics: bool,
    failed: [bool; 2],
    events: usize,
}

async fn call(content_type: &str, answer: Answer, name: &str, counted_as: &str) -> (Seen, String) {
    let sentry = Receiver::accepting();
    let dsn = format!("http://public@{}/1", sentry.address());
    let recorder = Recorder::with(|builder| builder.sentry(|sentry| sentry.dsn(dsn))).unwrap();
    let handler = move || async move {
        let body = Full::new(Bytes::from_static(answer.frame));
        let mut response = if answer.trailers.is_empty() {
            Response::new(Body::new(body))
        } else {
            let trailers = headers(answer.trailers);
            Response::new(Body::new(body.with_trailers(std::future::ready(Some(Ok(trailers))))))
        };
        *response.status_mut() = answer.status.try_into().unwrap();
        response.headers_mut().extend(headers(answer.head));
        response
    };
    let app: Router = Router::new().route(&format!("/{METHOD}"), post(handler)).layer(recorder.steeple().layer());
    let request = Request::post(format!("/{METHOD}")).header("content-type", content_type).body(Body::empty()).unwrap();
    app.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    let steeple = recorder.steeple().clone();
    assert!(tokio::task::spawn_blocking(move || steeple.flush()).await.unwrap().is_complete());

    let lines = recorder.lines();
    let line = lines.iter().find(|line| line.is_end()).unwrap();
    let spans = recorder.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    let span = spans.first().unwrap();
    let codes = [line.text("rpc.response.status_code"), span.attribute("rpc.response.status_code")];
    let counted = |labels: &[(&str, &str)]| recorder.metric("grpc_server_handled_total", labels);
    assert_eq!(counted(&[]), Some(1.0), "once");
    let mut labels = vec![("grpc_code", counted_as)];
    if let Some((service, method)) = name.split_once('/') {
        labels.extend([("grpc_service", service), ("grpc_method", method)]);
    }
    let posted: Vec<String> =
        sentry.received().iter().map(|one| String::from_utf8_lossy(&one.body).into_owned()).collect();
    let events: Vec<&String> = posted.iter().filter(|envelope| envelope.contains(r#""type":"event""#)).collect();
    let seen = Seen {
        level: line.level().to_owned(),
        message: line.message().to_owned(),
        codes: codes.map(|code| code.unwrap_or_default().to_owned()),
        in_metrics: counted(&labels) == Some(1.0),
        failed: [line.text("error.type").is_some(), span.is_error],
        events: events.len(),
    };
    let all = format!("{} {:?} {}", line.as_str(), span, posted.join("\n"));
    assert!(!all.contains("hunter2"), "{all}");
    for text in events.into_iter().chain([&line.as_str().to_owned()]) {
        assert!(seen.level != "error" || answer.trailers.len() < 2 || text.contains("no card"), "{text}");
    }
    (seen, all)
}

fn judged(level: &str, name: &str, code: &str, failed: bool) -> Seen {
    Seen {
        level: level.to_owned(),
        message: format!("{name} {code}"),
        codes: [code.to_owned(), code.to_owned()],
        in_metrics: true,
        failed: [failed; 2],
        events: usize::from(failed),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_signal_has_the_same_status_of_a_call_and_its_message_without_secrets() {
    let cases = [
        // As a server of gRPC ends it.
        (
            "application/grpc",
            Answer { head: GRPC, trailers: &[("grpc-status", "0")], ..ANSWER },
            "OK",
            ("info", "OK", false),
        ),
        (
            "application/grpc+proto",
            Answer { head: GRPC, trailers: FAILED, ..ANSWER },
            "Internal",
            ("error", "INTERNAL", true),
        ),
        (
            "application/grpc",
            Answer { head: GRPC, trailers: &[("grpc-status", "5"), ("grpc-message", "no such cart")], ..ANSWER },
            "NotFound",
            ("info", "NOT_FOUND", false),
        ),
        // What a browser reads: in the last frame, and in the head.
        (
            "application/grpc-web+proto",
            Answer {
                head: &[("content-type", "application/grpc-web+proto")],
                frame: b"\x80\0\0\0\x3cgrpc-status:13\r\ngrpc-message:no card%2C password=hunter2\r\n\r\n",
                ..ANSWER
            },
            "Internal",
            ("error", "INTERNAL", true),
        ),
        (
            "application/grpc-web+proto",
            Answer {
                head: &[("content-type", "application/grpc-web+proto"), ("grpc-status", "5")],
                frame: b"",
                ..ANSWER
            },
            "NotFound",
            ("info", "NOT_FOUND", false),
        ),
        // Plain HTTP, as a proxy or a wrong route answers: what a client of gRPC makes of it.
        (
            "application/grpc",
            Answer { head: &[("content-type", "application/json")], frame: b"{}", ..ANSWER },
            "Unknown",
            ("error", "UNKNOWN", true),
        ),
        (
            "application/grpc",
            Answer { status: 502, frame: b"<html>", ..ANSWER },
            "Unavailable",
            ("error", "UNAVAILABLE", true),
        ),
        (
            "application/grpc",
            Answer { status: 401, frame: b"", ..ANSWER },
            "Unauthenticated",
            ("info", "UNAUTHENTICATED", false),
        ),
    ];
    for (content_type, answer, counted_as, (level, code, failed)) in cases {
        let is_grpc = answer.head.iter().any(|(_, value)| value.starts_with("application/grpc"));
        // What answers in plain HTTP has shown of no method that it has it.
        let name = if is_grpc { METHOD } else { "_OTHER" };
        let (seen, all) = call(content_type, answer, name, counted_as).await;
        assert_eq!(seen, judged(level, name, code, failed), "{content_type}: {all}");
    }
}
