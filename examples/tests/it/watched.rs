//! What Steeple says of the board is what happened to it.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use serde_json::Value;
use steeple::core::GrpcStatus;
use steeple_examples::taskboard::traffic::{self, Protocol, Row, Seen, Tally};
use tonic::Code;

use crate::process::{Program, ask, example, is_access, lines, until};

/// Numbers by the values of some labels.
type Counts = BTreeMap<Vec<String>, u64>;

/// Probes leave no trace unless they fail.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

#[tokio::test(flavor = "multi_thread")]
async fn the_traffics_tally_is_what_metrics_and_log_say() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = example("taskboard");
    command.args(["--listen", "127.0.0.1:0"]).env("LOG_DIR", directory.path());
    let program = Program::start(&mut command);
    let rate = NonZeroU32::new(150).unwrap();
    let tally = traffic::run(program.address, rate, tokio::time::sleep(Duration::from_secs(5))).await;
    assert!(tally.sent() > 500, "{tally}");
    // Who hangs up is gone before the service knows it. The scrape itself is in flight.
    let page =
        until(|| Some(program.get("/metrics").body).filter(|page| page.contains("\nhttp_requests_in_flight 1\n")));
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let http = |row: &Row| row.protocol != Protocol::Grpc && !PROBES.contains(&row.route);
    let want = counts(&tally, |row| http(row).then(|| vec![method(row), row.route.into(), status(row)]));
    assert_eq!(series(&page, "http_requests_total", ["method", "route", "status_code"]), want, "{tally}");
    let aborted = |row: &Row| http(row) && !["completed", "upgraded"].contains(&row.outcome());
    let want = counts(&tally, |row| aborted(row).then(|| vec![method(row), row.route.into(), row.outcome().into()]));
    assert_eq!(series(&page, "http_requests_aborted_total", ["method", "route", "outcome"]), want, "{tally}");
    let want = counts(&tally, |row| {
        let (service, method) = rpc(row)?.split_once('/').unwrap_or(("_OTHER", "_OTHER"));
        Some(vec![service.into(), method.into(), code_name(row)])
    });
    let labels = ["grpc_service", "grpc_method", "grpc_code"];
    assert_eq!(series(&page, "grpc_server_handled_total", labels), want, "{tally}");

    let log = std::fs::read_to_string(directory.path().join("combined.log")).unwrap();
    let log: Vec<Value> = lines(&log).into_iter().filter(is_access).collect();
    let probes: u64 = tally.rows().filter(|(row, _)| PROBES.contains(&row.route)).map(|(_, count)| count).sum();
    assert!(probes > 0, "{tally}");
    assert_eq!(log.len() as u64, tally.sent() - probes, "a line for each request");
    let mut got = Counts::new();
    for line in &log {
        let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        let key = if let Some(method) = line["rpc.method"].as_str() {
            vec![method.to_owned(), text("rpc.response.status_code"), text("outcome")]
        } else {
            let route = line["http.route"].as_str().unwrap_or("unmatched").to_owned();
            let status = line["http.response.status_code"].as_u64().map_or("-".to_owned(), |code| code.to_string());
            vec![text("http.request.method"), route, status, text("outcome")]
        };
        *got.entry(key).or_default() += 1;
    }
    let want = counts(&tally, |row| match rpc(row) {
        Some(rpc) => Some(vec![rpc.to_owned(), GrpcStatus::from_code(code(row)).to_string(), row.outcome().into()]),
        None if PROBES.contains(&row.route) => None,
        None => {
            let status = row.status.map_or("-".to_owned(), |code| code.to_string());
            Some(vec![method(row), row.route.into(), status, row.outcome().into()])
        }
    });
    assert_eq!(got, want, "{tally}");
    assert_eq!(ended.lines().iter().filter(|line| is_access(line)).count(), log.len(), "the same on standard output");
}

/// The tally's numbers by the key that each row is given, if it is given one.
fn counts(tally: &Tally, key: impl Fn(&Row) -> Option<Vec<String>>) -> Counts {
    let mut counts = Counts::new();
    for (row, count) in tally.rows() {
        if let Some(key) = key(row) {
            *counts.entry(key).or_default() += count;
        }
    }
    counts
}

