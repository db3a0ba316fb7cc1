//! The way to a receiver: arrival, counted losses, and bounded waiting.

use std::{convert::Infallible, fs, net::TcpListener, process::Command, time::Duration};

use axum::{Router, routing::get as on_get};
use http::{Request, Response};
use http_body_util::BodyExt;
use steeple_core::{RouteOptions, test_util::ScriptedBody};
use steeple_trace::{DropReason, NewRelic, Otlp, Protocol, Trace, TraceBuilder};
use tower::{Layer, ServiceExt, service_fn};
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt};

use crate::{
    receiver::{Receiver, attribute, free_port, missing},
    support::{ask, get},
};

fn app(trace: &Trace) -> Router {
    Router::new().route("/users/{id}", on_get(|| async { "Ann" })).layer(trace.layer())
}

async fn ask_times(trace: &Trace, count: usize) {
    let app = app(trace);
    for _ in 0..count {
        ask(&app, get("/users/7?token=abc123")).await;
    }
}

fn quick() -> TraceBuilder {
    Trace::builder().service_name("board").resource("team", "a").export_delay(Duration::from_millis(20))
}

#[tokio::test]
async fn spans_arrive_over_http_and_over_grpc() {
    let Some(receiver) = Receiver::start() else { return };
    let ways = [
        (Otlp::new().endpoint(receiver.http_endpoint()), "http /v1/traces"),
        (Otlp::new().endpoint(receiver.http_endpoint()).gzip(), "http /v1/traces"),
        (Otlp::new().protocol(Protocol::Grpc).endpoint(receiver.grpc_endpoint()), "grpc"),
        (Otlp::new().protocol(Protocol::Grpc).endpoint(receiver.grpc_endpoint()).gzip(), "grpc"),
    ];
    for (count, (otlp, via)) in (1..).zip(ways) {
        let trace = quick().otlp(otlp.header("x-key", "s3cret")).build().unwrap();
        ask_times(&trace, 1).await;
        let report = trace.flush(Duration::from_secs(10)).await;
        assert!(report.is_complete() && report.exported == 1, "{via}: {report:?}");
        let spans = receiver.spans(count);
        let request = receiver.requests().pop().unwrap();
        assert_eq!((request["via"].as_str(), request["headers"]["x-key"].as_str()), (Some(via), Some("s3cret")));
        let span = &spans[count - 1];
        assert_eq!(span["name"], "GET /users/{id}");
        assert_eq!(attribute(&span["resource"], "service.name").unwrap().1, "board");
        assert_eq!(attribute(&span["resource"], "team").unwrap().1, "a");
        assert_eq!(span["scope"]["name"], "steeple-trace");
        assert_eq!(attribute(span, "http.response.status_code").unwrap(), ("intValue", &"200".into()));
        assert!(!span.to_string().contains("abc123"));
    }
}

#[tokio::test]
async fn new_relic_gets_what_its_pages_look_for() {
    let Some(receiver) = Receiver::start() else { return };
    let base = format!("http://127.0.0.1:{}", receiver.http);
    let trace = quick().new_relic(NewRelic::new("0123456789NRAL").endpoint(base)).build().unwrap();
    ask_times(&trace, 1).await;
    assert!(trace.flush(Duration::from_secs(10)).await.is_complete());
    let span = receiver.spans(1).remove(0);
    let request = receiver.requests().remove(0);
    assert_eq!(request["headers"]["api-key"], "0123456789NRAL");
    assert_eq!(request["headers"]["content-encoding"], "gzip");
    assert_eq!(attribute(&span, "transaction.name").unwrap().1, "WebTransaction/Rust/GET /users/{id}");
    assert_eq!(attribute(&span, "apdexPerfZone").unwrap().1, "S");
}

#[tokio::test]
async fn new_relics_zone_is_by_the_threshold_of_the_route() {
    let Some(receiver) = Receiver::start() else { return };
    let base = format!("http://127.0.0.1:{}", receiver.http);
    let route = RouteOptions::new().apdex(Duration::ZERO);
    let trace = quick().new_relic(NewRelic::new("0123456789NRAL").endpoint(base)).route("/users/{id}", route);
    let trace = trace.apdex(Duration::from_secs(3600)).build().unwrap();
    ask_times(&trace, 1).await;
    assert!(trace.flush(Duration::from_secs(10)).await.is_complete());
    assert_eq!(attribute(&receiver.spans(1).remove(0), "apdexPerfZone").unwrap().1, "F");
}

