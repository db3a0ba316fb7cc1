//! Texts are cut where they are recorded, queues are bounded in bytes, and what exceeds a bound is counted.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get as on_get};
use opentelemetry::{
    Array, Context, KeyValue, Value,
    trace::{Status, TraceContextExt},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{InMemorySpanExporterBuilder, SdkTracerProvider, SpanData, SpanExporter},
};
use steeple_core::Exchange;
use steeple_trace::{DropReason, Segments, Trace};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Rig, ask, attributes, get};

/// A text as it is shown, and as it is recorded.
const SHOWN: usize = 4095;
const RECORDED: usize = SHOWN + 4096;

fn long(len: usize) -> String {
    // Words, so that nothing in it looks like a token.
    const WORDS: &str = "lorem ipsum dolor ";
    let mut text = WORDS.repeat(len / WORDS.len() + 1);
    text.truncate(len);
    text
}

/// Keeps spans as the SDK has them when they end: before this crate's exporter cuts and scrubs.
fn recorded(handler: fn()) -> SpanData {
    let exporter = InMemorySpanExporterBuilder::new().build();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let trace = Trace::builder().build_with_provider(&provider).unwrap();
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(trace.tracing_layer()));
    let app = Router::new()
        .route(
            "/",
            on_get(move || async move {
                handler();
            }),
        )
        .layer(trace.layer());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { ask(&app, get("/")).await });
    assert!(trace.stats().truncated > 0, "it is counted");
    let mut spans = exporter.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 1);
    spans.remove(0)
}

#[test]
fn the_text_of_a_log_event_is_cut_where_the_span_records_it() {
    let span = recorded(|| tracing::info!(detail = long(1_900_000), "{}", long(1_900_000)));
    let event = &span.events.events[0];
    assert_eq!(event.name.len(), RECORDED);
    let detail = event.attributes.iter().find(|attribute| attribute.key.as_str() == "detail").unwrap();
    assert_eq!(detail.value.as_str().len(), RECORDED);
}

#[test]
fn names_attributes_arrays_statuses_and_links_are_cut_where_they_are_recorded() {
    let span = recorded(|| {
        let context = Context::current();
        let span = context.span();
        span.update_name(long(1_000_000));
        span.set_attribute(KeyValue::new("text", long(1_000_000)));
        span.set_attribute(KeyValue::new(long(1_000_000), true));
        let texts = Array::String(vec![long(1_000).into(); 1_000]);
        span.set_attribute(KeyValue::new("texts", Value::Array(texts)));
        span.set_attribute(KeyValue::new("one", Value::Array(Array::String(vec![long(1_000_000).into()]))));
        span.set_attribute(KeyValue::new("numbers", Value::Array(Array::I64(vec![7; 1_000_000]))));
        span.set_status(Status::error(long(1_000_000)));
        span.add_link(span.span_context().clone(), vec![KeyValue::new("text", long(1_000_000))]);
    });
    for attribute in &span.attributes {
        assert!(attribute.key.as_str().len() <= RECORDED, "{}", attribute.key.as_str().len());
        #[expect(clippy::wildcard_enum_match_arm, reason = "the others have no length")]
        let size = match &attribute.value {
            Value::String(text) => text.as_str().len(),
            Value::Array(Array::String(texts)) => texts.iter().map(|text| text.as_str().len()).sum(),
            Value::Array(Array::I64(numbers)) => numbers.len() * 8,
            _ => 0,
        };
        assert!(size <= RECORDED, "{}: {size}", attribute.key);
    }
    let Status::Error { description } = &span.status else { panic!("{:?}", span.status) };
    assert!(description.len() <= RECORDED);
    assert_eq!(span.links.links[0].attributes[0].value.as_str().len(), RECORDED);
}

#[tokio::test]
async fn a_span_has_room_for_one_mebibyte_of_events_and_says_how_many_it_left_out() {
    let rig = Rig::new(Trace::builder());
    let app = Router::new()
        .route(
            "/",
            on_get(|| async {
                for _ in 0..120 {
                    tracing::info!(a = long(9_000), b = long(9_000), "{}", long(9_000));
                }
            }),
        )
        .layer(rig.trace.layer());
    ask(&app, get("/")).await;
    let span = rig.span();
    let (kept, dropped) = (span.events.events.len(), u64::from(span.events.dropped_count));
    assert_eq!(kept as u64 + dropped, 120);
    assert!((40..=43).contains(&kept), "{kept}");
    assert_eq!(rig.trace.stats().dropped_events, dropped);
    assert_eq!(rig.trace.stats().truncated, 360);
    assert!(!attributes(&span).keys().any(|name| name.starts_with("steeple.")), "nothing internal leaves");
}

