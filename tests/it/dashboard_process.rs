//! A service with its page in a separate process, which ends by a real signal while pages are open.

use std::time::Duration;

use axum::{Router, routing::get};
use http_body_util::BodyExt;
use steeple::Steeple;
use steeple_tests::{
    client::{Client, Protocol},
    service::{Service, announce},
    settle::PATIENCE,
};
use tokio::net::TcpListener;

/// A service that sets up its log, with its page.
pub(crate) async fn start() -> Service {
    Service::start("dashboard_process::serves_its_page_until_a_signal_comes", &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_open_pages_learn_of_the_end_and_do_not_hold_it_up() {
    let mut program = start().await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut client = Client::connect(Protocol::Http1, program.address()).await;
        let response = client.get("/steeple/stream").await.unwrap();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        assert!(body.frame().await.unwrap().is_ok(), "the whole comes first");
        streams.push((client, body));
    }
    let mut late = Client::connect(Protocol::Http1, program.address()).await;
    assert_eq!(late.get("/steeple/stream").await.unwrap().status(), 503, "there are 16");
    program.signal("-TERM");
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
            tracing::debug!("details that are seldom of interest");
            "ok"
        };
        let app = Router::new().route("/quiet", get(quiet)).merge(steeple.dashboard()).layer(steeple.layer());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        announce(listener.local_addr().unwrap());
        steeple.serve(listener, app).await.unwrap();
    });
}