#[tokio::test]
async fn drops_of_an_interrupted_receiver_are_counted_exactly() {
    let port = free_port();
    let otlp = Otlp::new().endpoint(format!("http://127.0.0.1:{port}/v1/traces"));
    let trace = quick().otlp(otlp).export_timeout(Duration::from_millis(300)).build().unwrap();
    ask_times(&trace, 7).await;
    let report = trace.flush(Duration::from_secs(10)).await;
    assert_eq!((report.exported, report.dropped, report.left), (0, 7, 0));
    assert_eq!((trace.stats().spans.dropped(DropReason::Network), trace.stats().spans.exported), (7, 0));
    let Some(receiver) = Receiver::on(0, port) else { return };
    ask_times(&trace, 5).await;
    assert!(trace.flush(Duration::from_secs(10)).await.is_complete());
    assert_eq!(receiver.spans(5).len(), 5);
    assert_eq!((trace.stats().dropped_total(), trace.stats().spans.exported), (7, 5));
}

#[tokio::test]
async fn a_receiver_that_comes_back_within_the_timeout_loses_nothing() {
    let port = free_port();
    let trace = quick().otlp(Otlp::new().endpoint(format!("http://127.0.0.1:{port}/v1/traces"))).build().unwrap();
    ask_times(&trace, 3).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let Some(receiver) = Receiver::on(0, port) else { return };
    assert!(trace.flush(Duration::from_secs(10)).await.is_complete());
    assert_eq!(receiver.spans(3).len(), 3);
}

/// Accepts connections and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    (listener, endpoint)
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_a_bounded_queue_and_no_request_waits() {
    let (_listener, endpoint) = silent();
    let trace = quick().queue(10, 5).otlp(Otlp::new().endpoint(endpoint)).build().unwrap();
    ask_times(&trace, 100).await;
    // The receiver never answers: had a request waited for it, this would never be reached.
    let stats = trace.stats();
    assert_eq!((stats.spans.queued_items, stats.spans.dropped(DropReason::QueueFull)), (10, 90), "{stats:?}");
    let report = trace.flush(Duration::from_millis(200)).await;
    assert!(report.left > 0, "{report:?}");
    let report = trace.shutdown(Duration::from_millis(200)).await;
    assert!(report.left > 0, "{report:?}");
}

#[test]
fn a_current_thread_runtime_can_flush_and_so_can_none() {
    let Some(receiver) = Receiver::start() else { return };
    for (count, protocol) in (1..).zip([Protocol::HttpProtobuf, Protocol::Grpc]) {
        let endpoint = if protocol == Protocol::Grpc { receiver.grpc_endpoint() } else { receiver.http_endpoint() };
        let otlp = Otlp::new().protocol(protocol).endpoint(endpoint);
        let trace = quick().export_delay(Duration::from_mins(1)).otlp(otlp).build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let report = runtime.block_on(async {
            ask_times(&trace, 1).await;
            trace.flush(Duration::from_secs(10)).await
        });
        assert_eq!((report.exported, report.left), (1, 0));
        drop(runtime);
        futures_util::FutureExt::now_or_never(ask_times(&trace, 1)).unwrap();
        assert_eq!(trace.shutdown_blocking(Duration::from_secs(10)).exported, 1);
        assert_eq!(receiver.spans(count * 2).len(), count * 2);
    }
}

#[tokio::test]
async fn after_a_shutdown_nothing_is_accepted_and_it_is_counted() {
    let (_listener, endpoint) = silent();
    let trace = quick().otlp(Otlp::new().endpoint(endpoint)).build().unwrap();
    assert!(trace.shutdown(Duration::from_secs(1)).await.is_complete());
    ask_times(&trace, 2).await;
    assert_eq!(trace.stats().spans.dropped(DropReason::Shutdown), 2);
}

/// A test that needs a separate process, and is ignored otherwise.
pub(crate) fn alone(name: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--ignored"]);
    child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    child
}

pub(crate) fn endpoint_of_parent() -> String {
    std::env::var_os("STEEPLE_TEST_ENDPOINT").unwrap().into_string().unwrap()
}

