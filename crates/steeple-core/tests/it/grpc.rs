//! The status of a gRPC call: from the trailers, from the head, or none at all.

use steeple_core::{Exchange, GrpcStatus, ObserveLayer, Outcome, test_util::RecordingObserver};
use tower::Layer;

use crate::replay::{
    Replay,
    Step::{self, Drop, Fail, Frame, Head, Panic, Pending, Trailers},
    check, check_laws, play,
};

#[track_caller]
fn check_status(replay: &Replay, script: &[Step], outcome: Outcome, want: GrpcStatus) -> Exchange {
    let observer = RecordingObserver::new();
    let mut service = ObserveLayer::new(observer.clone()).layer(replay.service(script));
    play(&mut service, replay.request(), script, true);
    check_laws(&observer);
    let (exchange, end) = observer.ended().remove(0);
    assert_eq!((end.outcome, end.grpc_status), (outcome, Some(want)), "{script:?}");
    exchange
}

fn call() -> Replay {
    Replay::grpc("/pkg.v1.Greeter/Hello")
}

#[test]
fn the_status_is_in_the_trailers() {
    let ok = check_status(&call(), &[Head(200), Frame(b"a"), Trailers("0")], Outcome::Completed, GrpcStatus::OK);
    assert_eq!(
        (ok.rpc_method(), ok.name().to_string().as_str()),
        (Some("pkg.v1.Greeter/Hello"), "pkg.v1.Greeter/Hello")
    );
    check_status(&call(), &[Head(200), Trailers("13")], Outcome::Completed, GrpcStatus::from_code(13));
}

#[test]
fn the_status_is_in_the_head_when_there_is_nothing_but_trailers() {
    let replay = Replay { response_headers: vec![("grpc-status", "5")], admits_end: true, ..call() };
    check_status(&replay, &[Head(200)], Outcome::Completed, GrpcStatus::from_code(5));
}

#[test]
fn trailers_have_the_last_word() {
    let replay = Replay { response_headers: vec![("grpc-status", "0")], ..call() };
    check_status(&replay, &[Head(200), Trailers("14")], Outcome::Completed, GrpcStatus::from_code(14));
}

#[test]
fn a_call_that_completes_without_any_status_is_unknown_and_not_ok() {
    check_status(&call(), &[Head(200), Frame(b"a")], Outcome::Completed, GrpcStatus::UNKNOWN);
    check_status(&call(), &[Head(502), Frame(b"<html>")], Outcome::Completed, GrpcStatus::UNKNOWN);
}

#[test]
fn a_call_that_is_answered_in_plain_http_is_what_its_caller_takes_it_for() {
    // Any client can claim to speak gRPC, to any route: where the answer blames the client, the server has not failed.
    for (status, content_type, want, is_error) in [
        (200, Some("application/json"), 2, true),
        (404, None, 12, false),
        (415, Some("text/plain"), 2, false),
        (400, None, 13, false),
        (401, None, 16, false),
        (502, Some("text/html"), 14, true),
    ] {
        let response_headers = content_type.map(|content_type| ("content-type", content_type)).into_iter().collect();
        let end = Replay { response_headers, ..call() }.check(&[Head(status), Frame(b"a")], Outcome::Completed);
        assert_eq!(end.grpc_status, Some(GrpcStatus::from_code(want)), "{status}");
        assert_eq!((end.is_server_error(), end.error_class().is_some()), (is_error, is_error), "{status}");
        assert!(end.is_plain_answer);
    }
}

/// The trailers of gRPC-Web: `grpc-status: 5` and a message.
const LAST_FRAME: &[u8] = b"\x80\0\0\0\x25grpc-status:5\r\ngrpc-message:no%20more";

#[test]
fn grpc_web_is_named_and_judged_like_grpc() {
    let web = |response_headers| Replay {
        request_headers: vec![("content-type", "application/grpc-web+proto")],
        response_headers,
        ..call()
    };
    let answers = || vec![("content-type", "application/grpc-web+proto")];
    for script in [&[Head(200), Frame(b"\0\0\0\0\x01a"), Frame(LAST_FRAME)][..], &[Head(200), Frame(LAST_FRAME)]] {
        let exchange = check_status(&web(answers()), script, Outcome::Completed, GrpcStatus::from_code(5));
        assert_eq!(exchange.name().to_string(), "pkg.v1.Greeter/Hello");
        assert_eq!(exchange.grpc_message().as_deref(), Some("no more"));
    }
    let in_head = [answers(), vec![("grpc-status", "13"), ("grpc-message", "out%20of%20luck")]].concat();
    let replay = Replay { admits_end: true, ..web(in_head) };
    let exchange = check_status(&replay, &[Head(200)], Outcome::Completed, GrpcStatus::from_code(13));
    assert_eq!(exchange.error().unwrap().to_string(), "out of luck");
    check_status(&web(answers()), &[Head(200), Frame(b"\0\0\0\0\x01a")], Outcome::Completed, GrpcStatus::UNKNOWN);
}

