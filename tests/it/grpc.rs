//! gRPC through tonic, server and client: the status of a call is in its trailers, in its head, or nowhere.

use futures_util::{StreamExt, stream};
use steeple_core::{
    CountRequestBodyLayer, End, Exchange, GrpcStatus, NameSource, ObserveLayer, Outcome, test_util::RecordingObserver,
};
use steeple_tests::{
    grpc::{GrpcClient, GrpcLab},
    server::Server,
    settle::settle,
};
use tonic::Code;
use tower::Layer;

struct Watched {
    observer: RecordingObserver,
    client: GrpcClient,
    _server: Server,
}

impl Watched {
    async fn start() -> Self {
        let observer = RecordingObserver::new();
        let server =
            Server::start(CountRequestBodyLayer.layer(ObserveLayer::new(observer.clone()).layer(GrpcLab))).await;
        Self { observer, client: GrpcClient::to(server.address()), _server: server }
    }

    async fn check(&self, outcome: Outcome, status: GrpcStatus) -> (Exchange, End) {
        let (exchange, end) = settle(&self.observer, 1).await.remove(0);
        assert_eq!((end.outcome, end.grpc_status), (outcome, Some(status)));
        assert_eq!(exchange.name().source(), NameSource::Rpc);
        (exchange, end)
    }
}

const OK: GrpcStatus = GrpcStatus::OK;

#[tokio::test]
async fn a_unary_call_that_succeeds_has_its_status_in_the_trailers() {
    let watched = Watched::start().await;
    assert_eq!(watched.client.unary("/lab.v1.Lab/Say", "hello").await.unwrap(), "hello");
    let (exchange, end) = watched.check(Outcome::Completed, OK).await;
    assert_eq!(exchange.name().to_string(), "lab.v1.Lab/Say");
    // Five bytes of gRPC's own before each message.
    assert_eq!((end.request_body_bytes, end.response_body_bytes), (Some(10), 10));
}

#[tokio::test]
async fn a_unary_call_that_fails_has_its_status_in_the_head() {
    for code in 1..=16_u8 {
        let watched = Watched::start().await;
        let status = watched.client.unary("/lab.v1.Lab/Say", &format!("fail {code}")).await.unwrap_err();
        assert_eq!(status.code(), Code::from(i32::from(code)));
        let (_, end) = watched.check(Outcome::Completed, GrpcStatus::from_code(code)).await;
        assert_eq!(end.status_code(), 200, "the HTTP status is always OK");
    }
}

#[tokio::test]
async fn a_stream_that_ends_well_has_its_status_in_the_trailers() {
    let watched = Watched::start().await;
    let messages = watched.client.server_streaming("/lab.v1.Lab/Count", "3").await.unwrap();
    assert_eq!(messages.map(Result::unwrap).collect::<Vec<_>>().await, ["1", "2", "3"]);
    let (_, end) = watched.check(Outcome::Completed, OK).await;
    assert_eq!(end.response_body_bytes, 3 * 6);
}

#[tokio::test]
async fn a_stream_that_fails_after_messages_has_its_status_in_the_trailers() {
    let watched = Watched::start().await;
    let messages = watched.client.server_streaming("/lab.v1.Lab/Count", "2 fail 13").await.unwrap();
    let messages: Vec<_> = messages.collect().await;
    assert_eq!((messages.len(), messages[2].as_ref().unwrap_err().code()), (3, Code::Internal));
    let (_, end) = watched.check(Outcome::Completed, GrpcStatus::from_code(13)).await;
    assert!(end.is_server_error());
}

#[tokio::test]
async fn a_stream_that_its_client_leaves_is_cancelled() {
    let watched = Watched::start().await;
    let mut messages = watched.client.server_streaming("/lab.v1.Lab/Count", "2 stall").await.unwrap();
    assert_eq!(messages.next().await.unwrap().unwrap(), "1");
    drop(messages);
    let (_, end) = watched.check(Outcome::CancelledInBody, GrpcStatus::CANCELLED).await;
    assert!(!end.is_server_error());
}

#[tokio::test]
async fn a_client_that_streams_has_its_messages_counted() {
    let watched = Watched::start().await;
    let messages = stream::iter((0..100).map(|number| format!("{number:05}")));
    assert_eq!(watched.client.client_streaming("/lab.v1.Lab/Gather", messages).await.unwrap(), "100");
    let (_, end) = watched.check(Outcome::Completed, OK).await;
    assert_eq!(end.request_body_bytes, Some(100 * 10));
}

#[tokio::test]
async fn a_call_that_gets_no_status_at_all_is_unknown_and_not_ok() {
    let watched = Watched::start().await;
    let _whatever_the_client_makes_of_it = watched.client.unary("/lab.v1.Lab/Mute", "hello").await;
    watched.check(Outcome::Completed, GrpcStatus::UNKNOWN).await;
}

#[tokio::test]
async fn methods_that_the_service_does_not_know_fold_into_one_name() {
    let watched = Watched::start().await;
    for number in 0..20 {
        let status = watched.client.unary(&format!("/lab.v1.Lab/MadeUp{number}"), "x").await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
    }
    for (exchange, end) in settle(&watched.observer, 20).await {
        assert_eq!((exchange.rpc_method(), end.grpc_status), (Some("_OTHER"), Some(GrpcStatus::UNIMPLEMENTED)));
    }
}
