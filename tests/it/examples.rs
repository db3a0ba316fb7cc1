//! The crates' own examples, run as programs. Those of the facade are tested beside them.

use std::{
    env,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;
use steeple_tests::{
    bugsink::Bugsink,
    client::{Client, Protocol, empty},
    otlp::{Otlp, Span},
    peer::{self, free_address},
    settle::wait_until,
};

/// Features that an example needs, which a build of that example alone does not turn on.
const FEATURES: &[(&str, &str)] = &[
    ("events", "ndjson,outbox"),
    ("events-custom-sink", "http"),
    ("per-route-metrics", "axum"),
    ("write-a-protocol", "test-util"),
];

/// An example of a crate, as cargo built it beside this test; built now if only the test was.
fn example(package: &str, name: &str) -> Command {
    let test = env::current_exe().unwrap();
    let directory = test.ancestors().nth(2).unwrap().join("examples");
    let path = directory.join(format!("{name}{}", env::consts::EXE_SUFFIX));
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--package", package, "--example", name]);
        build.args(FEATURES.iter().filter(|(of, _)| *of == name).flat_map(|(_, feature)| ["--features", feature]));
        assert!(build.status().unwrap().success());
    }
    let mut command = Command::new(path);
    for (variable, _) in env::vars_os() {
        if variable.to_str().is_some_and(|variable| ["OTEL_", "RUST_"].iter().any(|own| variable.starts_with(own))) {
            command.env_remove(variable);
        }
    }
    command
}

