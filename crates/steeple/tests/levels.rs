//! What the process's subscriber lets through: alone in its process, because there is one subscriber.
#![cfg(feature = "trace")]

use steeple::{Steeple, trace::Otlp};

#[test]
fn spans_of_libraries_below_info_are_not_made_while_spans_are_sent_and_log_records_are_not() {
    let receiver = Otlp::new().endpoint("http://127.0.0.1:9/v1/traces");
    let steeple = Steeple::builder().traces(|traces| traces.otlp(receiver)).build().unwrap();
    assert!(steeple.traces().is_some());
    assert!(tracing::info_span!(target: "shop", "work").id().is_some(), "the application's spans are");
    assert!(tracing::debug_span!(target: "h2", "poll").is_disabled());
    assert!(tracing::trace_span!(target: "h2", "FramedRead::next").is_disabled());
}
