//! What a receiver's answer means: pure functions, each with a table of tests.
//!
//! # Source
//! OTLP specification 1.9, "Failures" and "Partial success" of both transports; `google.rpc.RetryInfo` of gRPC's error details.

use std::time::{Duration, SystemTime};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use steeple_export::{Answer, DropReason, Reason, Response, Verdict, retry_after};

/// `google.rpc.Status`: the body of refusals over HTTP, and the details of refusals over gRPC.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// An answer over HTTP. Four statuses ask for another attempt; all other refusals are final.
pub(super) fn of_http(response: &Response, items: usize) -> Answer {
    let retry = |cause| Answer::Retry {
        after: retry_after(&response.headers, SystemTime::now()),
        cause,
        why: reason(response),
    };
    match response.status.as_u16() {
        200..=299 => accepted(&response.body, items),
        429 => retry(DropReason::RateLimited),
        502..=504 => retry(DropReason::Unavailable),
        413 => Answer::TooLarge,
        401 | 403 | 407 => Answer::Paused(reason(response)),
        _ => Answer::rejected(reason(response)),
    }
}

/// The text in a refusal's body: a message, if the receiver follows the specification.
fn reason(response: &Response) -> Reason {
    let is_protobuf =
        response.headers.get(http::header::CONTENT_TYPE).is_some_and(|kind| kind == "application/x-protobuf");
    if !is_protobuf {
        return response.reason();
    }
    let status = Status::decode(&*response.body).unwrap_or_default();
    Reason::scrub(&format!("{}: {}", response.status, status.message))
}

/// An answer over gRPC. The status is in the trailers, or, without a message, in the headers.
pub(super) fn of_grpc(response: &Response, items: usize) -> Answer {
    if response.status != StatusCode::OK {
        // A proxy, or something that does not speak gRPC.
        return of_http(response, items);
    }
    let fields = if response.trailers.contains_key("grpc-status") { &response.trailers } else { &response.headers };
    let Some(code) = text(fields, "grpc-status").and_then(|code| code.parse::<u8>().ok()) else {
        return Answer::InDoubt("the answer has no gRPC status".into());
    };
    let why = || {
        let message = text(fields, "grpc-message").map(crate::propagation::decode).unwrap_or_default();
        Reason::scrub(&format!("gRPC status {code}: {message}"))
    };
    let after = retry_delay(fields);
    match code {
        0 => accepted(message_of(&response.body), items),
        // Not an error of the receiver's, unless it sets a time to come back.
        8 if after.is_some() => Answer::Retry { after, cause: DropReason::RateLimited, why: why() },
        1 | 4 | 10 | 11 | 14 | 15 => Answer::Retry { after, cause: DropReason::Unavailable, why: why() },
        7 | 16 => Answer::Paused(why()),
        _ => Answer::rejected(why()),
    }
}

fn text<'h>(fields: &'h HeaderMap, name: &str) -> Option<&'h str> {
    fields.get(name)?.to_str().ok()
}

/// The message of an answer: what follows gRPC's prefix. Compressed answers are not asked for.
fn message_of(body: &[u8]) -> &[u8] {
    match body.split_at_checked(5) {
        Some(([0, ..], message)) => message,
        _ => &[],
    }
}

/// When the receiver wants to be asked again.
fn retry_delay(fields: &HeaderMap) -> Option<Duration> {
    /// With and without padding: gRPC allows both.
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let details = BASE64.decode(text(fields, "grpc-status-details-bin")?).ok()?;
    let status = Status::decode(&*details).ok()?;
    let info = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.retry_delay?;
    let seconds = Duration::from_secs(u64::try_from(delay.seconds).ok()?);
    Some(seconds.saturating_add(Duration::from_nanos(u64::try_from(delay.nanos).ok()?)))
}

