//! Calls over real connections that their caller gives up: one span each, which did not fail.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    routing::{get as on_get, post},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use opentelemetry::trace::Status;
use steeple_trace::{Trace, UrlTemplate};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tower::{Layer, ServiceExt};

use crate::{
    boards::Plain,
    support::{Rig, attributes},
};

/// Sends `first`, and then nothing for as long as anybody waits.
fn endless(first: &'static [u8]) -> Body {
    let first = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(first)))]);
    Body::new(StreamBody::new(first.chain(stream::pending())))
}

async fn serve() -> SocketAddr {
    let grpc = || async {
        let response = Response::builder().header("content-type", "application/grpc");
        response.body(endless(b"\0\0\0\0\x02ok")).unwrap()
    };
    let app = Router::new()
        .route("/endless", on_get(|| async { endless(b"first") }))
        .route("/never", on_get(std::future::pending::<()>))
        .route("/board.v1.Tasks/Watch", post(grpc));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

#[track_caller]
fn check_abandoned(rig: &Rig, name: &str, status: Option<&str>) {
    let span = rig.span();
    let said = attributes(&span);
    assert_eq!((span.name.as_ref(), &span.status), (name, &Status::Unset));
    assert_eq!(said.get("http.response.status_code").map(String::as_str), status);
    // A call without an answer was cancelled; a body that is not read to its end is not a failure.
    let answered = status.is_some() || said.contains_key("rpc.method");
    assert_eq!(said.get("error.type").map(String::as_str), (!answered).then_some("cancelled"));
    // A gRPC call that is given up was cancelled; a call over plain HTTP has no such status.
    let code = said.contains_key("rpc.method").then_some("CANCELLED");
    assert_eq!(said.get("rpc.response.status_code").map(String::as_str), code);
}

#[tokio::test]
async fn a_call_that_is_given_up_on_http1_and_http2_ends_its_span_once_and_has_not_failed() {
    let address = serve().await;
    for http2 in [false, true] {
        for (path, status) in [("/endless", Some("200:int")), ("/never", None)] {
            let rig = Rig::without_subscriber(Trace::builder());
            let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http::<Body>();
            let client = rig.trace.client_layer().layer(client);
            let mut call = Request::get(format!("http://{address}{path}")).body(Body::empty()).unwrap();
            call.extensions_mut().insert(UrlTemplate("/{what}"));
            let asked = tokio::time::timeout(Duration::from_millis(300), client.oneshot(call)).await;
            assert_eq!(asked.is_ok(), status.is_some());
            if let Ok(response) = asked {
                let mut body = response.unwrap().into_body();
                assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
                assert!(rig.spans().is_empty(), "it goes on");
            }
            check_abandoned(&rig, "GET /{what}", status);
        }
    }
}

#[tokio::test]
async fn a_stream_of_messages_that_is_given_up_ends_its_span_once_and_has_not_failed() {
    let address = serve().await;
    let rig = Rig::without_subscriber(Trace::builder());
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut calls = tonic::client::Grpc::new(
        rig.trace.client_layer().server("board.example:50051".parse().unwrap()).layer(channel),
    );
    calls.ready().await.unwrap();
    let method = http::uri::PathAndQuery::from_static("/board.v1.Tasks/Watch");
    let answer = calls.server_streaming(tonic::Request::new(Bytes::from_static(b"7")), method, Plain).await.unwrap();
    let mut messages = answer.into_inner();
    assert_eq!(messages.message().await.unwrap().unwrap(), "ok");
    assert!(rig.spans().is_empty(), "it goes on");
    drop(messages);
    check_abandoned(&rig, "board.v1.Tasks/Watch", None);
}
