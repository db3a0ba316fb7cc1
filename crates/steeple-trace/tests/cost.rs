//! What this observer allocates on the path of a request, beside the same path without it.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    convert::Infallible,
    future::ready,
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use http_body::Body;
use opentelemetry_sdk::trace::InMemorySpanExporter;
use steeple_core::{Exchange, ObserveLayer, Observer, test_util::ScriptedBody};
use steeple_trace::{Sampling, TailSampling, Trace, TraceBuilder, Trust};
use tower::{Layer, Service, service_fn};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn called() -> Request<String> {
    Request::get("/users/7?page=2")
        .header("host", "shop.example")
        .header("user-agent", "curl/8")
        .header("traceparent", CALLER)
        .body(String::new())
        .unwrap()
}

/// Allocations of one request, from its head to its end, when everything is warm. Checks that it had a trace.
fn allocations<O: Observer>(observer: O, request: impl Fn() -> Request<String>, traced: bool) -> u64 {
    let mut service = ObserveLayer::new(observer).layer(service_fn(move |request: Request<String>| {
        let exchange = request.extensions().get::<Exchange>().unwrap();
        assert_eq!(exchange.trace().is_some(), traced);
        ready(Ok::<_, Infallible>(Response::new(ScriptedBody::default().admitting_its_end())))
    }));
    let mut call = |request| {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut cx) else { unreachable!("it is ready") };
        assert!(response.into_body().is_end_stream());
    };
    for _ in 0..16 {
        call(request());
    }
    let request = request();
    allocation_counter::measure(|| call(request)).count_total
}

fn built(builder: TraceBuilder) -> Trace {
    builder.build_with_exporter(InMemorySpanExporter::default()).unwrap()
}

#[test]
fn an_exchange_that_is_not_sampled_allocates_nothing_here() {
    let bare = allocations((), called, false);
    let off = || Trace::builder().sampling(Sampling::always_off());
    let cases = [
        ("never sampled", built(off())),
        ("of a stranger", built(off().trust(Trust::Nothing))),
        ("its caller did not sample", built(Trace::builder().sampling(Sampling::always_on().parent_based()))),
        ("not exported at all", Trace::builder().build().unwrap()),
    ];
    for (name, trace) in cases {
        let request = || {
            let mut request = called();
            if name == "its caller did not sample" {
                let refused = CALLER.replace("-01", "-00").parse().unwrap();
                request.headers_mut().insert("traceparent", refused);
            }
            request
        };
        assert_eq!(allocations(trace, request, true), bare, "{name}");
    }
    let without_headers = || Request::new(String::new());
    assert_eq!(allocations(built(off()), without_headers, true), allocations((), without_headers, false));
}

#[test]
fn the_counter_counts() {
    let bare = allocations((), called, false);
    assert!(allocations(built(Trace::builder()), called, true) > bare, "a span is not for nothing");
    let shown = built(Trace::builder().sampling(Sampling::always_off()).show_unsampled());
    assert!(allocations(shown, called, true) > bare, "nor are ids for others");
    let held = built(Trace::builder().sampling(Sampling::always_off()).tail_sampling(TailSampling::new()));
    assert!(allocations(held, called, true) > bare, "nor is holding");
}
