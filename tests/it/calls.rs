//! Outgoing calls over real connections, each ended in its own way: counted once, as a real Prometheus has it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use axum::{Router, body::Body};
use futures_util::future::join_all;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::{client::legacy, rt::TokioExecutor};
use steeple::{Steeple, trace::UrlTemplate};
use steeple_examples::taskboard::proto::{GetTaskRequest, WatchTasksRequest, task_board_client::TaskBoardClient};
use steeple_tests::{
    board::{Board, with_session},
    client::Protocol,
    grpc::channel,
    page::Page,
    peer,
    server::Server,
    settle::wait_until,
};
use tonic::Code;
use tower::{Layer, ServiceExt};

use crate::scrape::{query, scraping};

/// Path, template, and what the caller does: reads, gives up before the head, or drops the body.
const CALLS: [(&str, &str, Manner); 7] = [
    ("/lab/echo", "/lab/echo", Manner::Read),
    ("/lab/status/404", "/lab/status/{code}", Manner::Read),
    ("/lab/status/503", "/lab/status/{code}", Manner::Drop),
    ("/lab/fail", "/lab/fail", Manner::Read),
    ("/lab/body-error", "/lab/body-error", Manner::Read),
    ("/lab/slow?ms=20000", "/lab/slow", Manner::GiveUp),
    ("/lab/stream?frames=1000&gap_ms=20", "/lab/stream", Manner::Drop),
];

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Read,
    GiveUp,
    Drop,
}

async fn call(
    steeple: &Steeple,
    board: SocketAddr,
    protocol: Protocol,
    (path, template, manner): (&str, &'static str, Manner),
) {
    let client =
        legacy::Client::builder(TokioExecutor::new()).http2_only(protocol == Protocol::Http2).build_http::<Body>();
    let client = steeple.client_layer().layer(client);
    let mut request = Request::get(format!("http://{board}{path}")).body(Body::empty()).unwrap();
    request.extensions_mut().insert(UrlTemplate(template));
    let answer = tokio::time::timeout(
        Duration::from_secs(if manner == Manner::GiveUp { 1 } else { 60 }),
        client.oneshot(request),
    );
    match (answer.await, manner) {
        (answer, Manner::GiveUp) => assert!(answer.is_err(), "it waits"),
        (answer, Manner::Read) => {
            let read = answer.unwrap().unwrap().into_body().collect().await;
            assert_eq!(read.is_err(), path == "/lab/body-error", "{path}");
        }
        (answer, Manner::Drop) => {
            let mut body = answer.unwrap().unwrap().into_body();
            if path.starts_with("/lab/stream") {
                body.frame().await.unwrap().unwrap();
            }
        }
    }
}

/// Calls over gRPC that succeed, that fail, that are given up, and that get no answer.
async fn call_grpc(steeple: &Steeple, board: SocketAddr, token: &str) {
    let to = |address: SocketAddr| {
        TaskBoardClient::new(
            steeple.client_layer().server(address.to_string().parse().unwrap()).layer(channel(address)),
        )
    };
    let mut client = to(board);
    let get = || GetTaskRequest { id: 1, end_with_code: None };
    client.get_task(with_session(get(), token)).await.unwrap();
    let none = GetTaskRequest { id: 9, end_with_code: None };
    assert_eq!(client.get_task(none).await.unwrap_err().code(), Code::NotFound);
    let watch = WatchTasksRequest { project_id: 0, end_after: 0, end_with_code: None, heartbeat_ms: 20 };
    let mut messages = client.watch_tasks(watch).await.unwrap().into_inner();
    messages.message().await.unwrap();
    drop(messages);
    assert_eq!(to(peer::free_address()).get_task(get()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_every_ending_are_counted_once_and_a_real_prometheus_has_them() {
    let board = Board::start(Steeple::builder().without_log_setup()).await;
    let (_, token) = board.sign_in().await;
    board.task(&token).await;
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    let page = Server::start(Router::new().merge(steeple.routes())).await;
    for protocol in Protocol::ALL {
        for made in CALLS {
            join_all((0..5).map(|_| call(&steeple, board.address(), protocol, made))).await;
        }
    }
    call_grpc(&steeple, board.address(), &token).await;
    let page_of =
        |steeple: &Steeple| Page::parse(String::from_utf8(steeple.metrics().render(None, None).body.to_vec()).unwrap());
    let read = || page_of(&steeple);
    assert!(wait_until(|| read().sum("http_client_requests_in_flight", &[]) == 0.0).await);
    let read = read();

    let each = 5.0 * 2.0;
    let told = |template: &str| {
        let of = [("url_template", template), ("method", "GET"), ("server_address", "127.0.0.1")];
        let told = read.find("http_client_requests_total", &of).map(|sample| {
            let class = sample.label("error_type").rsplit("::").next().unwrap().to_owned();
            ((sample.label("status_code").to_owned(), class), sample.value)
        });
        told.collect::<BTreeMap<_, _>>()
    };
    for (template, status, class) in [
        ("/lab/echo", "200", ""),
        ("/lab/fail", "500", "500"),
        ("/lab/body-error", "200", "reset"),
        ("/lab/slow", "", ""),
        ("/lab/stream", "200", ""),
    ] {
        assert_eq!(told(template), BTreeMap::from([((status.to_owned(), class.to_owned()), each)]), "{template}");
    }
    assert_eq!(told("/lab/status/{code}").len(), 2);
    for (outcome, template) in
        [("cancelled", "/lab/slow"), ("cancelled_in_body", "/lab/stream"), ("body_error", "/lab/body-error")]
    {
        let of = [("outcome", outcome), ("url_template", template)];
        assert_eq!(read.sum("http_client_requests_aborted_total", &of), each, "{template}");
    }
    assert_eq!(read.sum("http_client_requests_total", &[]), each * CALLS.len() as f64);
    assert_eq!(read.sum("http_client_request_duration_seconds_count", &[]), each * CALLS.len() as f64);
    let grpc = |method: &str, code: &str| {
        read.sum("grpc_client_handled_total", &[("grpc_method", method), ("grpc_code", code)])
    };
    assert_eq!((grpc("GetTask", "OK"), grpc("GetTask", "NotFound"), grpc("GetTask", "Unavailable")), (1.0, 1.0, 1.0));
    assert_eq!((grpc("WatchTasks", "Canceled"), read.sum("grpc_client_started_total", &[])), (1.0, 4.0));
    // Both ends agree on what they saw of each other, where both saw it whole.
    let server = page_of(board.steeple());
    for (status, route) in [(StatusCode::OK, "/lab/echo"), (StatusCode::INTERNAL_SERVER_ERROR, "/lab/fail")] {
        assert_eq!(server.sum("http_requests_total", &[("route", route), ("status_code", status.as_str())]), each);
    }

    let Some(prometheus) = scraping(page.address()).await else { return };
    for name in ["http_client_requests_total", "http_client_requests_aborted_total", "grpc_client_handled_total"] {
        let want = read.sum(name, &[]);
        assert_eq!(query(prometheus.address(), &format!("sum({name})")).await, Some(want), "{name}");
    }
    let quantile = "histogram_quantile(0.5, sum(http_client_request_duration_seconds{status_code=\"200\"}))";
    assert!(query(prometheus.address(), quantile).await.expect("native histograms are understood") > 0.0);
    board.stop().await;
}
