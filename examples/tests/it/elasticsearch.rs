//! A run of the task board whose lines go to a file and to a server that speaks Elasticsearch's interface.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use steeple::core::clock;

use crate::{
    events::recorder,
    process::{PATIENCE, example, run},
};

/// The server's program. `None`, which is printed, when it is not installed; with `STEEPLE_REQUIRE_PEERS=1` that is a failure.
fn program() -> Option<PathBuf> {
    let peers = env::var_os("STEEPLE_PEERS_DIR").map(PathBuf::from);
    let found = peers.map(|peers| peers.join("noida/bin/noida-server")).filter(|path| path.exists());
    if let Some(log) = env::var_os("STEEPLE_PEERS_LOG") {
        let thread = thread::current();
        let state = if found.is_some() { "found" } else { "missing" };
        let line = format!("{}\tnoida\t{state}\n", thread.name().unwrap_or_default());
        let log = fs::OpenOptions::new().create(true).append(true).open(log);
        log.and_then(|mut log| log.write_all(line.as_bytes())).unwrap();
    }
    if found.is_none() {
        let required = env::var_os("STEEPLE_REQUIRE_PEERS").is_some_and(|value| value == "1");
        assert!(!required, "peer not found: noida; STEEPLE_REQUIRE_PEERS=1 requires it");
        // Past what captures the output of tests.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "peer not found: noida (skipped what needs it; .ci/peers installs it)").unwrap();
    }
    found
}

/// The server, on a free port until this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Option<Self> {
        let program = program()?;
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .args(["start", "--host", "127.0.0.1", "--only", "elasticsearch", "--data-dir"])
            .arg(directory.path())
            .args(["--elasticsearch-port", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address, _directory: directory };
        let began = clock::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < PATIENCE * 4, "the server does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.address).unwrap();
        let (to, length) = (self.address, body.len());
        let head =
            format!("host: {to}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close");
        write!(stream, "POST {path} HTTP/1.1\r\n{head}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    fn count(&self, query: &Value) -> u64 {
        self.ask("/logs-board/_refresh", &json!({}));
        let answer = self.ask("/logs-board/_count", &json!({ "query": query }));
        answer["count"].as_u64().unwrap_or_else(|| panic!("no count: {answer}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn the_server_has_every_line_of_a_run_that_the_file_has_and_finds_them_by_trace() {
    let Some(server) = Server::start() else { return };
    // Spans go there, so that lines have a trace.
    let (spans, _kept) = recorder();
    let directory = tempfile::tempdir().unwrap();
    let mut command = example("taskboard");
    command.args(["--listen", "127.0.0.1:0", "--traffic", "100", "--duration", "3"]);
    let url = format!("http://{}", server.address);
    let output = run(command.envs([
        ("ELASTICSEARCH_LOGS_STREAM", "logs-board"),
        ("ELASTICSEARCH_URL", url.as_str()),
        ("LOG_FORMAT", "ecs"),
        ("LOG_DIR", directory.path().to_str().unwrap()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", spans.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = fs::read_to_string(directory.path().join("combined.log")).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 100, "{} lines", lines.len());
    assert_eq!(server.count(&json!({"match_all": {}})), lines.len() as u64, "as many as in the file");

    let traced: Vec<_> = lines.iter().filter_map(|line| line["trace.id"].as_str()).collect();
    assert!(traced.len() > 50, "{} lines have a trace", traced.len());
    for id in [traced[0], traced[traced.len() / 2], traced[traced.len() - 1]] {
        let in_file = traced.iter().filter(|other| **other == id).count() as u64;
        assert_eq!(server.count(&json!({"term": {"trace.id": id}})), in_file, "{id}");
    }
    assert_eq!(server.count(&json!({"term": {"trace.id": "0".repeat(32)}})), 0);
}
