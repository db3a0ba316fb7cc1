//! A service with its page in a process of its own, which ends by a real signal while pages are open.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{Router, routing::get};
use http_body_util::BodyExt;
use serde_json::Value;
use steeple::Steeple;
use steeple_tests::{
    client::{Client, Protocol},
    settle::{PATIENCE, wait_until},
};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// A service that sets up its log, in a process of its own.
pub(crate) struct Program {
    child: Child,
    directory: TempDir,
    pub(crate) address: SocketAddr,
}

impl Program {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["dashboard_process::serves_its_page_until_a_signal_comes", "--exact", "--ignored"]);
        let mut child = command.stdout(Stdio::null()).env("LOG_DIR", directory.path()).spawn().unwrap();
        let mut address = None;
        let found = wait_until(|| {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            address = fs::read_to_string(directory.path().join("address")).ok().and_then(|text| text.parse().ok());
            address.is_some()
        });
        assert!(found.await, "it writes where it listens");
        Self { child, directory, address: address.unwrap() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, which has to be a good one. Returns the lines of its log.
    pub(crate) async fn ended(mut self) -> Vec<Value> {
        let mut status = None;
        let ended = wait_until(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended.await, "it ends");
        assert!(status.unwrap().success(), "{status:?}");
        let log = fs::read_to_string(self.directory.path().join("combined.log")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Has ended in most tests, and then there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_open_pages_are_told_of_the_end_and_do_not_hold_it_up() {
    let program = Program::start().await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut client = Client::connect(Protocol::Http1, program.address).await;
        let response = client.get("/steeple/stream").await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().is_ok(), "the whole comes first");
        streams.push((client, body));
    }
    let mut late = Client::connect(Protocol::Http1, program.address).await;
    assert_eq!(late.get("/steeple/stream").await.unwrap().status(), 503, "there are 16");
    assert!(Command::new("kill").args(["-TERM", &program.id().to_string()]).status().unwrap().success());
    // It would wait an hour for a request that goes on.
    tokio::time::timeout(PATIENCE, program.ended()).await.expect("open pages hold the end up");
    for (_client, mut body) in streams {
        let mut last = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.expect("the stream ends as it should, and is not cut off");
            last = frame.into_data().unwrap().to_vec();
        }
        assert_eq!(String::from_utf8(last).unwrap(), "event: end\ndata: {}\n\n");
    }
}

#[test]
#[ignore = "the process of the other tests"]
fn serves_its_page_until_a_signal_comes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let steeple = Steeple::builder_from_env().unwrap().service_name("program");
        let steeple = steeple.drain_timeout(Duration::from_hours(1)).build().unwrap();
        let quiet = async || {
            tracing::debug!("what is seldom of interest");
            "ok"
        };
        let app = Router::new().route("/quiet", get(quiet)).merge(steeple.dashboard()).layer(steeple.layer());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let directory = std::env::var_os("LOG_DIR").unwrap();
        let whole = Path::new(&directory).join("address.part");
        fs::write(&whole, listener.local_addr().unwrap().to_string()).unwrap();
        fs::rename(&whole, Path::new(&directory).join("address")).unwrap();
        steeple.serve(listener, app).await.unwrap();
    });
}
