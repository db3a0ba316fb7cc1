//! Bugsink, a Sentry-compatible server: it checks every event against Sentry's own JSON schema and groups them.

use std::{net::SocketAddr, process::Command};

use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::{
    client::{Client, Protocol, empty},
    peer::{self, Peer},
    settle::PATIENCE,
};

/// A running Bugsink with one project.
#[derive(Debug)]
pub struct Bugsink {
    server: Peer,
    dsn: String,
    token: String,
}

impl Bugsink {
    /// Starts one. `None`, which is logged, if it is not on this machine.
    pub async fn start() -> Option<Self> {
        let binaries = peer::find("bugsink-manage")?.parent()?.to_owned();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/steeple-sentry/tests/data/bugsink.py");
        let mut said = String::new();
        let server = Peer::start(&binaries.join("gunicorn"), |address, directory| {
            let mut prepare = Command::new(binaries.join("python"));
            prepare.arg(script).arg(&binaries).arg(address.port().to_string()).current_dir(directory);
            let prepared = peer::run(&mut prepare, b"").expect("Bugsink's interpreter runs");
            assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
            said = String::from_utf8(prepared.stdout).unwrap();
            let bind = address.to_string();
            ["--bind", &bind, "--workers", "1", "--threads", "4", "bugsink.wsgi"].map(str::to_owned).to_vec()
        });
        let mut server = server.expect("Bugsink starts");
        let (dsn, token) = said.trim().split_once('\n').expect("a DSN and a token");
        let is_ready = |address| async move { read(address, "/health/ready", "").await.map(drop) };
        server.until(is_ready).await;
        Some(Self { server, dsn: dsn.to_owned(), token: token.to_owned() })
    }

    /// Where to send events.
    pub fn dsn(&self) -> String {
        self.dsn.clone()
    }

    async fn read(&self, path: &str) -> Value {
        let path = format!("/api/canonical/0/{path}");
        let answer = read(self.server.address(), &path, &self.token).await.expect("Bugsink answers");
        serde_json::from_slice(&answer).unwrap()
    }

    async fn all(&self) -> Vec<Vec<Value>> {
        let mut issues = Vec::new();
        for issue in self.read("issues/?project=1").await["results"].as_array().unwrap() {
            let listed = self.read(&format!("events/?issue={}", issue["id"].as_str().unwrap())).await;
            let mut events = Vec::new();
            for event in listed["results"].as_array().unwrap() {
                events.push(self.read(&format!("events/{}/", event["id"].as_str().unwrap())).await["data"].take());
            }
            issues.push(events);
        }
        issues
    }

    /// The events of each issue, once there are this many in all.
    ///
    /// # Panics
    /// When they do not come. More than these are returned, for the test to see.
    pub async fn issues(&self, events: usize) -> Vec<Vec<Value>> {
        let reading = async {
            loop {
                // An event is accepted first and read in a moment.
                let issues = self.all().await;
                if issues.iter().map(Vec::len).sum::<usize>() >= events {
                    return issues;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no events: {}", self.server.log()))
    }
}

async fn read(address: SocketAddr, path: &str, token: &str) -> Option<bytes::Bytes> {
    let mut client = Client::try_connect(Protocol::Http1, address).await?;
    let request = client.request(Method::GET, path).header("authorization", format!("Bearer {token}"));
    let answer = client.send(request.body(empty()).ok()?).await.ok()?;
    (answer.status() == 200).then_some(())?;
    Some(answer.into_body().collect().await.ok()?.to_bytes())
}
