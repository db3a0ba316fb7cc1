//! What would keep spans from arriving is found, as data and once in the log.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get as on_get};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use steeple_trace::{DiagnosticKind, Otlp, Propagators, Sampling, Trace};
use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt};

use crate::support::{Rig, ask, get};

fn problems(trace: &Trace) -> Vec<DiagnosticKind> {
    trace.diagnose().iter().map(steeple_trace::Diagnostic::kind).collect()
}

fn in_memory() -> Trace {
    Trace::builder().build_with_exporter(InMemorySpanExporter::default()).unwrap()
}

#[test]
fn a_healthy_setup_has_no_problem_and_the_check_leaves_no_span() {
    let rig = Rig::new(Trace::builder());
    assert_eq!(problems(&rig.trace), []);
    assert!(rig.spans().is_empty());
}

#[test]
fn each_way_of_seeing_nothing_is_named() {
    assert_eq!(problems(&Trace::builder().build().unwrap()), [DiagnosticKind::NoExporter]);
    assert_eq!(problems(&in_memory()), [DiagnosticKind::Filtered], "no subscriber at all takes no span");
    let plain = tracing_subscriber::registry();
    tracing::subscriber::with_default(plain, || assert_eq!(problems(&in_memory()), [DiagnosticKind::NoLayer]));
    let trace = in_memory();
    let quiet = tracing_subscriber::registry().with(trace.tracing_layer()).with(LevelFilter::WARN);
    tracing::subscriber::with_default(quiet, || assert_eq!(problems(&trace), [DiagnosticKind::Filtered]));
    let silent = Rig::new(Trace::builder().propagators(Propagators::none()).sampling(Sampling::always_off()));
    assert_eq!(problems(&silent.trace), [DiagnosticKind::NoPropagator, DiagnosticKind::NothingSampled]);
}

#[test]
fn a_layer_with_another_tracer_is_found_out() {
    use opentelemetry::trace::TracerProvider;
    let provider = SdkTracerProvider::builder().build();
    let foreign = tracing_opentelemetry::layer().with_tracer(provider.tracer("theirs"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(foreign), || {
        assert_eq!(problems(&in_memory()), [DiagnosticKind::OtherTracer]);
    });
}

#[tokio::test]
async fn a_second_trace_in_the_process_gets_its_spans() {
    let first = Rig::new(Trace::builder());
    let second = Rig::without_subscriber(Trace::builder());
    for rig in [&second, &first, &second] {
        let app = Router::new().route("/", on_get(instrumented)).layer(rig.trace.layer());
        ask(&app, get("/")).await;
    }
    let named = |rig: &Rig, name: &str| rig.spans().iter().filter(|span| span.name == name).count();
    assert_eq!((named(&first, "GET /"), named(&second, "GET /")), (1, 2));
    assert_eq!(problems(&first.trace), []);
    assert_eq!(problems(&second.trace), [DiagnosticKind::OtherTracer]);
    // What the subscriber makes goes where the subscriber's layer sends it, below the right parents.
    assert_eq!((named(&first, "instrumented"), named(&second, "instrumented")), (3, 0));
    let parents: Vec<_> = [&first, &second].iter().flat_map(|rig| rig.spans()).map(|span| span.span_context).collect();
    for span in first.spans().iter().filter(|span| span.name == "instrumented") {
        assert!(parents.iter().any(|parent| parent.span_id() == span.parent_span_id), "{span:?}");
    }
}

#[tracing::instrument]
async fn instrumented() {}

#[test]
fn a_receiver_that_is_down_is_found_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let check = || {
        let trace = Trace::builder().otlp(Otlp::new().endpoint(endpoint.clone())).build().unwrap();
        let subscriber = tracing_subscriber::registry().with(trace.tracing_layer());
        tracing::subscriber::with_default(subscriber, || problems(&trace))
    };
    assert_eq!(check(), []);
    drop(listener);
    assert_eq!(check(), [DiagnosticKind::Unreachable]);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_first_exchange_logs_what_is_wrong_once() {
    let lines = Lines::default();
    let writer = lines.clone();
    let fmt = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let _subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(fmt));
    let app = Router::new().route("/", on_get(|| async {})).layer(in_memory().layer());
    for _ in 0..3 {
        ask(&app, get("/")).await;
    }
    let logged = || String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for _ in 0..200 {
        if logged().contains("steeple_trace") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let log = logged();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("ERROR") && log.contains("no layer of tracing-opentelemetry"), "{log}");
}