/// The values of a family, by these labels.
fn series<const N: usize>(page: &str, family: &str, labels: [&str; N]) -> Counts {
    let mut counts = Counts::new();
    for line in page.lines() {
        let Some(rest) = line.strip_prefix(family).and_then(|rest| rest.strip_prefix('{')) else { continue };
        let (pairs, value) = rest.rsplit_once("} ").unwrap();
        let key = labels.map(|label| {
            let (_, rest) = pairs.split_once(&format!("{label}=\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        });
        *counts.entry(key.to_vec()).or_default() += value.parse::<u64>().unwrap();
    }
    counts
}

fn method(row: &Row) -> String {
    if row.method == "BREW" { "_OTHER" } else { row.method }.to_owned()
}

/// The stand-in for the status of a response without a head.
fn status(row: &Row) -> String {
    let code = row.status.unwrap_or(if row.seen == Seen::Cancelled { 499 } else { 500 });
    code.to_string()
}

fn rpc(row: &Row) -> Option<&'static str> {
    let known = row.route.strip_prefix('/').unwrap_or("_OTHER");
    (row.protocol == Protocol::Grpc).then_some(known)
}

/// Who hangs up in a call has cancelled it.
fn code(row: &Row) -> u8 {
    row.grpc.unwrap_or(Code::Cancelled.into()).try_into().unwrap()
}

/// As gRPC's libraries in Go spell it.
fn code_name(row: &Row) -> String {
    match format!("{:?}", Code::from_i32(code(row).into())) {
        ok if ok == "Ok" => "OK".to_owned(),
        cancelled if cancelled == "Cancelled" => "Canceled".to_owned(),
        other => other,
    }
}

#[test]
fn errors_panics_and_users_are_on_the_line() {
    let program = Program::taskboard();
    assert_eq!(program.get("/lab/fail").status, 500);
    assert_eq!(program.get("/lab/panic").status, 0, "the connection is gone");
    program.get("/lab/body-error?after=1");
    assert_eq!(program.get("/api/projects?access_token=s3cr3t-s3cr3t").status, 405);
    assert_eq!(program.get("/admin/users/999").status, 404);
    let (token, user) = sign_in(&program);
    let authorization = format!("authorization: Bearer {token}");
    let complete = ask(program.address, "POST /api/tasks/12345/complete", &[&authorization], "");
    assert_eq!(complete.status, 404, "{complete:?}");
    let ended = program.stop();

    let line = ended.line("/lab/fail");
    let chain =
        "the monthly report could not be written: page 3 could not be rendered: no space left on the report disk";
    assert_eq!((&line["level"], &line["error.message"]), (&"error".into(), &chain.into()));
    let line = ended.line("/lab/panic");
    assert_eq!((&line["level"], &line["outcome"]), (&"error".into(), &"panicked".into()));
    assert!(line["error.message"].as_str().unwrap().starts_with("the lab was asked to panic at "), "{line}");
    let line = ended.line("/lab/body-error");
    assert_eq!((&line["outcome"], &line["error.type"]), (&"body_error".into(), &"body_error".into()));
    assert_eq!(ended.line("/admin/users/999")["http.route"], "/admin/users/{id}", "named in full");
    let line = ended.line("/api/tasks/12345/complete");
    assert_eq!((&line["user.id"], &line["http.route"]), (&user, &"/api/tasks/{id}/complete".into()));
    let line = ended.line("/api/projects");
    assert!(line["url.query"].as_str().unwrap().starts_with("access_token=[redacted"), "{line}");
    for secret in [&*token, "s3cr3t", "ann@example.com"] {
        assert!(!ended.stdout.contains(secret), "{secret}");
    }
    // A line that a handler logged has the ids of its request.
    let logged = ended.lines().into_iter().find(|line| line["message"] == "signed in").unwrap();
    assert_eq!(logged["request_id"], ended.line("/api/sessions")["request_id"]);
    assert_eq!((&logged["user.id"], &logged["http.route"]), (&user, &"/api/sessions".into()));
}

/// A session's token, and the user's id as the log has it.
fn sign_in(program: &Program) -> (String, Value) {
    let user = r#"{"email":"ann@example.com","name":"Ann","source":"web"}"#;
    assert_eq!(ask(program.address, "POST /api/users", &[], user).status, 201);
    let session = ask(program.address, "POST /api/sessions", &[], r#"{"email":"ann@example.com","method":"sso"}"#);
    let session: Value = serde_json::from_str(&session.body).unwrap();
    (session["token"].as_str().unwrap().to_owned(), session["user_id"].to_string().into())
}

/// Requests with an error of the client, over either protocol.
#[test]
fn a_client_cannot_fill_the_error_log() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = example("taskboard");
    command.args(["--listen", "127.0.0.1:0"]).env("LOG_DIR", directory.path());
    let program = Program::start(&mut command);
    let grpc = ["content-type: application/grpc"];
    let made_up = [
        "POST /taskboard.v1.TaskBoard/MadeUp",
        "POST /made.up.Service/Method",
        "POST /nowhere",
        "POST /api/sessions",
        "POST /healthz",
        "POST /lab/slow?ms=1",
    ];
    for request in made_up {
        ask(program.address, request, &grpc, "");
        ask(program.address, request, &[], "");
    }
    assert_eq!(ask(program.address, "GET /api/projects/seven", &[], "").status, 400);
    let ended = program.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(read("error.log"), "");
    let log: Vec<Value> = lines(&read("combined.log")).into_iter().filter(is_access).collect();
    assert!(log.len() > made_up.len(), "{log:#?}");
    for line in log.iter().filter(|line| line["rpc.method"].is_string()) {
        assert_eq!(line.get("http.route"), None, "its method says more: {line:#}");
    }
}
