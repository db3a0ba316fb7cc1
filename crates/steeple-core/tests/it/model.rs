//! Random scripts, random wrappings: exactly one end, the one that the rules say.

use http::Method;
use proptest::{collection::vec, option, prelude::*, sample::select};
use steeple_core::{Exchange, GrpcStatus, ObserveLayer, Outcome, test_util::RecordingObserver};
use tower::{Layer, ServiceBuilder};

use crate::replay::{Replay, Step, check_laws, play};

/// The rules of the endings, read off the documentation of `steeple_core::observe` and written a second time.
fn model(replay: &Replay, script: &[Step]) -> (Outcome, u64, Option<GrpcStatus>) {
    let grpc = |status: Option<&str>, none| {
        let known = |status: &str| GrpcStatus::from_code(status.parse().unwrap());
        (!replay.request_headers.is_empty()).then(|| status.map_or(none, known))
    };
    let head_status = replay.response_headers.iter().find(|(name, _)| *name == "grpc-status").map(|(_, value)| *value);
    let declared = replay.response_headers.iter().find(|(name, _)| *name == "content-length");
    let declared = declared.map(|(_, value)| value.parse().unwrap());
    let declared: Option<u64> = replay.size.or(declared);
    let mut steps = script.iter().enumerate();
    let status = loop {
        match steps.next().map(|(_, step)| step) {
            Some(Step::Pending) => (),
            Some(Step::Head(status)) => break *status,
            Some(Step::Fail(_)) => return (Outcome::ServiceError, 0, grpc(None, GrpcStatus::UNKNOWN)),
            Some(Step::Panic | Step::PanicInCall) => return (Outcome::Panicked, 0, grpc(None, GrpcStatus::UNKNOWN)),
            Some(Step::Drop) | None => return (Outcome::Cancelled, 0, grpc(None, GrpcStatus::CANCELLED)),
            Some(Step::Frame(_) | Step::Trailers(_)) => unreachable!("no frames before the head"),
        }
    };
    // An answer in plain HTTP is what its caller takes it for.
    let is_plain = head_status.is_none() && !replay.response_headers.contains(&("content-type", "application/grpc"));
    let unsaid = match status {
        404 if is_plain => GrpcStatus::UNIMPLEMENTED,
        _ => GrpcStatus::UNKNOWN,
    };
    let whole = grpc(head_status, unsaid);
    if status == 101 || (replay.method == Method::CONNECT && (200..300).contains(&status)) {
        return (Outcome::Upgraded, 0, whole);
    }
    let nothing_left = |from: usize| replay.admits_end && !script[from..].iter().any(|step| *step != Step::Drop);
    let (mut bytes, head_at) = (0, script.iter().position(|step| matches!(step, Step::Head(_))).unwrap());
    if replay.method == Method::HEAD || matches!(status, 204 | 304) || nothing_left(head_at + 1) {
        return (Outcome::Completed, 0, whole);
    }
    for (place, step) in steps {
        match step {
            Step::Pending => (),
            Step::Frame(data) => bytes += data.len() as u64,
            Step::Trailers(status) => return (Outcome::Completed, bytes, grpc(Some(status), GrpcStatus::UNKNOWN)),
            Step::Fail(_) => return (Outcome::BodyError, bytes, whole),
            Step::Panic => return (Outcome::Panicked, bytes, whole),
            Step::Drop if declared.is_some_and(|declared| bytes >= declared) => {
                return (Outcome::Completed, bytes, whole);
            }
            Step::Drop => return (Outcome::CancelledInBody, bytes, grpc(head_status, GrpcStatus::CANCELLED)),
            Step::PanicInCall | Step::Head(_) => unreachable!("one head"),
        }
        if nothing_left(place + 1) {
            return (Outcome::Completed, bytes, whole);
        }
    }
    (Outcome::Completed, bytes, whole)
}

