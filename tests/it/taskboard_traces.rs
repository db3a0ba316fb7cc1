//! The task board's spans, as an OTLP receiver on OpenTelemetry's own classes has them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use futures_util::StreamExt;
use http::{Method, Request, Uri};
use http_body_util::BodyExt;
use hyper_util::{client::legacy, rt::TokioExecutor};
use serde_json::{Value, json};
use steeple::{Steeple, SteepleBuilder, log::Format, trace};
use steeple_examples::taskboard::proto::{GetTaskRequest, WatchTasksRequest, task_board_client::TaskBoardClient};
use steeple_tests::{
    board::{Board, with_session},
    client::{Client, Protocol},
    grpc::channel,
    otlp::{Otlp, Record, Span},
    peer::{self, Peer},
    process::ran_alone,
    settle::wait_until,
};
use tokio::net::TcpStream;
use tonic::Code;
use tower::{Layer, ServiceExt};

fn traced(name: &str, receiver: &Otlp) -> SteepleBuilder {
    let otlp = trace::Otlp::new().endpoint(format!("{}/v1/traces", receiver.endpoint()));
    Steeple::builder().service_name(name).traces(|traces| traces.otlp(otlp).export_delay(Duration::from_millis(20)))
}

fn server_spans(spans: &[Span]) -> impl Iterator<Item = &Span> {
    spans.iter().filter(|span| span.kind == "SPAN_KIND_SERVER")
}

#[track_caller]
fn only<'s>(spans: &'s [Span], name: &str, kind: &str) -> &'s Span {
    let mut found = spans.iter().filter(|span| span.name == name && span.kind == kind);
    match (found.next(), found.next()) {
        (Some(span), None) => span,
        (first, second) => panic!("want one {name}: {first:?} {second:?}"),
    }
}

/// Whether an attribute is on the convention's own list, with this type.
#[track_caller]
fn check_listed(types: &Value, name: &str, kind: &str) {
    let want = types[name].as_str().unwrap_or_else(|| panic!("{name} is not on the list"));
    let came = match kind {
        "stringValue" => "string",
        "intValue" => "int",
        other => panic!("{name} came as {other}"),
    };
    assert_eq!(came, want, "{name}");
}

/// Everything there is to ask for: what goes well, what fails, who goes away.
async fn use_it(board: &Board, token: &str) {
    assert_eq!(board.get("/api/projects/1?page=2", token).await.unwrap().0, 200);
    assert_eq!(board.get("/api/projects/9", token).await.unwrap().0, 404);
    let again = json!({ "email": "ada@example.com", "name": "Ada", "source": "web" });
    assert_eq!(board.ask(Method::POST, "/api/users", "", again).await.unwrap().0, 409);
    assert_eq!(board.get("/admin/users/1", "").await.unwrap().0, 200);
    assert_eq!(board.get("/lab/fail", token).await.unwrap().0, 500);
    assert!(board.get("/lab/body-error", "").await.is_none());
    let mut grpc = board.grpc();
    grpc.get_task(with_session(GetTaskRequest { id: 1, end_with_code: None }, token)).await.unwrap();
    for (end_after, code) in [(3, Code::Ok), (1, Code::Internal)] {
        let call = WatchTasksRequest { project_id: 0, end_after, end_with_code: Some(code.into()), heartbeat_ms: 1 };
        let messages = grpc.watch_tasks(call).await.unwrap().into_inner().collect::<Vec<_>>().await;
        let last = messages.last().unwrap();
        assert_eq!(last.as_ref().map_or_else(tonic::Status::code, |_| Code::Ok), code);
    }
    // One goes away before the answer, one while it comes.
    let mut client = Client::connect(Protocol::Http1, board.address()).await;
    let gone = tokio::time::timeout(Duration::from_millis(100), client.get("/lab/slow?ms=20000")).await;
    assert!(gone.is_err(), "it waits");
    drop(client);
    let mut client = Client::connect(Protocol::Http2, board.address()).await;
    let mut answer = client.get("/lab/stream?frames=1000&gap_ms=50").await.unwrap();
    assert!(answer.frame().await.unwrap().unwrap().is_data());
    drop((answer, client));
}

