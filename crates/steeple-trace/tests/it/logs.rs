//! Events as log records: arrival, ids, and counted losses.

use std::time::Duration;

use axum::{Router, routing::get as on_get};
use opentelemetry_sdk::trace::InMemorySpanExporter;
use serde_json::Value;
use steeple_core::Exchange;
use steeple_trace::{DropReason, LogStats, Otlp, Protocol, Sampling, Trace, TraceBuilder};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use crate::{
    receiver::{Receiver, attribute, free_port},
    support::{ask, get},
};

const SECOND: Duration = Duration::from_secs(1);

fn over_http(receiver: &Receiver) -> TraceBuilder {
    Trace::builder().service_name("board").logs(Otlp::new().endpoint(receiver.logs_endpoint()))
}

/// Makes it the subscriber of this thread.
fn subscribe(trace: &Trace) -> DefaultGuard {
    let subscriber = tracing_subscriber::registry().with(trace.logs_layer()).with(trace.tracing_layer());
    tracing::subscriber::set_default(subscriber)
}

fn body(record: &Value) -> &str {
    record["body"]["stringValue"].as_str().unwrap()
}

#[test]
fn an_event_arrives_whole_over_http_and_over_grpc() {
    let Some(receiver) = Receiver::start() else { return };
    let ways = [
        (Otlp::new().endpoint(receiver.logs_endpoint()).gzip(), "http /v1/logs"),
        (Otlp::new().protocol(Protocol::Grpc).endpoint(receiver.grpc_endpoint()), "grpc logs"),
    ];
    for (count, (otlp, via)) in (1..).zip(ways) {
        let trace = Trace::builder().service_name("board").logs(otlp).build().unwrap();
        let _subscriber = subscribe(&trace);
        let error = std::io::Error::other("disk full");
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::warn!(target: "shop::cart", seats = 5, price = 1.5, gift = true, plan = "pro", error, "card {}", 7);
        let report = trace.flush_blocking(10 * SECOND);
        assert!(report.is_complete() && report.exported == 1, "{via}: {report:?}");
        let record = receiver.logs(count).pop().unwrap();
        assert_eq!(receiver.requests().pop().unwrap()["via"], via);
        assert_eq!((body(&record), record["severityText"].as_str()), ("card 7", Some("WARN")));
        assert_eq!(
            (&record["severityNumber"], &record["scope"]["name"]),
            (&"SEVERITY_NUMBER_WARN".into(), &"shop::cart".into())
        );
        assert_eq!(attribute(&record["resource"], "service.name").unwrap().1, "board");
        for (name, kind, value) in [
            ("seats", "intValue", Value::from("5")),
            ("price", "doubleValue", 1.5.into()),
            ("gift", "boolValue", true.into()),
            ("plan", "stringValue", "pro".into()),
            ("error", "stringValue", "disk full".into()),
        ] {
            assert_eq!(attribute(&record, name), Some((kind, &value)), "{record}");
        }
        assert!(record["traceId"].is_null(), "outside of any exchange it has no trace");
    }
}

#[tokio::test]
async fn a_record_has_the_ids_of_its_span_or_else_of_its_exchange_though_it_is_not_sampled() {
    let Some(receiver) = Receiver::start() else { return };
    for (count, sampling) in (1..).zip([Sampling::always_on(), Sampling::always_off()]) {
        let spans = InMemorySpanExporter::default();
        let sampled = sampling == Sampling::always_on();
        let trace = over_http(&receiver).sampling(sampling).build_with_exporter(spans.clone()).unwrap();
        let _subscriber = subscribe(&trace);
        // Read here first, so that the first exchange does not log the finding that nothing is sampled.
        let _findings = trace.diagnose();
        let handler = || async {
            tracing::info!("in the handler");
            tracing::info_span!("below").in_scope(|| tracing::info!("below it"));
            let trace = *Exchange::current().unwrap().trace().unwrap();
            format!("{} {}", trace.trace_id(), trace.span_id())
        };
        let app = Router::new().route("/", on_get(handler)).layer(trace.layer());
        let ids = ask(&app, get("/")).await.into_body();
        assert!(trace.flush(10 * SECOND).await.is_complete());
        let records = receiver.logs(2 * count).split_off(2 * count - 2);
        let hex = |name: &str, record: &Value| unbase64(record[name].as_str().unwrap());
        let found: Vec<_> = records.iter().map(|record| (hex("traceId", record), hex("spanId", record))).collect();
        let (trace_id, span_id) = ids.split_once(' ').unwrap();
        assert_eq!(found[0], (trace_id.to_owned(), span_id.to_owned()));
        assert_eq!(found[1].0, trace_id);
        let sampled_flag = records[1]["flags"].as_u64().unwrap_or_default() & 1;
        let below = spans.get_finished_spans().unwrap().into_iter().find(|span| span.name == "below");
        let want = below.map_or_else(|| span_id.to_owned(), |span| span.span_context.span_id().to_string());
        assert_eq!((found[1].1.as_str(), sampled_flag), (want.as_str(), u64::from(sampled)));
        assert_eq!(want == span_id, !sampled);
    }
}

