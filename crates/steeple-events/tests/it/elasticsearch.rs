//! Events in a real server that speaks Elasticsearch's REST API, found again by id and by trace, and erased by user.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use steeple_core::{Exchange, TraceContext, User, clock, test_util::peer};
use steeple_events::{
    Events,
    preset::{FeatureUsed, Payment, UserRegistration},
    sink::Elasticsearch,
};

use crate::{
    outbox::{PATIENCE, durable, soon, until},
    receiver::flush,
};

const STREAM: &str = "logs-events-test";

/// The server, on a free port until this is dropped. `None`, which is printed, where it is not installed; with
/// `STEEPLE_REQUIRE_PEERS=1` that is a failure.
struct Server {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Option<Self> {
        let program = peer::program("noida/bin/noida-server")?;
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
            assert!(began.elapsed() < PATIENCE, "the server does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    /// The documents that match.
    fn find(&self, query: &Value) -> Vec<Value> {
        self.ask("POST", &format!("/{STREAM}/_refresh"), &json!({}));
        let found = self.ask("POST", &format!("/{STREAM}/_search?size=100"), &json!({"query": query}));
        found["hits"]["hits"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// In the name of a user, within a trace.
fn track(events: &Events, user: &str, trace: u8) {
    let exchange = Exchange::detached();
    exchange.set_user(User::new(user));
    exchange.set_trace(TraceContext::from_ids([trace; 16], [trace; 8], true).unwrap());
    exchange.in_scope(|| {
        events.track(UserRegistration { source: "ads" });
        events.track(FeatureUsed { feature: "export" });
        events.track(Payment { failed: false, minor_units: 1_250, currency: "EUR" });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_id_and_by_trace_once_each_and_gone_once_their_user_is_erased() {
    let Some(server) = Server::start() else { return };
    let fields = json!({"properties": {
        "user": {"properties": {"id": {"type": "keyword"}}},
        "trace": {"properties": {"id": {"type": "keyword"}}},
        "event": {"properties": {"id": {"type": "keyword"}, "action": {"type": "keyword"}}},
    }});
    let template = json!({"index_patterns": ["logs-events-*"], "data_stream": {}, "template": {"mappings": fields}});
    server.ask("PUT", "/_index_template/events", &template);
    let directory = tempfile::tempdir().unwrap();
    let url = format!("http://{}", server.address);
    let events = durable(directory.path()).sink(Elasticsearch::new(&url, STREAM).http(soon)).build().unwrap();
    track(&events, "ada", 1);
    track(&events, "bob", 2);
    flush(&events).await;

    let all = server.find(&json!({"match_all": {}}));
    assert_eq!(all.len(), 6, "{all:?}");
    for document in &all {
        let id = &document["_id"];
        assert_eq!(id, &document["_source"]["event"]["id"]);
        assert_eq!(server.find(&json!({"term": {"event.id": id}})).len(), 1);
        assert_eq!(server.find(&json!({"ids": {"values": [id]}})).len(), 1);
    }
    let of_trace = server.find(&json!({"term": {"trace.id": "01".repeat(16)}}));
    let mut actions: Vec<_> = of_trace.iter().map(|one| one["_source"]["event"]["action"].as_str().unwrap()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["feature_used", "payment", "sign_up"]);
    assert!(of_trace.iter().all(|one| one["_source"]["user"]["id"] == "ada"));

    // Also what has only just arrived.
    track(&events, "ada", 3);
    flush(&events).await;
    events.erase("ada").await.unwrap();
    flush(&events).await;
    until(|| server.find(&json!({"term": {"user.id": "ada"}})).is_empty()).await;
    assert_eq!(server.find(&json!({"match_all": {}})).len(), 3, "others stay");
    let stats = events.sink_stats();
    let erasures = stats.iter().find(|sink| sink.sink == "elasticsearch_erasures").unwrap();
    assert_eq!((erasures.delivered, erasures.skipped, erasures.backlog.0), (1, 0, 0));
}
