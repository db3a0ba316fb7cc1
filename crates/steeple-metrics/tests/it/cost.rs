//! What recording and scraping cost, in allocations.

use std::convert::Infallible;

use crate::support::{TestBody, call, request};
use http::Response;
use steeple_core::{Exchange, Text};
use steeple_metrics::Metrics;

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Allocations of one call of a service that does nothing, under these metrics or under none.
fn allocations(metrics: Option<&Metrics>, route: &'static str) -> u64 {
    use steeple_core::ObserveLayer;
    use tower::{Layer, Service};

    let service = tower::service_fn(move |request: http::Request<TestBody>| {
        let exchange = request.extensions().get::<Exchange>().unwrap();
        exchange.report_route(Text::from_static(route));
        std::future::ready(Ok::<_, Infallible>(Response::new(TestBody::default())))
    });
    let mut service = ObserveLayer::new((metrics.cloned(),)).layer(service);
    let requests: Vec<_> = (0..100).map(|_| request("GET", route)).collect();
    run(async {
        service.call(request("GET", route)).await.unwrap();
        allocation_counter::measure(|| {
            for request in requests {
                let future = std::pin::pin!(service.call(request));
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(future.poll(&mut cx).is_ready());
            }
        })
        .count_total
    })
}

#[test]
fn recording_a_known_route_allocates_nothing() {
    let metrics = Metrics::new().unwrap();
    assert_eq!(allocations(Some(&metrics), "/known/{id}"), allocations(None, "/known/{id}"));
}

#[test]
fn a_scrape_allocates_in_proportion_to_its_output() {
    let metrics = Metrics::new().unwrap();
    run(async {
        for route in 0..200 {
            let route: &'static str = format!("/resource/{route}/items/{{id}}").leak();
            for status in [200, 201, 400, 404, 500] {
                call(&metrics, request("GET", route), |_| async move {
                    Ok::<_, Infallible>(Response::builder().status(status).body(TestBody::default()).unwrap())
                })
                .await;
            }
        }
    });
    for accept in ["text/plain", "application/openmetrics-text"] {
        let mut output = 0;
        let used = allocation_counter::measure(|| output = metrics.render(Some(accept), None).body.len() as u64);
        let page = metrics.render(Some(accept), None).body;
        let samples = std::str::from_utf8(&page).unwrap().lines().count() as u64;
        assert!(used.bytes_max < output * 4, "{accept}: {} bytes at once for {output}", used.bytes_max);
        assert!(used.count_total < samples, "{accept}: {} allocations for {samples} lines", used.count_total);
    }
}
