//! The task board's lines, in a server that speaks Elasticsearch's REST API and in its files.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, time::Duration};

use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use steeple::{Steeple, elasticsearch::Elasticsearch, log::Format};
use steeple_tests::{
    board::Board,
    client::{Client, Protocol, empty, full},
    peer::{self, Peer},
    process::ran_alone,
};

const STREAM: &str = "logs-taskboard-test";

/// Asks the server.
async fn ask(address: SocketAddr, method: Method, path: &str, body: &Value) -> Option<Value> {
    let mut client = Client::try_connect(Protocol::Http1, address).await?;
    let request = client.request(method, path).header("content-type", "application/json");
    let response = client.send(request.body(full(body.to_string())).unwrap()).await.ok()?;
    let body = response.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_holds_every_line_of_a_run_of_the_task_board_searchable_by_trace() {
    // What sets up the log of a process stays out of the other tests' one.
    if ran_alone("taskboard_lines::the_server_holds_every_line_of_a_run_of_the_task_board_searchable_by_trace") {
        return;
    }
    let Some(server) = peer::find("noida-server") else { return };
    let arguments = |address: SocketAddr, directory: &Path| {
        let port = address.port().to_string();
        let fixed =
            ["start", "--host", "127.0.0.1", "--only", "elasticsearch", "--elasticsearch-port", &port, "--data-dir"];
        let mut arguments: Vec<String> = fixed.map(str::to_owned).into();
        arguments.push(directory.to_str().unwrap().to_owned());
        arguments
    };
    let mut server = Peer::start(&server, arguments).unwrap();
    server.until(ask_ready).await;
    let address = server.address();
    let lines = Elasticsearch::new(format!("http://{address}"), STREAM);
    let installing = lines.clone();
    tokio::task::spawn_blocking(move || installing.install_template(Duration::from_mins(1))).await.unwrap().unwrap();

    let directory = tempfile::tempdir().unwrap();
    let options = Steeple::builder()
        .service_name("taskboard")
        .log_directory(directory.path())
        .log_format(Format::Ecs)
        .without_console()
        .elasticsearch(|options| options.lines(lines));
    let board = Board::start(options).await;
    let (_, token) = board.sign_in().await;
    board.task(&token).await;
    for number in 0..40 {
        let path = ["/api/projects/1", "/lab/fail", "/lab/status/404", "/api/users"][number % 4];
        board.get(path, &token).await.unwrap();
    }
    assert!(board.get("/lab/panic", &token).await.is_none());
    board.stop().await;

    let file = fs::read_to_string(directory.path().join("combined.log")).unwrap();
    let written: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(written.len() > 45, "{}", written.len());
    ask(address, Method::POST, &format!("/{STREAM}/_refresh"), &json!({})).await;
    let count = async |query: Value| {
        let found = ask(address, Method::POST, &format!("/{STREAM}/_count"), &json!({"query": query})).await.unwrap();
        found["count"].as_u64().unwrap()
    };
    assert_eq!(count(json!({"match_all": {}})).await, written.len() as u64);
    let traces: BTreeSet<_> = written.iter().filter_map(|line| line["trace.id"].as_str()).collect();
    assert!(traces.len() > 40, "{}", traces.len());
    for trace in traces {
        let lines = written.iter().filter(|line| line["trace.id"] == trace).count();
        assert_eq!(count(json!({"term": {"trace.id": trace}})).await, lines as u64, "{trace}");
    }
    let failed = written.iter().filter(|line| line["http.response.status_code"] == 500).count();
    assert!(failed >= 10);
    assert_eq!(count(json!({"term": {"http.response.status_code": 500}})).await, failed as u64);
    assert!(!file.contains(&token));
}

async fn ask_ready(address: SocketAddr) -> Option<Value> {
    let mut client = Client::try_connect(Protocol::Http1, address).await?;
    let request = client.request(Method::GET, "/").body(empty()).unwrap();
    let body = client.send(request).await.ok()?.into_body().collect().await.ok()?.to_bytes();
    serde_json::from_slice(&body).ok()
}