fn lines(directory: &Path) -> BTreeMap<String, Value> {
    let log = std::fs::read_to_string(directory.join("combined.log")).unwrap();
    // The target of its spans is how the log knows them.
    assert!(!log.contains("otel.kind"), "a line has the fields of an exchange's span: {log}");
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    // By trace; a handler's own line belongs to the same trace and is not searched for.
    let access = lines.filter(|line| line["target"] == "steeple::access");
    let mut by_trace = BTreeMap::new();
    for line in access {
        let trace = line["trace_id"].as_str().unwrap().to_owned();
        assert!(by_trace.insert(trace, line).is_none(), "one request, one line");
    }
    by_trace
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_boards_spans_arrive_whole_and_its_log_lines_carry_their_ids() {
    // The log is the process's.
    if ran_alone("taskboard_traces::the_task_boards_spans_arrive_whole_and_its_log_lines_carry_their_ids") {
        return;
    }
    let Some(receiver) = Otlp::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let options = traced("taskboard", &receiver).log_format(Format::Json);
    let board = Board::start(options.log_directory(directory.path().to_str().unwrap())).await;
    let (user, token) = board.sign_in().await;
    board.task(&token).await;
    use_it(&board, &token).await;
    board.stop().await;

    // The requests to sign in, to create a project and a task, and those that followed.
    let want = 4 + 11;
    assert!(wait_until(|| server_spans(&receiver.spans()).count() >= want).await, "{:#?}", receiver.spans());
    let spans = receiver.spans();
    assert_eq!(server_spans(&spans).count(), want, "{spans:#?}");
    let exchanges: BTreeSet<_> = server_spans(&spans).map(|span| span.trace_id.clone()).collect();
    let strays: Vec<_> = spans.iter().filter(|span| !exchanges.contains(&span.trace_id)).collect();
    assert!(strays.is_empty(), "no exchange's: {strays:#?}");

    let told: BTreeMap<_, _> = server_spans(&spans)
        .map(|span| {
            let answer = [span.attribute("http.response.status_code"), span.attribute("rpc.response.status_code")];
            let told = [answer.concat().as_str(), &span.status, span.attribute("error.type")].join("|");
            ((span.name.as_str(), told), span)
        })
        .collect();
    let told: Vec<_> = told.into_keys().map(|(name, told)| format!("{name} {told}")).collect();
    assert_eq!(
        told,
        [
            "GET /admin/users/{id} 200||",
            "GET /api/projects/{id} 200||",
            "GET /api/projects/{id} 404||",
            "GET /lab/body-error 200|STATUS_CODE_ERROR|body_error",
            "GET /lab/fail 500|STATUS_CODE_ERROR|500",
            "GET /lab/slow |STATUS_CODE_ERROR|cancelled",
            "GET /lab/stream 200|STATUS_CODE_ERROR|cancelled_in_body",
            "POST /api/projects 201||",
            "POST /api/projects/{id}/tasks 201||",
            "POST /api/sessions 201||",
            "POST /api/users 201||",
            "POST /api/users 409||",
            "taskboard.v1.TaskBoard/GetTask OK||",
            "taskboard.v1.TaskBoard/WatchTasks INTERNAL|STATUS_CODE_ERROR|INTERNAL",
            "taskboard.v1.TaskBoard/WatchTasks OK||",
        ]
    );

    let listed: Value =
        serde_json::from_str(include_str!("../../crates/steeple-trace/tests/data/semconv-1.44.0.json")).unwrap();
    for span in &spans {
        for (name, (kind, _)) in span.attributes.iter().chain(&span.resource) {
            check_listed(&listed["types"], name, kind);
        }
        assert_eq!(span.resource["service.name"].1, "taskboard");
    }

    let by_trace = lines(directory.path());
    assert_eq!(by_trace.len(), want);
    for span in server_spans(&spans) {
        assert_eq!(span.parent_id, "", "the board has no caller");
        let line = &by_trace[&span.trace_id];
        assert_eq!((&line["span_id"], &line["transaction.name"]), (&span.span_id[..].into(), &span.name[..].into()));
        if let Some(method) = span.name.strip_prefix("taskboard.v1.TaskBoard/") {
            assert_eq!(span.attribute("rpc.system.name"), "grpc");
            assert_eq!(span.attribute("rpc.method"), format!("taskboard.v1.TaskBoard/{method}"));
        } else {
            let route = span.name.split_once(' ').unwrap().1;
            assert_eq!(span.attribute("http.route"), route);
        }
    }
    for span in spans.iter().filter(|span| span.kind != "SPAN_KIND_SERVER") {
        let parent = server_spans(&spans).find(|parent| parent.span_id == span.parent_id).unwrap();
        assert_eq!((&span.trace_id, span.kind.as_str()), (&parent.trace_id, "SPAN_KIND_CLIENT"));
        assert_eq!((span.attribute("db.system.name"), span.attribute("db.query.summary")), ("sqlite", &span.name[..]));
    }
    let below = |name: &str| {
        let parent = only(&spans, name, "SPAN_KIND_SERVER");
        let below = spans.iter().filter(|span| span.parent_id == parent.span_id);
        below.map(|span| span.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(below("GET /admin/users/{id}"), ["select users"]);
    assert_eq!(below("POST /api/projects"), ["select sessions", "insert projects"]);
    assert_eq!(below("taskboard.v1.TaskBoard/GetTask"), ["select sessions", "select tasks"]);
    let inserts = spans.iter().filter(|span| span.name == "insert users");
    let inserts: BTreeSet<_> = inserts.map(|span| (&*span.status, span.attribute("error.type"))).collect();
    let refused = "steeple_examples::taskboard::store::error::StoreError";
    assert_eq!(inserts, BTreeSet::from([("", ""), ("STATUS_CODE_ERROR", refused)]), "the second was one too many");
    let failed = only(&spans, "GET /lab/fail", "SPAN_KIND_SERVER");
    assert_eq!(failed.attribute("user.id"), user);
    assert_eq!(failed.exceptions.len(), 1, "{failed:?}");
    assert!(failed.exceptions[0].ends_with("ReportError"), "{failed:?}");
    assert!(!format!("{spans:?}").contains(&token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_boards_access_lines_arrive_as_log_records_with_the_ids_of_their_spans() {
    // The log is the process's.
    if ran_alone("taskboard_traces::the_task_boards_access_lines_arrive_as_log_records_with_the_ids_of_their_spans") {
        return;
    }
    let Some(receiver) = Otlp::start().await else { return };
    let spans = trace::Otlp::new().endpoint(format!("{}/v1/traces", receiver.endpoint()));
    let logs = trace::Otlp::new().endpoint(format!("{}/v1/logs", receiver.endpoint()));
    let options = Steeple::builder()
        .service_name("taskboard")
        .traces(|traces| traces.otlp(spans).logs(logs).export_delay(Duration::from_millis(20)));
    let board = Board::start(options).await;
    let (user, token) = board.sign_in().await;
    board.task(&token).await;
    assert_eq!(board.get("/api/projects/1?token=hunter2", &token).await.unwrap().0, 200);
    assert_eq!(board.get("/lab/fail", &token).await.unwrap().0, 500);
    board.stop().await;

    let access =
        || receiver.records().into_iter().filter(|record| record.scope == "steeple::access").collect::<Vec<_>>();
    assert!(wait_until(|| access().len() >= 6 && server_spans(&receiver.spans()).count() >= 6).await);
    let (records, spans) = (access(), receiver.spans());
    assert_eq!((records.len(), server_spans(&spans).count()), (6, 6), "{records:#?}");
    for span in server_spans(&spans) {
        let ids = |record: &&Record| (&record.trace_id, &record.span_id) == (&span.trace_id, &span.span_id);
        let mut own = records.iter().filter(ids);
        let (Some(line), None) = (own.next(), own.next()) else { panic!("one line each: {span:?} {records:#?}") };
        let said = |name: &str| line.attributes.get(name).map_or("", |(_, value)| value);
        assert_eq!((said("transaction.name"), said("outcome")), (&span.name[..], "completed"));
        assert_eq!(said("http.response.status_code"), span.attribute("http.response.status_code"));
        assert_eq!(line.severity, if span.status.is_empty() { "INFO" } else { "ERROR" }, "{line:?}");
        assert!(line.body.starts_with(&span.name), "{line:?}");
    }
    let failed = records.iter().find(|record| record.severity == "ERROR").unwrap();
    assert_eq!((&failed.attributes["error.type"].1, &failed.attributes["user.id"].1), (&"500".to_owned(), &user));
    let said = format!("{:?}", receiver.records());
    assert!(!said.contains("hunter2") && !said.contains(&token), "{said}");
}

/// Asks another board, over HTTP and over gRPC.
fn asking(steeple: &Steeple, http: SocketAddr, grpc: SocketAddr) -> Router {
    let calls = steeple.client_layer();
    let client = calls.clone().layer(legacy::Client::builder(TokioExecutor::new()).build_http::<Body>());
    let mut board = TaskBoardClient::new(calls.server(grpc.to_string().parse().unwrap()).layer(channel(grpc)));
    let ask = async move || {
        let uri: Uri = format!("http://{http}/lab/echo").parse().unwrap();
        let answer = client.oneshot(Request::get(uri).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
        let status = board.get_task(GetTaskRequest { id: 9, end_with_code: None }).await.unwrap_err();
        status.message().to_owned()
    };
    Router::new().route("/ask", get(ask))
}

/// nginx in front of a board: where it takes HTTP/1.1, and gRPC.
async fn nginx(board: SocketAddr) -> Option<(Peer, SocketAddr, SocketAddr)> {
    let binary = peer::find("nginx")?;
    let grpc = peer::free_address();
    let mut nginx = Peer::start(&binary, |http, directory| {
        let configuration = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log; worker_processes 1;
events {{}}
http {{
  access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{ listen {http}; location / {{ proxy_pass http://{board}; proxy_http_version 1.1; }} }}
  server {{ listen {grpc} http2; location / {{ grpc_pass grpc://{board}; }} }}
}}
"
        );
        std::fs::write(directory.join("nginx.conf"), configuration).unwrap();
        let prefix = directory.to_str().unwrap().to_owned();
        let file = format!("{prefix}/nginx.conf");
        vec!["-p".to_owned(), prefix, "-c".to_owned(), file, "-e".to_owned(), "error.log".to_owned()]
    })
    .unwrap();
    nginx.until(|_| async move { TcpStream::connect(grpc).await.ok() }).await;
    let http = nginx.address();
    Some((nginx, http, grpc))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_task_boards_behind_nginx_make_one_trace() {
    // A subscriber of another test's would take the spans.
    if ran_alone("taskboard_traces::two_task_boards_behind_nginx_make_one_trace") {
        return;
    }
    let Some(receiver) = Otlp::start().await else { return };
    let answering = Board::start(traced("answering", &receiver).without_log_setup()).await;
    let Some((_nginx, http, grpc)) = nginx(answering.address()).await else { return };
    let options = traced("asking", &receiver).without_log_setup();
    let board = Board::start_with(options, |steeple, router| router.merge(asking(steeple, http, grpc))).await;
    assert_eq!(board.get("/ask", "").await.unwrap(), (200, "there is no task 9".into()));
    // The same layer counts them, and its exemplars are the spans that the receiver gets.
    let metrics = board.steeple().metrics().clone();
    let page = metrics.render(Some("application/openmetrics-text;version=1.0.0"), None).body;
    let page = String::from_utf8(page.to_vec()).unwrap();
    board.stop().await;
    answering.stop().await;

    assert!(wait_until(|| receiver.spans().len() >= 6).await, "{:#?}", receiver.spans());
    let spans = receiver.spans();
    let root = only(&spans, "GET /ask", "SPAN_KIND_SERVER");
    assert_eq!(root.parent_id, "");
    let by_grpc = "taskboard.v1.TaskBoard/GetTask";
    let lines = [
        (only(&spans, "GET", "SPAN_KIND_CLIENT"), root, "asking"),
        (only(&spans, by_grpc, "SPAN_KIND_CLIENT"), root, "asking"),
        (only(&spans, "GET /lab/echo", "SPAN_KIND_SERVER"), only(&spans, "GET", "SPAN_KIND_CLIENT"), "answering"),
        (only(&spans, by_grpc, "SPAN_KIND_SERVER"), only(&spans, by_grpc, "SPAN_KIND_CLIENT"), "answering"),
        (only(&spans, "select tasks", "SPAN_KIND_CLIENT"), only(&spans, by_grpc, "SPAN_KIND_SERVER"), "answering"),
    ];
    for (child, parent, service) in &lines {
        assert_eq!((&child.parent_id, &child.trace_id), (&parent.span_id, &root.trace_id), "{}", child.name);
        assert_eq!(child.resource["service.name"].1, *service, "{}", child.name);
    }
    assert_eq!(spans.len(), lines.len() + 1, "{spans:#?}");
    for (family, call) in [("http_client_request_duration_seconds", "GET"), ("grpc_client_handling_seconds", by_grpc)] {
        let call = only(&spans, call, "SPAN_KIND_CLIENT");
        let ids = format!("# {{trace_id=\"{}\",span_id=\"{}\"}}", call.trace_id, call.span_id);
        assert!(page.lines().any(|line| line.starts_with(family) && line.contains(&ids)), "{ids} in\n{page}");
    }
    for (call, ..) in lines.iter().filter(|(call, ..)| call.name == by_grpc) {
        assert_eq!(call.attribute("rpc.response.status_code"), "NOT_FOUND");
    }
}
