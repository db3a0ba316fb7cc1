//! The smaller examples, run as they are and asked over the socket.

use std::{io::Write, net::TcpStream};

use http::Uri;
use hyper_util::{client::legacy, rt::TokioExecutor};
use serde_json::{Map, Value};
use steeple_examples::greeter::{GreetRequest, greeter_client::GreeterClient};
use tonic::Code;

use crate::process::{Program, ask, example, is_access, until};

fn start(name: &str) -> Program {
    Program::start(example(name).arg("127.0.0.1:0"))
}

#[track_caller]
fn has(page: &str, line: &str) {
    assert!(page.lines().any(|other| other == line), "no {line} in {page}");
}

#[test]
fn axum_quickstart_logs_and_counts_its_requests() {
    let program = start("axum-quickstart");
    let answer = program.get("/users/7");
    assert_eq!((answer.status, &*answer.body), (200, "user 7\n"));
    let (_, id) = answer.head.split_once("x-request-id: ").unwrap();
    let id = id.lines().next().unwrap();
    assert_eq!(program.get("/healthz").body, "ok\n");
    has(&program.get("/metrics").body, r#"http_requests_total{method="GET",route="/users/{id}",status_code="200"} 1"#);
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = ended.line("/users/7");
    assert_eq!((&line["message"], &line["request_id"]), (&"GET /users/{id} 200".into(), &id.into()));
    let logged = ended.lines().into_iter().find(|line| line["message"] == "looked up").unwrap();
    assert_eq!((&logged["request_id"], &logged["shelf"]), (&id.into(), &0.into()));
    assert_eq!(ended.lines().iter().filter(|line| is_access(line)).count(), 1, "no line for probes: {}", ended.stdout);
}

#[test]
fn the_line_on_the_page_of_the_start_is_that_of_a_real_request() {
    /// These differ between two requests, or because the handler of the example answers with more.
    const DIFFER: [&str; 7] = [
        "timestamp",
        "request_id",
        "trace_id",
        "span_id",
        "duration_ms",
        "response_head_ms",
        "http.response.body.size",
    ];
    let (_, block) = include_str!("../../../docs/start.md").split_once("```json\n").unwrap();
    let shown: Map<String, Value> = serde_json::from_str(block.split("```").next().unwrap()).unwrap();
    let program = Program::start(example("axum-quickstart").arg("127.0.0.1:0").env("SERVICE_NAME", "shop"));
    ask(program.address, "GET /users/7", &["user-agent: curl/7.88.1"], "");
    let ended = program.stop();
    let real = ended.line("/users/7");
    assert!(shown.keys().eq(real.as_object().unwrap().keys()), "{shown:?}\n{real}");
    for (key, value) in shown.iter().filter(|(key, _)| !DIFFER.contains(&&***key)) {
        assert_eq!(value, &real[key], "{key}");
    }
}

#[test]
fn an_observer_that_a_team_writes_shares_the_exchange_with_steeple() {
    let source = include_str!("../../write-an-observer/main.rs");
    assert!(source.lines().count() < 80, "an observer is short");
    let program = start("write-an-observer");
    let answer = program.get("/");
    assert!(answer.head.contains("server-timing: app;dur="), "{}", answer.head);
    let mut impatient = TcpStream::connect(&program.address).unwrap();
    impatient.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    // The request has to be there before its client goes away.
    let shows = |wanted: &[&str]| program.get("/metrics").body.lines().any(|line| wanted.contains(&line)).then_some(());
    until(|| shows(&["http_requests_in_flight 2"]));
    drop(impatient);
    let counted = r#"clients_gave_up_total{route="/slow",after="under 1 s"} 1"#;
    let later = r#"clients_gave_up_total{route="/slow",after="1 s or more"} 1"#;
    until(|| shows(&[counted, later]));
    let ended = program.stop();
    assert_eq!(ended.line("/slow")["outcome"], "cancelled", "the same end for both");
}

#[tokio::test(flavor = "multi_thread")]
async fn tonic_quickstart_counts_calls_by_method_and_status() {
    let program = start("tonic-quickstart");
    let client = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let origin = Uri::try_from(format!("http://{}", program.address)).unwrap();
    let mut client = GreeterClient::with_origin(client, origin);
    let greeting = client.greet(GreetRequest { name: "Ann".to_owned() }).await.unwrap().into_inner();
    assert_eq!(greeting.greeting, "Good day, Ann");
    let refused = client.greet(GreetRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    drop(client);
    let page = program.get("/metrics").body;
    for code in ["OK", "InvalidArgument"] {
        let labels = format!(r#"grpc_service="greeter.v1.Greeter",grpc_method="Greet",grpc_code="{code}""#);
        has(&page, &format!(r#"grpc_server_handled_total{{grpc_type="unknown",{labels}}} 1"#));
    }
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let calls: Vec<_> = ended.lines().into_iter().filter(is_access).map(|line| line["message"].to_string()).collect();
    assert_eq!(calls, [r#""greeter.v1.Greeter/Greet OK""#, r#""greeter.v1.Greeter/Greet INVALID_ARGUMENT""#]);
}

#[test]
fn plain_tower_names_its_requests_by_rules() {
    let program = start("plain-tower");
    assert_eq!(program.get("/files/2026/notes.txt").body, "this is 2026/notes.txt\n");
    assert_eq!(program.get("/elsewhere").status, 404);
    let page = program.get("/metrics");
    assert!(page.head.contains("content-type: text/plain; version=0.0.4"), "{}", page.head);
    has(&page.body, r#"http_requests_total{method="GET",route="/files/{*path}",status_code="200"} 1"#);
    has(&page.body, r#"http_requests_total{method="GET",route="unmatched",status_code="404"} 1"#);
    assert!(!page.body.contains("route=\"/metrics\""), "{}", page.body);
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = ended.line("/files/2026/notes.txt");
    assert_eq!(line["transaction.name"], "GET /files/{*path}");
    assert_eq!(line["client.address"], "127.0.0.0", "cut to its network");
}

#[test]
fn handler_extractors_ask_and_tell() {
    let program = start("handler-extractors");
    let ann = ["authorization: Bearer ann"];
    let home = program.get("/").body;
    assert!(home.starts_with("GET / ") && home.ends_with(": a stranger from Some(127.0.0.1)\n"), "{home}");
    assert_eq!(program.get("/me").status, 401);
    assert_eq!(ask(program.address, "GET /me?whole", &ann, "").body, "you are ann\n");
    assert_eq!(ask(program.address, "GET /orders/4", &ann, "").body, "25 each\n");
    assert_eq!(program.get("/orders/0").status, 500);
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = ended.line("/orders/4");
    assert_eq!((&line["transaction.name"], &line["user.id"]), (&"place order".into(), &"ann".into()));
    assert_eq!((&line["attributes.items"], &line["http.route"]), (&4.into(), &"/orders/{items}".into()));
    let line = ended.line("/orders/0");
    assert_eq!((&line["level"], &line["error.message"]), (&"error".into(), &"an order of nothing".into()));
    assert_eq!(line.get("user.id"), None);
}

#[test]
fn rules_are_printed_as_alarms_of_cloudwatch() {
    let mut command = example("cloudwatch-alarms");
    command.env("CLOUDWATCH_NAMESPACE", "shop").env("CLOUDWATCH_EMF", "1").env("SERVICE_NAME", "api");
    let output = crate::process::run(&mut command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let alarms: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = alarms.iter().filter_map(|alarm| alarm["AlarmName"].as_str()).collect();
    assert_eq!(
        names,
        [
            "api-high_cpu_usage",
            "api-high_memory_usage",
            "api-high_error_rate",
            "api-slow_response_time",
            "api-low_user_activity",
            "api-payment_failures"
        ]
    );
    // What it cannot send, it says.
    let output = crate::process::run(command.arg("--apply"));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("AWS_REGION"), "{error}");
}
