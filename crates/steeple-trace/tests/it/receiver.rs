//! Real systems that these tests talk to: an OTLP receiver on OpenTelemetry's own classes, and nginx.
//!
//! `.ci/peers-otlp.sh` installs the first. Where a peer is missing, a test prints that and passes; with
//! `STEEPLE_REQUIRE_PEERS=1` it fails.

use std::{
    env,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
pub(crate) use steeple_core::test_util::peer::record;
use steeple_core::{clock, test_util::peer};

/// Ends its process when it is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Prints that a test cannot run here; where peers are required, fails.
pub(crate) fn missing(what: &str) {
    peer::missing(what, &"not on this machine");
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) struct Receiver {
    _process: Process,
    pub(crate) grpc: u16,
    pub(crate) http: u16,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    pub(crate) fn start() -> Option<Self> {
        Self::on(0, 0)
    }

    /// Over TLS, with this certificate and its key.
    pub(crate) fn over_tls(certificate: &Path, key: &Path) -> Option<Self> {
        Self::run(0, 0, &[certificate, key])
    }

    /// On these ports.
    pub(crate) fn on(grpc: u16, http: u16) -> Option<Self> {
        Self::run(grpc, http, &[])
    }

    /// Refuses this many items of each request: a partial success.
    pub(crate) fn refusing(items: usize) -> Option<Self> {
        Self::run(0, 0, &[Path::new("--refuse"), Path::new(&items.to_string())])
    }

    fn run(grpc: u16, http: u16, more: &[&Path]) -> Option<Self> {
        let Some(python) = python() else {
            missing("the OTLP receiver");
            return None;
        };
        record("otlp/bin/python", true);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/receiver.py");
        let mut command = Command::new(python);
        command.arg(script).args([grpc.to_string(), http.to_string()]).args(more).stdout(Stdio::piped());
        let mut process = Process::start(&mut command);
        let mut lines = BufReader::new(process.0.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let ports: Value = serde_json::from_str(&first).unwrap();
        let port = |name: &str| u16::try_from(ports[name].as_u64().unwrap()).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&requests);
        std::thread::spawn(move || collect(lines, &into));
        Some(Self { _process: process, grpc: port("grpc"), http: port("http"), requests })
    }

    pub(crate) fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/v1/traces", self.http)
    }

    pub(crate) fn logs_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/v1/logs", self.http)
    }

    pub(crate) fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }

    /// All spans, with their resource under `resource`, once there are this many.
    pub(crate) fn spans(&self, count: usize) -> Vec<Value> {
        self.items(["resourceSpans", "scopeSpans", "spans"], count)
    }

    /// All log records, in the same way.
    pub(crate) fn logs(&self, count: usize) -> Vec<Value> {
        self.items(["resourceLogs", "scopeLogs", "logRecords"], count)
    }

    fn items(&self, names: [&str; 3], count: usize) -> Vec<Value> {
        let deadline = clock::now() + Duration::from_secs(10);
        loop {
            let items = items_of(&self.requests(), names);
            if items.len() >= count || clock::now() > deadline {
                assert_eq!(items.len(), count, "{items:#?}");
                return items;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn items_of(requests: &[Value], [resources, scopes, names]: [&str; 3]) -> Vec<Value> {
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut items = Vec::new();
    for request in requests {
        for resource in list(&request["message"], resources) {
            for scope in list(&resource, scopes) {
                for mut item in list(&scope, names) {
                    item["resource"] = resource["resource"].clone();
                    item["scope"] = scope["scope"].clone();
                    items.push(item);
                }
            }
        }
    }
    items
}

fn collect(lines: BufReader<ChildStdout>, into: &Mutex<Vec<Value>>) {
    for line in lines.lines().map_while(Result::ok) {
        into.lock().unwrap().push(serde_json::from_str(&line).unwrap());
    }
}

/// The interpreter that has OpenTelemetry's classes.
pub(crate) fn python() -> Option<PathBuf> {
    let own = env::var_os("STEEPLE_PEERS_DIR").map(|peers| PathBuf::from(peers).join("otlp/bin/python"));
    [own, Some(PathBuf::from("python3"))].into_iter().flatten().find(|python| {
        let mut check = Command::new(python);
        check
            .args(["-c", "import grpc, opentelemetry.proto.trace.v1.trace_pb2, opentelemetry.proto.logs.v1.logs_pb2"])
            .stderr(Stdio::null());
        check.status().is_ok_and(|status| status.success())
    })
}

/// The value of an attribute as the protocol has it: its kind and its content.
pub(crate) fn attribute<'v>(holder: &'v Value, name: &str) -> Option<(&'v str, &'v Value)> {
    let all = holder["attributes"].as_array()?;
    let found = all.iter().find(|attribute| attribute["key"] == name)?;
    found["value"].as_object()?.iter().next().map(|(kind, value)| (kind.as_str(), value))
}
