//! Requests that still run when the service has to end: reported, counted and written like all others.
//!
//! The service runs in a separate process, as a program would run it, and ends by a real signal.

use std::{fs, time::Duration};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use serde_json::Value;
use steeple::Steeple;
use steeple_tests::{
    client::{Client, Protocol},
    page::Page,
    service::{Service, announce, directory},
};
use tokio::net::TcpListener;

async fn start(routes: &str) -> Service {
    Service::start("cut_off::serves_until_a_signal_comes", &[("CUT_OFF_ROUTES", routes)]).await
}

/// What a service has left: its log, and its metrics once `serve` had come back.
struct Left {
    log: Vec<Value>,
    page: Page,
}

impl Left {
    async fn of(mut service: Service) -> Self {
        service.ended().await;
        Self { log: service.log(), page: Page::parse(service.file("page")) }
    }

    #[track_caller]
    fn check(&self, path: &str, outcome: &str, times: usize) {
        let lines = self.log.iter().filter(|line| line["url.path"] == path && line["outcome"] == outcome);
        assert_eq!(lines.count(), times, "lines of {path}: {:?}", self.log);
        let counted = self.page.sum("http_requests_aborted_total", &[("route", path), ("outcome", outcome)]);
        assert_eq!(counted, times as f64, "counts of {path}");
    }
}

/// Reads what there is of an endless stream until it breaks.
async fn read(client: &mut Client, path: &str) -> usize {
    let mut body = client.get(path).await.unwrap().into_body();
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    bytes
}

/// Three requests that would never end, over each protocol; then a signal. Each that is cut off has its line and its count.
async fn what_is_cut_off_has_its_line_and_its_count(routes: &str) {
    let service = start(routes).await;
    let mut hanging = Vec::new();
    for protocol in Protocol::ALL {
        for path in ["/never", "/stream", "/deaf"] {
            let mut client = Client::connect(protocol, service.address()).await;
            hanging.push(tokio::spawn(async move {
                match path {
                    "/never" => assert!(client.get(path).await.is_err(), "no answer"),
                    "/stream" => assert!(read(&mut client, path).await > 0, "something, then the end"),
                    // A handler that does not read its request body: nothing reads the socket.
                    _ => {
                        let body =
                            stream::iter((0..64).map(|_| Ok(http_body::Frame::data(Bytes::from(vec![0; 65_536])))));
                        let body = http_body_util::StreamBody::new(body).boxed_unsync();
                        let request = client.request(http::Method::POST, path).body(body).unwrap();
                        assert!(client.send(request).await.is_err(), "no answer");
                    }
                }
            }));
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    service.signal("-TERM");
    let left = Left::of(service).await;
    for client in hanging {
        client.await.unwrap();
    }
    left.check("/never", "cancelled", 2);
    left.check("/deaf", "cancelled", 2);
    left.check("/stream", "cancelled_in_body", 2);
    assert_eq!(left.page.sum("http_requests_in_flight", &[]), 0.0, "nothing is in flight at the end");
}

#[tokio::test]
async fn what_is_cut_off_has_its_line_and_its_count_with_routes() {
    what_is_cut_off_has_its_line_and_its_count("yes").await;
}

#[tokio::test]
async fn what_is_cut_off_has_its_line_and_its_count_without_routes() {
    what_is_cut_off_has_its_line_and_its_count("no").await;
}

#[tokio::test]
async fn a_second_signal_cuts_off_at_once() {
    let service = start("patient").await;
    let mut client = Client::connect(Protocol::Http1, service.address()).await;
    let asking = tokio::spawn(async move { client.get("/never").await.is_err() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    service.signal("-TERM");
    tokio::time::sleep(Duration::from_millis(200)).await;
    service.signal("-INT");
    Left::of(service).await.check("/never", "cancelled", 1);
    assert!(asking.await.unwrap());
}

#[test]
#[ignore = "the process of the other tests"]
fn serves_until_a_signal_comes() {
    let routes = std::env::var_os("CUT_OFF_ROUTES").unwrap().into_string().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // As `#[tokio::main]` has it: what the service holds is dropped before the runtime is.
    runtime.block_on(serve(&routes));
}

async fn serve(routes: &str) {
    let drain = if routes == "patient" { Duration::from_mins(2) } else { Duration::from_secs(1) };
    let steeple = Steeple::builder_from_env().unwrap().drain_timeout(drain).build().unwrap();
    let ticks = || async {
        let ticks = stream::repeat(Bytes::from_static(b"tick\n")).then(|tick| async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, std::convert::Infallible>(tick)
        });
        Body::from_stream(ticks)
    };
    let app = Router::new()
        .route("/never", get(std::future::pending::<()>))
        .route("/deaf", post(|_unread: Body| std::future::pending::<()>()))
        .route("/stream", get(ticks));
    let app = if routes == "no" { app } else { app.merge(steeple.routes()) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    announce(listener.local_addr().unwrap());
    steeple.serve(listener, app.layer(steeple.layer())).await.unwrap();
    fs::write(directory().join("page"), steeple.metrics().render(None, None).body).unwrap();
}