#[test]
fn the_exporter_does_not_trace_itself() {
    let Some(receiver) = Receiver::start() else { return };
    let mut child = alone("export::a_child_that_would_see_its_exporter");
    assert!(child.env("STEEPLE_TEST_ENDPOINT", receiver.grpc_endpoint()).status().unwrap().success());
    assert_eq!(receiver.spans(1).len(), 1);
}

#[tokio::test]
#[ignore = "run by the_exporter_does_not_trace_itself: its subscriber is the process's"]
async fn a_child_that_would_see_its_exporter() {
    let otlp = Otlp::new().protocol(Protocol::Grpc).endpoint(endpoint_of_parent());
    let trace = quick().otlp(otlp).build().unwrap();
    let everything = tracing_subscriber::registry().with(trace.tracing_layer()).with(LevelFilter::TRACE);
    tracing::subscriber::set_global_default(everything).unwrap();
    ask_times(&trace, 1).await;
    for _ in 0..3 {
        trace.flush(Duration::from_secs(10)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(trace.stats().spans.exported, 1);
}

#[test]
fn without_an_exporter_nothing_is_recorded_and_nothing_is_started() {
    assert!(alone("export::a_child_without_an_exporter").status().unwrap().success());
}

#[tokio::test]
#[ignore = "run by without_an_exporter_nothing_is_recorded_and_nothing_is_started: it counts the process's threads"]
async fn a_child_without_an_exporter() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let trace = Trace::builder().build().unwrap();
    let service =
        trace.layer().layer(service_fn(|_| async { Ok::<_, Infallible>(Response::new(ScriptedBody::default())) }));
    let response = service.oneshot(Request::new(String::new())).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(trace.stats(), steeple_trace::TraceStats::default());
    assert!(trace.flush(Duration::from_secs(1)).await.is_complete());
    assert_eq!(threads(), before);
}

#[test]
fn an_invalid_address_is_an_error_when_it_is_built() {
    let way = |endpoint: &str| Otlp::new().endpoint(endpoint);
    let header = |value: &str| way("http://127.0.0.1:1").header("x-key", value);
    let invalid = [
        way("not an address"),
        way("http://127.0.0.1:99999/v1/traces"),
        way("ftp://127.0.0.1/"),
        way("https://127.0.0.1/").ca_file("/does/not/exist.pem"),
        header("two\nlines"),
        header("gr\u{fc}n"),
    ];
    for otlp in invalid {
        let said = format!("{otlp:?}");
        assert!(quick().otlp(otlp.clone()).build().unwrap_err().is_exporter(), "{said}");
        assert!(quick().logs(otlp).build().unwrap_err().is_exporter(), "{said}");
    }
    let key = NewRelic::new("0123\n456").endpoint("http://127.0.0.1:1");
    let error = quick().new_relic(key).build().unwrap_err();
    assert!(error.is_exporter() && !format!("{error:?}").contains("0123"), "{error:?}");
}

/// A certificate authority, a certificate of its for this machine, and the key.
fn certificates(directory: &std::path::Path) -> bool {
    let script = "
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca
openssl req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=localhost
printf 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n' > leaf.ext
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out leaf.pem -days 2 -extfile leaf.ext
";
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(directory).stderr(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn spans_arrive_over_tls_and_only_from_those_who_know_the_authority() {
    let directory = tempfile::tempdir().unwrap();
    if !certificates(directory.path()) {
        return missing("openssl");
    }
    let path = |name: &str| directory.path().join(name);
    let Some(receiver) = Receiver::over_tls(&path("leaf.pem"), &path("leaf.key")) else { return };
    let grpc = format!("https://localhost:{}", receiver.grpc);
    let http = format!("https://localhost:{}/v1/traces", receiver.http);
    // The system's roots are read once in a process: each try is one.
    let export = |endpoint: &str, authority: &str| {
        let mut child = alone("export::a_child_that_exports");
        child.env("SSL_CERT_FILE", path(authority)).env("STEEPLE_TEST_ENDPOINT", endpoint);
        child.status().unwrap().success()
    };
    assert!(export(&http, "ca.pem") && export(&grpc, "ca.pem"));
    assert_eq!(receiver.spans(2).len(), 2);
    fs::write(path("other.pem"), fs::read(path("leaf.pem")).unwrap()).unwrap();
    assert!(!export(&http, "other.pem") && !export(&grpc, "other.pem"));
}

#[test]
#[ignore = "run by spans_arrive_over_tls_and_only_from_those_who_know_the_authority"]
fn a_child_that_exports() {
    let endpoint = endpoint_of_parent();
    let protocol = if endpoint.ends_with("traces") { Protocol::HttpProtobuf } else { Protocol::Grpc };
    let otlp = Otlp::new().protocol(protocol).endpoint(endpoint);
    let trace = quick().otlp(otlp).export_timeout(Duration::from_secs(3)).build().unwrap();
    futures_util::FutureExt::now_or_never(ask_times(&trace, 1)).unwrap();
    assert!(trace.shutdown_blocking(Duration::from_secs(10)).is_complete());
}

#[tokio::test]
async fn spans_that_a_partial_success_refused_are_counted_as_dropped_and_the_others_as_exported() {
    let Some(receiver) = Receiver::refusing(3) else { return };
    let ways = [
        Otlp::new().endpoint(receiver.http_endpoint()),
        Otlp::new().protocol(Protocol::Grpc).endpoint(receiver.grpc_endpoint()),
    ];
    for otlp in ways {
        let trace = quick().export_delay(Duration::from_mins(1)).otlp(otlp).build().unwrap();
        ask_times(&trace, 5).await;
        let report = trace.flush(Duration::from_secs(10)).await;
        assert_eq!((report.exported, report.dropped, report.left), (2, 3, 0));
        let spans = trace.stats().spans;
        assert_eq!((spans.exported, spans.dropped(DropReason::Rejected)), (2, 3));
    }
    let logs = Trace::builder().logs(Otlp::new().endpoint(receiver.logs_endpoint())).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(logs.logs_layer());
    tracing::subscriber::with_default(subscriber, || {
        for number in 0..5 {
            tracing::info!(number, "sent");
        }
    });
    let report = logs.flush_blocking(Duration::from_secs(10));
    assert_eq!((report.exported, report.dropped, report.left), (2, 3, 0));
}

#[test]
fn a_receiver_that_refuses_for_good_is_logged_once_and_once_more_when_it_accepts() {
    assert!(alone("export::a_child_whose_receiver_refuses").status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by a_receiver_that_refuses_for_good_is_logged_once_and_once_more_when_it_accepts: its subscriber is the process's"]
async fn a_child_whose_receiver_refuses() {
    use std::sync::{Arc, Mutex, atomic};
    use tracing_subscriber::Layer;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);
    impl Seen {
        /// The logged lines, once there are this many: a flush ends before its outcome is logged.
        async fn after(&self, count: usize) -> Vec<String> {
            for _ in 0..1_000 {
                if self.0.lock().unwrap().len() >= count {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.0.lock().unwrap().clone()
        }
    }
    impl<S: tracing::Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            if event.metadata().target() == "steeple::export" {
                let mut text = String::new();
                event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                    text = format!("{text}{}={value:?} ", field.name());
                });
                self.0.lock().unwrap().push(text);
            }
        }
    }

    let refuses = Arc::new(atomic::AtomicBool::new(true));
    let answers = Arc::clone(&refuses);
    let receiver = Router::new().fallback(move || {
        let refuses = answers.load(atomic::Ordering::Relaxed);
        async move {
            if refuses { (http::StatusCode::INTERNAL_SERVER_ERROR, "disk full") } else { (http::StatusCode::OK, "") }
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, receiver).await });
    let seen = Seen::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(seen.clone())).unwrap();
    let trace = quick().otlp(Otlp::new().endpoint(endpoint)).build().unwrap();
    for _ in 0..4 {
        ask_times(&trace, 1).await;
        assert_eq!(trace.flush(Duration::from_secs(10)).await.dropped, 1);
    }
    let all = seen.after(1).await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("traces") && all[0].contains("disk full"), "{all:?}");
    refuses.store(false, atomic::Ordering::Relaxed);
    for _ in 0..3 {
        ask_times(&trace, 1).await;
        assert_eq!(trace.flush(Duration::from_secs(10)).await.exported, 1);
    }
    let all = seen.after(2).await;
    assert_eq!(all.len(), 2, "{all:?}");
}
