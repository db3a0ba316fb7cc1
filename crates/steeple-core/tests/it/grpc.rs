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
fn a_call_that_is_answered_in_plain_http_is_judged_by_its_http_status() {
    // Any client can claim to speak gRPC, to any route: that is no failure of a server that does not.
    for (status, content_type, is_error) in [
        (200, Some("application/json"), false),
        (404, None, false),
        (415, Some("text/plain"), false),
        (502, Some("text/html"), true),
    ] {
        let response_headers = content_type.map(|content_type| ("content-type", content_type)).into_iter().collect();
        let end = Replay { response_headers, ..call() }.check(&[Head(status), Frame(b"a")], Outcome::Completed);
        assert_eq!((end.grpc_status, end.is_server_error()), (None, is_error), "{status}");
    }
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
fn a_path_that_is_no_grpc_method_folds_from_the_start() {
    for path in ["/", "/only-one", "/a/b/c", "/pkg.Greeter/He%20llo"] {
        let exchange =
            check_status(&Replay::grpc(path), &[Head(200), Trailers("0")], Outcome::Completed, GrpcStatus::OK);
        assert_eq!(exchange.rpc_method(), Some("_OTHER"), "{path}");
    }
}

#[test]
fn what_is_not_grpc_has_no_grpc_status() {
    let script = [Head(200), Trailers("13")];
    assert_eq!(check(&script, Outcome::Completed).grpc_status, None);
    let get = Replay { method: http::Method::GET, ..call() };
    assert_eq!(get.check(&script, Outcome::Completed).grpc_status, None, "every gRPC call is a POST");
}
