//! An exchange that becomes something else ends there, as upgraded; what follows lives on by itself.

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use steeple_core::Outcome;
use steeple_tests::{
    client::{Client, Protocol, empty},
    lab::Lab,
    server::Server,
    settle::{settle, wait_until},
    stack::Stack,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::Layer;

use crate::endings::Watched;

/// Sends bytes to and fro over what the exchange became.
async fn check_echo(response: Response<Incoming>) {
    let mut io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    for word in ["hello", "again"] {
        io.write_all(word.as_bytes()).await.unwrap();
        io.flush().await.unwrap();
        let mut echoed = [0; 5];
        io.read_exact(&mut echoed).await.unwrap();
        assert_eq!(echoed, word.as_bytes());
    }
}

async fn check(client: &mut Client, watched: &Watched, request: http::request::Builder, status: StatusCode) {
    let response = client.send(request.body(empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), status);
    // The exchange is over before the first byte of what it became.
    let (_, end) = watched.only_end().await;
    assert_eq!((end.outcome, end.status), (Outcome::Upgraded, Some(status)));
    assert_eq!(end.head_after, Some(end.duration));
    check_echo(response).await;
    let (_, end) = watched.only_end().await;
    assert_eq!(end.response_body_bytes, 0, "what follows is not the response body");
}

#[tokio::test]
async fn switching_protocols_ends_as_upgraded() {
    let watched = Watched::start().await;
    let mut client = watched.client(Protocol::Http1).await;
    let request = client.request(Method::GET, "/upgrade").header("connection", "upgrade").header("upgrade", "echo");
    check(&mut client, &watched, request, StatusCode::SWITCHING_PROTOCOLS).await;
}

async fn an_accepted_connect_ends_as_upgraded(protocol: Protocol) {
    let watched = Watched::start().await;
    let mut client = watched.client(protocol).await;
    let request = Request::builder().method(Method::CONNECT).version(protocol.version()).uri("example.org:443");
    let request = if protocol == Protocol::Http1 { request.header("host", "example.org:443") } else { request };
    check(&mut client, &watched, request, StatusCode::OK).await;
}

over_both_protocols! { an_accepted_connect_ends_as_upgraded }

#[tokio::test]
async fn an_upgraded_connection_is_open_until_its_socket_closes_and_never_timed() {
    let stack = Stack::new();
    let server = Server::start(stack.layer().layer(Lab::new())).await;
    let mut client = Client::connect(Protocol::Http1, server.address()).await;
    let request = client.request(Method::GET, "/upgrade").header("connection", "upgrade").header("upgrade", "echo");
    let response = client.send(request.body(empty()).unwrap()).await.unwrap();
    settle(stack.observer(), 1).await;
    let open = || stack.page().sum("http_connections_open", &[("kind", "upgrade")]);
    assert_eq!((open(), stack.page().sum("http_requests_in_flight", &[])), (1.0, 0.0));
    check_echo(response).await;
    drop(client);
    assert!(wait_until(|| open() == 0.0).await, "still open: {}", open());
    let page = stack.page();
    assert_eq!(page.sum("http_requests_total", &[("route", "/upgrade"), ("status_code", "101")]), 1.0);
    assert_eq!(page.sum("http_request_duration_seconds_count", &[]), 0.0);
}