/// A success, of all items or of some. The receiver does not report which ones were refused: their number is counted.
fn accepted(body: &[u8], items: usize) -> Answer {
    // The messages of all signals have the same fields.
    let partial = ExportTraceServiceResponse::decode(body).ok().and_then(|response| response.partial_success);
    let Some(partial) = partial.filter(|partial| partial.rejected_spans > 0) else { return Answer::Accepted };
    let rejected = usize::try_from(partial.rejected_spans).unwrap_or(usize::MAX).min(items);
    let why = Reason::scrub(&format!("{rejected} of {items} refused: {}", partial.error_message));
    let stored = items.saturating_sub(rejected);
    let verdicts = std::iter::repeat_n(Verdict::Stored, stored);
    Answer::Items(verdicts.chain(std::iter::repeat_n(Verdict::Poison(why), rejected)).collect())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use http::{HeaderName, HeaderValue};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn http(status: u16) -> Response {
        Response::new(StatusCode::from_u16(status).unwrap())
    }

    fn partial(rejected: i64, message: &str) -> Vec<u8> {
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: message.to_owned() };
        ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    }

    #[track_caller]
    fn check_partial(answer: &Answer, stored: usize, poison: usize) {
        let Answer::Items(verdicts) = answer else { panic!("{answer:?}") };
        let is_stored = |verdict: &&Verdict| matches!(verdict, Verdict::Stored);
        let count = verdicts.iter().filter(is_stored).count();
        assert_eq!((count, verdicts.len().saturating_sub(count)), (stored, poison));
    }

    #[test]
    fn four_statuses_ask_for_another_attempt_and_the_others_are_final() {
        for status in 200..600_u16 {
            let answer = of_http(&http(status), 1);
            let fits = match status {
                200..=299 => answer == Answer::Accepted,
                429 => matches!(answer, Answer::Retry { cause: DropReason::RateLimited, .. }),
                502..=504 => matches!(answer, Answer::Retry { cause: DropReason::Unavailable, .. }),
                413 => answer == Answer::TooLarge,
                401 | 403 | 407 => matches!(answer, Answer::Paused(_)),
                _ => matches!(answer, Answer::Rejected { .. }),
            };
            assert!(fits, "{status}: {answer:?}");
        }
        let asks = http(503).with_header(http::header::RETRY_AFTER, HeaderValue::from_static("7"));
        let Answer::Retry { after, .. } = of_http(&asks, 1) else { panic!() };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_refusals_message_is_read_and_scrubbed() {
        let status = Status { code: 3, message: "bad api-key=hunter2".to_owned(), details: Vec::new() };
        let kind = HeaderValue::from_static("application/x-protobuf");
        let refused = http(400).with_header(http::header::CONTENT_TYPE, kind).with_body(status.encode_to_vec());
        let Answer::Rejected { why, .. } = of_http(&refused, 1) else { panic!() };
        assert!(why.as_str().starts_with("400 Bad Request: bad") && !why.as_str().contains("hunter2"), "{why}");
    }

    #[test]
    fn what_a_partial_success_refused_is_counted_as_refused() {
        let answer = |rejected, items| of_http(&http(200).with_body(partial(rejected, "too old")), items);
        check_partial(&answer(3, 5), 2, 3);
        check_partial(&answer(9, 5), 0, 5);
        assert_eq!(answer(0, 5), Answer::Accepted, "a warning");
        assert_eq!(answer(-1, 5), Answer::Accepted);
        assert_eq!(of_http(&http(200).with_body("not protobuf"), 5), Answer::Accepted);
        let mut framed = vec![0, 0, 0, 0, 0];
        framed.extend(partial(3, "too old"));
        let mut response = http(200).with_body(framed);
        response.trailers.insert("grpc-status", HeaderValue::from_static("0"));
        check_partial(&of_grpc(&response, 5), 2, 3);
    }

    fn grpc(fields: &[(&'static str, &str)], in_trailers: bool) -> Response {
        let mut response = http(200);
        let into = if in_trailers { &mut response.trailers } else { &mut response.headers };
        for (name, value) in fields {
            into.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        response
    }

    #[test]
    fn grpc_statuses_that_may_pass_are_tried_again_and_the_others_are_final() {
        for code in 0..=20_u8 {
            for in_trailers in [true, false] {
                let answer = of_grpc(&grpc(&[("grpc-status", &code.to_string())], in_trailers), 1);
                let fits = match code {
                    0 => answer == Answer::Accepted,
                    1 | 4 | 10 | 11 | 14 | 15 => matches!(answer, Answer::Retry { .. }),
                    7 | 16 => matches!(answer, Answer::Paused(_)),
                    _ => matches!(answer, Answer::Rejected { .. }),
                };
                assert!(fits, "{code}: {answer:?}");
            }
        }
        assert!(matches!(of_grpc(&http(200), 1), Answer::InDoubt(_)));
        assert!(matches!(of_grpc(&http(503), 1), Answer::Retry { .. }));
        let refused = of_grpc(&grpc(&[("grpc-status", "3"), ("grpc-message", "no%20spans, token=hunter2")], true), 1);
        let Answer::Rejected { why, .. } = refused else { panic!() };
        assert!(why.as_str().contains("no spans") && !why.as_str().contains("hunter2"), "{why}");
    }

    #[test]
    fn an_exhausted_resource_is_retried_only_with_a_delay() {
        let info = RetryInfo { retry_delay: Some(Delay { seconds: 2, nanos: 500_000_000 }) };
        let detail =
            Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
        let status = Status { code: 8, message: String::new(), details: vec![detail] }.encode_to_vec();
        let details = STANDARD_NO_PAD.encode(status);
        let answer = of_grpc(&grpc(&[("grpc-status", "8"), ("grpc-status-details-bin", &details)], true), 1);
        let Answer::Retry { after, cause, .. } = answer else { panic!("{answer:?}") };
        assert_eq!((after, cause), (Some(Duration::from_millis(2500)), DropReason::RateLimited));
        for broken in ["", "!", "AAAA"] {
            let answer = of_grpc(&grpc(&[("grpc-status", "8"), ("grpc-status-details-bin", broken)], true), 1);
            assert!(matches!(answer, Answer::Rejected { .. }), "{broken}: {answer:?}");
        }
    }
}