#[test]
fn the_message_of_a_status_is_known_and_an_error_where_the_server_failed() {
    let said = |status: &'static str| {
        let headers =
            vec![("content-type", "application/grpc"), ("grpc-status", status), ("grpc-message", "caf%C3%A9")];
        let replay = Replay { response_headers: headers, admits_end: true, ..call() };
        let code = GrpcStatus::from_code(status.parse().unwrap());
        let exchange = check_status(&replay, &[Head(200)], Outcome::Completed, code);
        (exchange.grpc_message(), exchange.error().map(|error| (error.type_name(), error.to_string())))
    };
    let message = Some("café".into());
    assert_eq!(said("13"), (message.clone(), Some(("INTERNAL", "café".to_owned()))));
    assert_eq!(said("5"), (message, None), "an error of the caller is not an error of the server");
}

#[test]
fn messages_of_a_response_are_counted_by_their_prefixes() {
    let script = [Head(200), Frame(b"\0\0\0\0\x02a"), Frame(b"b\0\0\0"), Frame(b"\0\0"), Trailers("0")];
    let replay = Replay { response_headers: vec![("content-type", "application/grpc")], ..call() };
    let end = replay.check(&script, Outcome::Completed);
    assert_eq!((end.response_messages, end.request_messages), (2, None), "requests are not counted here");
}

#[test]
fn a_made_up_method_is_an_error_by_the_conventions_and_known_as_the_clients_doing() {
    let end = call().check(&[Head(200), Trailers("12")], Outcome::Completed);
    assert!(end.is_server_error() && end.is_unknown_method());
    let end = call().check(&[Head(200), Trailers("13")], Outcome::Completed);
    assert!(end.is_server_error() && !end.is_unknown_method());
    let end = call().check(&[Head(200), Fail("broken")], Outcome::BodyError);
    assert!(!end.is_unknown_method());
}

#[test]
fn a_status_that_no_specification_knows_is_unknown() {
    for odd in ["17", "-1", "", "OK", "000"] {
        check_status(&call(), &[Head(200), Trailers(odd)], Outcome::Completed, GrpcStatus::UNKNOWN);
    }
}

#[test]
fn a_call_whose_caller_left_is_cancelled() {
    check_status(&call(), &[Pending, Drop], Outcome::Cancelled, GrpcStatus::CANCELLED);
    check_status(&call(), &[Head(200), Frame(b"a"), Drop], Outcome::CancelledInBody, GrpcStatus::CANCELLED);
}

#[test]
fn a_call_that_failed_before_its_status_is_unknown() {
    check_status(&call(), &[Fail("broken")], Outcome::ServiceError, GrpcStatus::UNKNOWN);
    check_status(&call(), &[Head(200), Fail("broken")], Outcome::BodyError, GrpcStatus::UNKNOWN);
    check_status(&call(), &[Panic], Outcome::Panicked, GrpcStatus::UNKNOWN);
}

#[test]
fn a_method_that_the_service_does_not_know_folds() {
    let trailers = check_status(&call(), &[Head(200), Trailers("12")], Outcome::Completed, GrpcStatus::UNIMPLEMENTED);
    assert_eq!(trailers.rpc_method(), Some("_OTHER"));
    let replay = Replay { response_headers: vec![("grpc-status", "12")], admits_end: true, ..call() };
    let head = check_status(&replay, &[Head(200)], Outcome::Completed, GrpcStatus::UNIMPLEMENTED);
    assert_eq!(head.rpc_method(), Some("_OTHER"));
    assert_eq!(head.name().to_string(), "_OTHER");
}

#[test]
fn an_invalid_grpc_path_is_other_from_the_start() {
    for path in ["/", "/only-one", "/a/b/c", "/pkg.Greeter/He%20llo"] {
        let exchange =
            check_status(&Replay::grpc(path), &[Head(200), Trailers("0")], Outcome::Completed, GrpcStatus::OK);
        assert_eq!(exchange.rpc_method(), Some("_OTHER"), "{path}");
    }
}

#[test]
fn a_plain_request_has_no_grpc_status() {
    let script = [Head(200), Trailers("13")];
    assert_eq!(check(&script, Outcome::Completed).grpc_status, None);
    let get = Replay { method: http::Method::GET, ..call() };
    assert_eq!(get.check(&script, Outcome::Completed).grpc_status, None, "every gRPC call is a POST");
}