/// Runs an example that ends by itself. Returns what it printed.
#[track_caller]
fn printed(command: &mut Command, input: &str) -> String {
    let output = peer::run(command, input.as_bytes()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// An example that serves until it is interrupted. Killed when a test forgets it.
struct Serving(Child);

impl Serving {
    async fn start(command: &mut Command, address: SocketAddr) -> Self {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let answers = wait_until(|| {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            std::net::TcpStream::connect(address).is_ok()
        });
        assert!(answers.await, "it listens");
        Self(child)
    }

    /// Interrupts it, as a terminal does, and waits for a good end.
    async fn stop(mut self) {
        assert!(Command::new("kill").args(["-INT", &self.0.id().to_string()]).status().unwrap().success());
        let mut status = None;
        let ended = wait_until(|| {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended.await && status.unwrap().success(), "{status:?}");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Has ended in most tests, and then there is nothing to kill.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Asks on a new connection. `None`: the connection broke before the answer was complete.
async fn ask(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut client = Client::connect(Protocol::Http1, address).await;
    let request = client.request(Method::GET, path).body(empty()).unwrap();
    let answer = client.send(request).await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some((status, String::from_utf8(body.to_vec()).unwrap()))
}

/// The spans that a receiver has, once there are this many.
async fn spans(otlp: &Otlp, count: usize) -> Vec<Span> {
    assert!(wait_until(|| otlp.spans().len() >= count).await, "{:#?}", otlp.spans());
    let spans = otlp.spans();
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans
}

#[test]
fn per_route_metrics_has_own_buckets_no_probes_and_rules() {
    let printed = printed(&mut example("steeple-metrics", "per-route-metrics"), "");
    let (page, rules) = printed.split_once("# The file for Prometheus:\n").unwrap();
    assert!(page.contains(r#"route="/exports/{id}",status_code="200",le="300"} 1"#), "{page}");
    assert!(page.contains(r#"http_requests_total{method="GET",route="/search",status_code="200"} 1"#), "{page}");
    assert!(!page.contains("/healthz"), "{page}");
    let Some(promtool) = peer::find("promtool") else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yml");
    std::fs::write(&file, rules).unwrap();
    let checked = peer::run(Command::new(promtool).args(["check", "rules"]).arg(file), b"").unwrap();
    assert!(checked.status.success(), "{rules}{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn request_dry_run_shows_what_a_sink_would_see() {
    let printed = printed(&mut example("steeple-scrub", "request-dry-run"), "");
    assert!(printed.contains("x-tenant") && printed.contains("blue") && printed.contains("page=2"), "{printed}");
    for secret in ["hunter2", "abcdef0123456789", "token=abc", "ORD-123456"] {
        assert!(!printed.contains(secret), "{secret}: {printed}");
    }
}

#[test]
fn scrub_lines_removes_secrets_from_lines_and_keeps_the_rest() {
    let lines = "login failed, password=hunter2hunter2\nGET /users/7 200\n";
    let printed = printed(&mut example("steeple-scrub", "scrub-lines"), lines);
    let [login, get] = &*printed.lines().collect::<Vec<_>>() else { panic!("{printed}") };
    assert!(login.starts_with("login failed, password=") && !login.contains("hunter2"), "{login}");
    assert_eq!(*get, "GET /users/7 200");
}

#[test]
fn sentry_scrub_sends_an_event_and_a_transaction_without_the_secrets() {
    let printed = printed(&mut example("steeple-sentry", "sentry-scrub"), "");
    let items: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for kind in ["event", "transaction"] {
        assert_eq!(items.iter().filter(|item| item["type"] == kind && item["length"].is_u64()).count(), 1, "{printed}");
    }
    assert!(printed.contains("/login") && !printed.contains("hunter2"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn error_capture_sends_one_event_for_each_failure() {
    let Some(bugsink) = Bugsink::start().await else { return };
    let address = free_address();
    let mut command = example("steeple-sentry", "error-capture");
    let serving = Serving::start(command.arg(bugsink.dsn()).arg(address.to_string()), address).await;
    assert_eq!(ask(address, "/carts/7").await.unwrap().0, 500);
    assert_eq!(ask(address, "/panic").await, None);
    assert_eq!(ask(address, "/stream").await, None);
    serving.stop().await;
    let events: Vec<Value> = bugsink.issues(3).await.into_iter().flatten().collect();
    assert_eq!(events.len(), 3, "{events:#?}");
    let all = serde_json::to_string(&events).unwrap();
    assert!(all.contains("GET /carts/{id}") && all.contains("opening cart 7") && all.contains("u-42"), "{all}");
    assert!(!all.contains("hunter2"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn otlp_sends_the_span_of_a_request_with_its_segment() {
    let Some(otlp) = Otlp::start().await else { return };
    let address = free_address();
    let mut command = example("steeple-trace", "otlp");
    command.arg(address.to_string()).env("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint());
    let serving = Serving::start(&mut command, address).await;
    assert_eq!(ask(address, "/users/7").await, Some((200, "Ann\n".to_owned())));
    serving.stop().await;
    let spans = spans(&otlp, 3).await;
    let server = spans.iter().find(|span| span.kind == "SPAN_KIND_SERVER").unwrap();
    assert_eq!((server.name.as_str(), server.attribute("http.route")), ("GET /users/{id}", "/users/{id}"));
    assert!(spans.iter().all(|span| span.trace_id == server.trace_id), "{spans:#?}");
    assert!(spans.iter().any(|span| span.name == "select users" && span.parent_id == server.span_id), "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn outgoing_calls_make_one_trace_of_two_services() {
    let Some(otlp) = Otlp::start().await else { return };
    let (front, back) = (free_address(), free_address());
    let mut command = example("steeple-trace", "outgoing-calls");
    command.args([front.to_string(), back.to_string()]).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.endpoint());
    let _serving = Serving::start(&mut command, front).await;
    assert_eq!(ask(front, "/greet/7").await, Some((200, "Hello Ann\n".to_owned())));
    let spans = spans(&otlp, 3).await;
    let of = |kind: &str, name: &str| spans.iter().find(|span| span.kind == kind && span.name == name).unwrap();
    let greet = of("SPAN_KIND_SERVER", "GET /greet/{id}");
    let call = of("SPAN_KIND_CLIENT", "GET /names/{id}");
    let names = of("SPAN_KIND_SERVER", "GET /names/{id}");
    assert_eq!((call.parent_id.as_str(), names.parent_id.as_str()), (&*greet.span_id, &*call.span_id));
    assert!(spans.iter().all(|span| span.trace_id == greet.trace_id), "{spans:#?}");
}

#[test]
fn every_example_of_a_crate_is_run_here() {
    let this = include_str!("examples.rs");
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates");
    for package in std::fs::read_dir(crates).unwrap() {
        let package = package.unwrap();
        let Ok(examples) = std::fs::read_dir(package.path().join("examples")) else { continue };
        for example in examples {
            let (package, example) = (package.file_name(), example.unwrap().path());
            let run = format!("example({package:?}, {:?})", example.file_stem().unwrap());
            assert!(this.contains(&run), "{run}");
        }
    }
}

#[test]
fn an_exporter_is_a_protocol_of_two_functions_and_loses_what_it_says_it_loses() {
    let printed = printed(&mut example("steeple-export", "write-a-protocol"), "");
    assert!(printed.starts_with("4 arrived, 5 dropped, 0 left\n  rejected: 1\n  panicked: 4\n"), "{printed}");
}

#[test]
fn an_event_reaches_a_system_that_steeple_does_not_know() {
    use std::io::{Read as _, Write as _};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/lines", listener.local_addr().unwrap());
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut piece) = (String::new(), [0; 4096]);
        while !request.contains("feature_used") {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{request}");
            request.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        request
    });
    printed(example("steeple-events", "events-custom-sink").arg(url), "");
    assert!(receiver.join().unwrap().starts_with("POST /lines HTTP/1.1"));
}

#[test]
fn events_are_stored_and_written_to_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let output = example("steeple-events", "events").arg(directory.path().join("events")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Value> =
        str::from_utf8(&output.stdout).unwrap().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let names: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["sign_up", "report_exported", "revenue"]);
    assert_eq!(lines[0]["data"]["user_id"], "u-42");
}