#[tokio::test]
async fn half_a_secret_at_the_cut_is_not_shown() {
    let secret = "ghp_0123456789abcdefABCDEF0123456789abcd";
    let rig = Rig::new(Trace::builder());
    let at = RECORDED - 20;
    let app = Router::new()
        .route(
            "/",
            on_get(move || async move {
                tracing::info!("{} {secret} {}", long(at), long(1_000_000));
                let exchange = Exchange::current().unwrap();
                let named = format!("{} {secret}", long(at));
                exchange.segment("db", named, async {}).with("key", format!("{} {secret}", long(at))).await;
            }),
        )
        .layer(rig.trace.layer());
    ask(&app, get("/")).await;
    for span in rig.spans() {
        let text = format!("{span:?}");
        assert!(!text.contains("ghp_01"), "{}", span.name);
        assert!(span.events.events.iter().all(|event| event.name.len() <= SHOWN));
    }
}

/// Never answers.
#[derive(Debug)]
struct Hung;

impl SpanExporter for Hung {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_queue_is_bounded_in_bytes_as_well_as_in_items() {
    let trace = Trace::builder()
        .queue_bytes(200_000)
        .export_timeout(Duration::from_hours(1))
        .build_with_exporter(Hung)
        .unwrap();
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(trace.tracing_layer()));
    let app = Router::new().route("/", on_get(|| async { tracing::info!("{}", long(1_900_000)) })).layer(trace.layer());
    for _ in 0..100 {
        ask(&app, get("/")).await;
    }
    let spans = trace.stats().spans;
    assert!(spans.queued_bytes <= 200_000 && spans.queued_items >= 15, "{spans:?}");
    assert_eq!(spans.queued_items + spans.dropped(DropReason::QueueFull), 100, "{spans:?}");
    trace.shutdown(Duration::ZERO).await;
}

/// Panics over the first batches, in each of its ways: at the call, while it waits, in a destructor.
#[derive(Debug)]
struct Panicking {
    batches: Arc<std::sync::Mutex<usize>>,
    sent: opentelemetry_sdk::trace::InMemorySpanExporter,
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in a destructor, as this test wants it");
    }
}

impl SpanExporter for Panicking {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let number = {
            let mut batches = self.batches.lock().unwrap();
            *batches += 1;
            *batches
        };
        match number {
            1 => panic!("at once, as this test wants it"),
            2 => {
                tokio::task::yield_now().await;
                panic!("later, as this test wants it")
            }
            3 => {
                let _panics = PanicsInDrop;
                std::future::pending().await
            }
            _ => self.sent.export(batch).await,
        }
    }
}

#[tokio::test]
async fn an_exporter_that_panics_loses_that_batch_and_no_other() {
    let sent = InMemorySpanExporterBuilder::new().build();
    let exporter = Panicking { batches: Arc::default(), sent: sent.clone() };
    let builder = Trace::builder().export_timeout(Duration::from_millis(50));
    let trace = builder.build_with_exporter(exporter).unwrap();
    let app = Router::new().route("/", on_get(|| async {})).layer(trace.layer());
    for batch in 1..=5 {
        ask(&app, get("/")).await;
        let report = trace.flush(Duration::from_mins(1)).await;
        assert_eq!((report.dropped, report.exported, report.left), if batch <= 3 { (1, 0, 0) } else { (0, 1, 0) });
    }
    let spans = trace.stats().spans;
    let lost = [DropReason::Panicked, DropReason::Network, DropReason::InDoubt].map(|reason| spans.dropped(reason));
    assert_eq!((lost.iter().sum::<u64>(), spans.exported, spans.queued_items), (3, 2, 0), "{spans:?}");
    assert_eq!(sent.get_finished_spans().unwrap().len(), 2);
    assert!(trace.shutdown(Duration::from_mins(1)).await.is_complete());
}

/// What this process takes at most, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn texts_of_two_megabytes_take_at_most_64_mib_over_any_receiver() {
    for receiver in ["hung", "refusing", "healthy"] {
        let mut child = crate::export::alone("bounds::a_child_that_logs_two_megabytes_a_request");
        let status = child.env("STEEPLE_TEST_RECEIVER", receiver).status().unwrap();
        assert!(status.success(), "{receiver}");
    }
}

