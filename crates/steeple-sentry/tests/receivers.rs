//! Receivers by others read our events: a Sentry-compatible server, over the wire, and Sentry Relay's own rules.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;
#[path = "common/peer.rs"]
mod peer;

use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{Router, extract::Path, http::StatusCode, response::Response, routing::get as route};
use bytes::Bytes;
use common::{get, send, serve};
use http::Request;
use sentry_core::protocol::{EnvelopeItem, Value};
use steeple_core::Exchange;
use steeple_scrub::corpus::{self, Place};
use steeple_sentry::{DropReason, Sentry, User, breadcrumb, set_extra, set_tag, set_user};

/// The failures of a service, one a route.
fn app() -> Router {
    Router::new()
        .route(
            "/users/{id}/fail",
            route(|Path(id): Path<String>, exchange: Exchange| async move {
                set_user(User::new(format!("u-{id}")));
                set_tag("plan", "pro");
                set_extra("items", 3);
                breadcrumb("cart", format!("opened cart {id}"));
                exchange.record_error(&std::io::Error::other(format!("cart {id} is locked")));
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route("/panic", route(panics))
        .route("/body-error", route(|| async { Response::new(common::broken_body()) }))
        .route("/status", route(|| async { StatusCode::BAD_GATEWAY }))
}

async fn panics() -> StatusCode {
    panic!("out of cheese")
}

/// Lets each route fail twice, as two users.
async fn fail_all(address: SocketAddr) {
    for id in [1, 2] {
        get(address, &format!("/users/{id}/fail?token=hunter2hunter2")).await.unwrap();
        get(address, "/status").await.unwrap();
        assert!(get(address, "/panic").await.is_none());
        assert!(get(address, "/body-error").await.is_none());
    }
}

/// Ends the server with the test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

struct Bugsink {
    address: SocketAddr,
    dsn: String,
    token: String,
    _server: Server,
    _directory: tempfile::TempDir,
}

impl Bugsink {
    async fn start() -> Option<Self> {
        let gunicorn = peer::program("bugsink", "gunicorn")?;
        let python = peer::program("bugsink", "python")?;
        let directory = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bugsink.py");
        let prepared = Command::new(python)
            .args([script.as_ref(), gunicorn.parent().unwrap().as_os_str(), address.port().to_string().as_ref()])
            .current_dir(directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8(prepared.stdout).unwrap();
        assert!(prepared.status.success(), "{said}{}", String::from_utf8_lossy(&prepared.stderr));
        let (dsn, token) = said.trim().split_once('\n').unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let server = Command::new(gunicorn)
            .args(["--bind", &address.to_string(), "--workers", "1", "--threads", "4", "bugsink.wsgi"])
            .current_dir(directory.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let bugsink = Self {
            address,
            dsn: dsn.to_owned(),
            token: token.to_owned(),
            _server: Server(server),
            _directory: directory,
        };
        for _ in 0..600 {
            if tokio::net::TcpStream::connect(address).await.is_ok()
                && get(address, "/health/ready").await.is_some_and(|answer| answer.status() == 200)
            {
                return Some(bugsink);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("Bugsink did not start");
    }

    async fn read(&self, path: &str) -> Value {
        let request = Request::get(format!("/api/canonical/0/{path}"))
            .header("host", "127.0.0.1")
            .header("authorization", format!("Bearer {}", self.token));
        let answer = send(self.address, request.body(String::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}: {:?}", answer.body());
        serde_json::from_slice(answer.body()).unwrap()
    }

    /// The issues, by their transaction and type, with their events.
    async fn issues(&self) -> BTreeMap<String, Vec<Value>> {
        let mut out = BTreeMap::new();
        for issue in self.read("issues/?project=1").await["results"].as_array().unwrap() {
            let id = issue["id"].as_str().unwrap();
            let listed = self.read(&format!("events/?issue={id}")).await;
            let mut events = Vec::new();
            for event in listed["results"].as_array().unwrap() {
                events.push(self.read(&format!("events/{}/", event["id"].as_str().unwrap())).await["data"].take());
            }
            let newest = &events[0];
            let exceptions = newest["exception"]["values"].as_array().unwrap();
            let name = format!(
                "{} / {}",
                newest["transaction"].as_str().unwrap(),
                exceptions.last().unwrap()["type"].as_str().unwrap()
            );
            assert!(out.insert(name, events).is_none(), "two issues for one failure");
        }
        out
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentry_compatible_server_accepts_and_groups_every_failure() {
    let Some(bugsink) = Bugsink::start().await else { return };
    let options = Sentry::builder(bugsink.dsn.clone()).environment("test").release("shop@1.2.3");
    let sentry = options.traces_sample_rate(1.0).build().unwrap().install();
    let address = serve(app().layer(sentry.layer())).await;
    fail_all(address).await;
    assert!(sentry.flush(Duration::from_mins(1)));
    let counts = sentry.counts();
    assert_eq!(counts.events, 8, "{counts:?}");
    // Bugsink wants no transactions and says so with its first answer; that is heard.
    assert_eq!(counts.transactions + counts.dropped(DropReason::RateLimited), 8, "{counts:?}");
    assert!(counts.transactions <= 1, "{counts:?}");
    let mut issues = BTreeMap::new();
    for _ in 0..100 {
        issues = bugsink.issues().await;
        if issues.values().map(Vec::len).sum::<usize>() == 8 {
            break;
        }
        // Events are accepted first and read in a moment.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found: Vec<_> = issues.iter().map(|(name, events)| (name.as_str(), events.len())).collect();
    assert_eq!(
        found,
        [
            ("GET /body-error / Error", 2),
            ("GET /panic / panic", 2),
            ("GET /status / HTTP 502", 2),
            ("GET /users/{id}/fail / Error", 2),
        ]
    );
    let event = issues["GET /users/{id}/fail / Error"].iter().find(|event| event["user"]["id"] == "u-2").unwrap();
    assert_eq!(event["breadcrumbs"]["values"][0]["message"], "opened cart 2");
    assert_eq!((&event["tags"]["plan"], &event["extra"]["items"]), (&"pro".into(), &3.into()));
    assert_eq!(event["request"]["query_string"], "token=[Filtered]");
    assert_eq!(event["transaction_info"]["source"], "route");
    assert_eq!((&event["release"], &event["environment"]), (&"shop@1.2.3".into(), &"test".into()));
    let frames = issues["GET /panic / panic"][0]["exception"]["values"][0]["stacktrace"]["frames"].as_array().unwrap();
    assert!(
        frames.iter().any(|frame| frame["function"].as_str().is_some_and(|name| name.contains("panics"))),
        "{frames:#?}"
    );
    // A wrong key: refused, counted, and nothing else happens.
    let wrong = bugsink.dsn.replacen("//", "//0000", 1);
    let refused = Sentry::builder(wrong).build().unwrap();
    let other = serve(app().layer(refused.layer())).await;
    get(other, "/status").await.unwrap();
    assert!(refused.flush(Duration::from_mins(1)));
    assert_eq!(
        (refused.counts().events, refused.counts().dropped(DropReason::Rejected)),
        (0, 1),
        "{:?}",
        refused.counts()
    );
}

#[tokio::test]
async fn a_sentry_that_is_down_costs_its_events_and_nothing_else() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dsn = format!("http://public@{}/1", free.local_addr().unwrap());
    drop(free);
    let sentry = Sentry::builder(dsn).build().unwrap();
    let address = serve(app().layer(sentry.layer())).await;
    assert_eq!(get(address, "/status").await.unwrap().status(), 502);
    assert!(sentry.flush(Duration::from_mins(1)));
    assert_eq!((sentry.counts().events, sentry.counts().dropped(DropReason::Network)), (0, 1));
}

/// Accepts every request and answers 200.
async fn recorder() -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<(http::HeaderMap, Bytes)>) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let app = Router::new().fallback(move |headers: http::HeaderMap, body: Bytes| {
        let sender = sender.clone();
        async move {
            sender.send((headers, body)).unwrap();
            "{}"
        }
    });
    (serve(app).await, receiver)
}

/// The events and transactions of an envelope, as they went over the wire.
fn payloads(envelope: &[u8]) -> Vec<Value> {
    let mut lines = envelope.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let head: Value = serde_json::from_slice(lines.next().unwrap()).unwrap();
    assert!(head["sent_at"].is_string(), "{head}");
    let mut out = Vec::new();
    while let Some(item) = lines.next() {
        let item: Value = serde_json::from_slice(item).unwrap();
        let payload = lines.next().unwrap();
        assert_eq!(item["length"].as_u64(), Some(payload.len() as u64), "{item}");
        if item["type"] == "event" || item["type"] == "transaction" {
            let mut payload: Value = serde_json::from_slice(payload).unwrap();
            // The server takes an event's type from the item's head.
            payload["type"] = item["type"].clone();
            out.push(payload);
        }
    }
    out
}

/// What Relay says of each.
fn relay(events: &[Value]) -> Option<Vec<Value>> {
    let python = peer::program("sentry-relay", "python")?;
    let mut relay = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/relay.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = relay.stdin.take().unwrap();
    let lines = events.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = relay.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    Some(said.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentry_relay_accepts_everything_and_finds_nothing_left_to_remove() {
    let (address, mut received) = recorder().await;
    let options = Sentry::builder(format!("http://public@{address}/1")).environment("test").release("shop@1.2.3");
    let sentry: Sentry =
        options.traces_sample_rate(1.0).queue_capacity(10_000.try_into().unwrap()).build().unwrap().install();
    let shop = serve(app().layer(sentry.layer())).await;
    fail_all(shop).await;
    // The corpus, in what an application says of itself.
    let prose = corpus::secrets()
        .into_iter()
        .filter(|secret| matches!(secret.place, Place::Message | Place::Error | Place::Breadcrumb));
    for secret in prose {
        let mut event = sentry_core::protocol::Event { level: sentry_core::Level::Error, ..Default::default() };
        event.message = Some(secret.text.clone());
        event.extra.insert("note".to_owned(), secret.text.clone().into());
        event
            .breadcrumbs
            .values
            .push(sentry_core::Breadcrumb { message: Some(secret.text.clone()), ..Default::default() });
        sentry.client().capture_event(event, None);
    }
    for secret in corpus::secrets().into_iter().filter(|secret| secret.place == Place::Query) {
        let mut event = sentry_core::protocol::Event::default();
        let request = sentry_core::protocol::Request { query_string: Some(secret.text), ..Default::default() };
        event.request = Some(request);
        let mut envelope = sentry_core::Envelope::new();
        envelope.add_item(EnvelopeItem::from(event));
        sentry.client().send_envelope(envelope);
    }
    assert!(sentry.flush(Duration::from_mins(2)));
    let mut sent = Vec::new();
    while let Ok((headers, body)) = received.try_recv() {
        assert_eq!(headers["content-type"], "application/x-sentry-envelope");
        sent.extend(payloads(&body));
    }
    assert_eq!(sent.iter().filter(|payload| payload["type"] == "transaction").count(), 8);
    assert!(sent.len() > 500, "{}", sent.len());
    let Some(verdicts) = relay(&sent) else { return };
    assert_eq!(verdicts.len(), sent.len());
    let mut wrong = Vec::new();
    for (event, verdict) in sent.iter().zip(&verdicts) {
        if !verdict["found"].as_array().unwrap().is_empty() {
            wrong.push(format!("{}\n  in {event}", verdict["found"]));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        sent.len(),
        wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n")
    );
    let named = verdicts.iter().filter(|verdict| verdict["source"] == "route").count();
    assert_eq!(named, 16, "the names of 8 events and 8 transactions came from routes");
}