/// Steps before the head, perhaps a head and steps after it, perhaps a drop at last.
fn scripts() -> impl Strategy<Value = Vec<Step>> {
    let before = vec(Just(Step::Pending), 0..3);
    let instead = select(vec![Step::Fail("broken"), Step::Panic, Step::PanicInCall, Step::Drop]);
    let head = select(vec![200_u16, 200, 200, 101, 204, 304, 404, 500]).prop_map(Step::Head);
    let frame = prop_oneof![
        6 => select(vec![&b""[..], b"a", b"bc", b"defg"]).prop_map(Step::Frame),
        2 => Just(Step::Pending),
        1 => select(vec!["0", "5", "12", "13"]).prop_map(Step::Trailers),
        1 => Just(Step::Fail("broken")),
        1 => Just(Step::Panic),
    ];
    let answer = (head, vec(frame, 0..6)).prop_map(|(head, frames)| [vec![head], frames].concat());
    let rest = prop_oneof![1 => instead.prop_map(|step| vec![step]), 4 => answer];
    (before, rest, option::of(Just(Step::Drop))).prop_map(|(mut before, rest, drop)| {
        if rest[0] == Step::PanicInCall {
            before.clear();
        }
        [before, rest, drop.into_iter().collect()].concat()
    })
}

fn replays() -> impl Strategy<Value = Replay> {
    let method = select(vec![Method::GET, Method::GET, Method::POST, Method::HEAD, Method::CONNECT]);
    let length = option::of(select(vec!["0", "1", "3", "7", "1000"]));
    let head_status = option::of(select(vec!["0", "14"]));
    let content_type = option::of(select(vec!["application/grpc", "application/json"]));
    let size = option::of(select(vec![0_u64, 1, 3, 7, 1000]));
    (method, any::<bool>(), length, (head_status, content_type), size, any::<bool>(), any::<bool>()).prop_map(
        |(method, grpc, length, (head_status, content_type), size, admits_end, catches_panics)| {
            let mut response_headers = Vec::new();
            response_headers.extend(length.map(|length| ("content-length", length)));
            response_headers.extend(head_status.map(|status| ("grpc-status", status)));
            response_headers.extend(content_type.map(|content_type| ("content-type", content_type)));
            let call = if grpc { Replay::grpc("/pkg.S/M") } else { Replay { method, ..Replay::default() } };
            Replay { response_headers, size, admits_end, catches_panics, ..call }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_script_ends_exactly_once_as_the_rules_say(replay in replays(), script in scripts(), nested in 0..3_usize) {
        let (outcome, bytes, grpc_status) = model(&replay, &script);
        let [a, b, c] = std::array::from_fn(|_| RecordingObserver::new());
        let (layer_a, layer_b) = (ObserveLayer::new((a.clone(), b.clone())), ObserveLayer::new((b.clone(), c.clone())));
        let inner = replay.service(&script);
        match nested {
            0 => { play(&mut layer_a.layer(inner), replay.request(), &script, replay.catches_panics); }
            1 => { play(&mut layer_a.layer(layer_b.layer(inner)), replay.request(), &script, replay.catches_panics); }
            _ => {
                let stack = ServiceBuilder::new().layer(layer_a).layer(layer_b.clone()).layer(layer_b);
                play(&mut stack.service(inner), replay.request(), &script, replay.catches_panics);
            }
        }
        for (name, observer, watches) in [("a", &a, true), ("b", &b, true), ("c", &c, nested > 0)] {
            prop_assert_eq!(observer.outcomes(), if watches { vec![outcome] } else { vec![] }, "observer {}", name);
            prop_assert_eq!(observer.in_flight(), 0);
            let (entered, exited) = observer.polls();
            prop_assert_eq!(entered, exited);
            for (exchange, end) in observer.ended() {
                prop_assert!(exchange.has_ended());
                prop_assert_eq!((end.response_body_bytes, end.grpc_status), (bytes, grpc_status));
                prop_assert_eq!(end.status.is_some(), end.head_after.is_some());
                prop_assert!(end.head_after.unwrap_or_default() <= end.duration);
            }
            check_laws(observer);
        }
        prop_assert!(Exchange::current().is_none());
    }
}