/// The receiver's JSON has ids in base64.
fn unbase64(text: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut hex = String::new();
    let (mut bits, mut count) = (0_usize, 0_u32);
    for six in text.chars().filter_map(|char| ALPHABET.find(char)) {
        (bits, count) = ((bits << 6) | six, count + 6);
        while count >= 4 {
            count -= 4;
            hex.extend(char::from_digit(u32::try_from((bits >> count) & 0xf).unwrap(), 16));
        }
        bits &= (1 << count) - 1;
    }
    // The padding of the last letter is not a byte.
    hex.truncate(hex.len() / 2 * 2);
    hex
}

#[test]
fn dropped_items_are_counted_and_a_full_queue_blocks_nothing() {
    let endpoint = format!("http://127.0.0.1:{}/v1/logs", free_port());
    let trace = Trace::builder().logs(Otlp::new().endpoint(endpoint)).log_queue(4, 4).log_export_timeout(SECOND / 5);
    let trace = trace.build().unwrap();
    let subscriber = subscribe(&trace);
    for number in 0..20 {
        tracing::info!(number, "lost");
    }
    let report = trace.flush_blocking(10 * SECOND);
    let stats = trace.log_stats();
    let records = &stats.records;
    assert_eq!((records.exported, records.queued_items, report.left), (0, 0, 0), "{stats:?}");
    let network = records.dropped(DropReason::Network);
    assert!(records.dropped(DropReason::QueueFull) >= 12 && network >= 4, "{stats:?}");
    assert_eq!(records.dropped_total(), 20);
    assert!(trace.shutdown_blocking(SECOND).is_complete());
    tracing::info!("after the end");
    assert_eq!(trace.log_stats().records.dropped(DropReason::Shutdown), 1);
    drop(subscriber);
}

#[test]
fn the_exporter_does_not_log_itself() {
    let Some(receiver) = Receiver::start() else { return };
    let mut child = crate::export::alone("logs::a_child_that_would_hear_its_exporter");
    assert!(child.env("STEEPLE_TEST_ENDPOINT", receiver.http.to_string()).status().unwrap().success());
    assert_eq!(body(&receiver.logs(1)[0]), "once");
}

#[test]
#[ignore = "run by the_exporter_does_not_log_itself: its subscriber is the process's"]
fn a_child_that_would_hear_its_exporter() {
    // A name, so that it is looked up, which happens on a thread that is not the exporter's.
    let otlp = Otlp::new().endpoint(format!("http://localhost:{}/v1/logs", crate::export::endpoint_of_parent()));
    let trace = Trace::builder().logs(otlp).build().unwrap();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(trace.logs_layer())).unwrap();
    tracing::info!("once");
    for _ in 0..3 {
        trace.flush_blocking(10 * SECOND);
        std::thread::sleep(SECOND / 20);
    }
    let records = trace.log_stats().records;
    assert_eq!((records.exported, records.dropped_total()), (1, 0));
}

#[test]
fn unless_configured_no_layer_and_no_thread_exist() {
    let trace = Trace::builder().build().unwrap();
    assert!(trace.logs_layer().is_none());
    assert_eq!(trace.log_stats(), LogStats::default());
}