#[tokio::test]
#[ignore = "run by texts_of_two_megabytes_take_at_most_64_mib_over_any_receiver: it looks at the process's memory"]
async fn a_child_that_logs_two_megabytes_a_request() {
    let mode = std::env::var_os("STEEPLE_TEST_RECEIVER").unwrap().into_string().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move || {
        let mode = mode.clone();
        async move {
            match mode.as_str() {
                "hung" => std::future::pending().await,
                "refusing" => http::StatusCode::BAD_REQUEST,
                _ => http::StatusCode::OK,
            }
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let to = |path: &str| steeple_trace::Otlp::new().endpoint(format!("http://{address}{path}"));
    let trace = Trace::builder().otlp(to("/v1/traces")).logs(to("/v1/logs")).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(trace.logs_layer()).with(trace.tracing_layer());
    let _subscriber = tracing::subscriber::set_default(subscriber);
    let text: &'static str = long(2_000_000).leak();
    let app = Router::new()
        .route("/", on_get(move || async move { tracing::info!(detail = text, "{text}") }))
        .layer(trace.layer());
    ask(&app, get("/")).await;
    let idle = peak_mib();
    for _ in 0..800 {
        ask(&app, get("/")).await;
        tokio::task::yield_now().await;
    }
    let grown = peak_mib() - idle;
    let (spans, records) = (trace.stats().spans, trace.log_stats().records);
    assert_eq!(spans.accepted, 801);
    assert_eq!(spans.exported + spans.dropped_total() + spans.queued_items, spans.accepted);
    assert_eq!(records.exported + records.dropped_total() + records.queued_items, records.accepted);
    assert!(trace.stats().truncated >= 2 * 800);
    assert!(grown <= 64, "{grown} MiB over {idle}");
    trace.shutdown(Duration::ZERO).await;
}

/// A service whose handler gives its span three attributes, and which fails at `/fail`.
fn service(trace: &Trace) -> Router {
    let describe = || {
        let context = Context::current();
        for key in ["a", "b", "c"] {
            context.span().set_attribute(KeyValue::new(key, "d"));
        }
    };
    Router::new()
        .route(
            "/users/{id}",
            on_get(move || async move {
                describe();
                "Ann"
            }),
        )
        .route(
            "/fail",
            on_get(|| async {
                if let Some(exchange) = Exchange::current() {
                    exchange.record_error(&std::io::Error::other("password=hunter2 is wrong"));
                }
                http::StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .layer(trace.layer())
}

fn of_a_browser(path: &str) -> http::Request<axum::body::Body> {
    let mut request = get(path);
    for (name, value) in
        [("user-agent", "Mozilla/5.0 token=8f14e45fceea167a5a36dedd4bea2543"), ("host", "shop.example:81")]
    {
        request.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    request
}

#[tokio::test]
async fn a_span_has_as_many_attributes_as_it_may_have_and_says_how_many_it_left_out() {
    let all = Rig::without_subscriber(Trace::builder());
    ask(&service(&all.trace), of_a_browser("/users/7?page=2")).await;
    let all = all.span();
    assert_eq!((all.attributes.len(), all.dropped_attributes_count), (13, 0), "{all:?}");
    for max in 0..16_u32 {
        let rig = Rig::without_subscriber(Trace::builder().attribute_limits(max, SHOWN));
        ask(&service(&rig.trace), of_a_browser("/users/7?page=2")).await;
        let span = rig.span();
        assert_eq!(span.attributes.len(), 13.min(max as usize), "{span:?}");
        assert_eq!(span.dropped_attributes_count, 13_u32.saturating_sub(max));
        assert_eq!((&span.name, &span.status), (&all.name, &all.status));
        assert!(!attributes(&span).keys().any(|name| name.starts_with("steeple.")), "nothing internal leaves");
    }
}

#[tokio::test]
async fn a_span_says_the_same_whether_a_subscriber_mirrors_it_or_not() {
    let long = format!("/users/7?token=8f14e45fceea167a5a36dedd4bea2543&q={}", "x".repeat(3_000));
    for path in ["/users/7?token=8f14e45fceea167a5a36dedd4bea2543&page=2", "/fail", "/not-there", &long] {
        let alone = Rig::without_subscriber(Trace::builder());
        ask(&service(&alone.trace), of_a_browser(path)).await;
        let alone = alone.span();
        let mirrored = Rig::new(Trace::builder());
        ask(&service(&mirrored.trace), of_a_browser(path)).await;
        let mirrored = mirrored.span();
        assert_eq!((&alone.name, &alone.status), (&mirrored.name, &mirrored.status), "{path}");
        assert_eq!(alone.span_kind, mirrored.span_kind);
        let (alone, mirrored) = (attributes(&alone), attributes(&mirrored));
        assert!(alone.len() >= 8, "{alone:?}");
        for (name, value) in &alone {
            assert_eq!(mirrored.get(name), Some(value), "{path}: {name}");
            assert!(!value.contains("8f14e45f"), "{name}: {value}");
        }
    }
}
