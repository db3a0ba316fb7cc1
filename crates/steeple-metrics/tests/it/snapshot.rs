//! Snapshots and windows tell what happened, and quantiles are as near as they are said to be.

use std::{convert::Infallible, time::Duration};

use crate::support::{TestBody, call, request};
use http::Response;
use proptest::prelude::*;
use steeple_core::test_util::{ScriptedBody, Step};
use steeple_metrics::{Buckets, Metrics, Window};

async fn answer(metrics: &Metrics, route: &'static str, status: u16) {
    call(metrics, request("GET", route), |_| async move {
        Ok::<_, Infallible>(Response::builder().status(status).body(TestBody::default()).unwrap())
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_tells_requests_errors_and_latency_by_route() {
    let metrics = Metrics::new().unwrap();
    for status in [200, 200, 404, 503] {
        answer(&metrics, "/a", status).await;
    }
    let broken = ScriptedBody::new([Step::Fail("disk")]);
    call(&metrics, request("GET", "/b"), |_| async { Ok::<_, Infallible>(Response::new(broken)) }).await;
    let snapshot = metrics.snapshot();
    let a = snapshot.route("GET", "/a").unwrap();
    assert_eq!((a.requests, a.errors, a.timed(), a.error_ratio()), (4, 1, 4, Some(0.25)));
    assert!(a.quantile(0.5).unwrap() <= a.quantile(1.0).unwrap() && a.mean().unwrap() > Duration::ZERO);
    assert_eq!(snapshot.route("GET", "/b").unwrap().errors, 1, "its status was 200");
    assert!(snapshot.rate(a) > 0.0 && snapshot.in_flight == 0);
    assert!(a.quantile(1.1).is_none() && a.quantile(f64::NAN).is_none());
}

#[tokio::test]
async fn a_window_forgets_what_lies_before_it() {
    let metrics = Metrics::new().unwrap();
    answer(&metrics, "/before", 500).await;
    let mut window = Window::new(metrics.clone(), Duration::from_millis(60));
    answer(&metrics, "/a", 500).await;
    assert_eq!(window.tick().route("GET", "/a").unwrap().requests, 1);
    assert_eq!(window.tick().route("GET", "/before").unwrap().requests, 0, "it came before the window");
    tokio::time::sleep(Duration::from_millis(70)).await;
    answer(&metrics, "/a", 200).await;
    answer(&metrics, "/a", 200).await;
    let lately = window.tick();
    assert_eq!((lately.route("GET", "/a").unwrap().requests, lately.covers >= Duration::from_millis(60)), (3, true));
    tokio::time::sleep(Duration::from_millis(70)).await;
    let lately = window.tick();
    let a = lately.route("GET", "/a").unwrap();
    assert_eq!((a.requests, a.error_ratio(), a.quantile(0.5)), (0, None, None));
    for _ in 0..10_000 {
        window.tick();
    }
    let kept = format!("{window:?}").matches("in_flight").count();
    assert!((2..=121).contains(&kept), "{kept} snapshots");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn quantiles_are_within_the_documented_bound_of_the_exact_ones(
        exponents in proptest::collection::vec(3.0_f64..12.0, 1..400),
        q in 0.0_f64..=1.0,
    ) {
        // From 1 µs to 17 minutes, evenly over the orders of magnitude.
        let mut nanos: Vec<u64> = exponents.iter().map(|exponent| 10.0_f64.powf(*exponent) as u64).collect();
        let metrics = Metrics::new().unwrap();
        // The same cells as those of requests, whose durations no test can choose to the nanosecond.
        let waits = metrics.duration_histogram("wait_seconds", "Waits.", [], &Buckets::opentelemetry()).unwrap();
        for nanos in &nanos {
            waits.observe([], Duration::from_nanos(*nanos));
        }
        nanos.sort_unstable();
        let rank = ((q * nanos.len() as f64).ceil() as usize).max(1);
        let exact = nanos[rank - 1] as f64 / 1e9;
        let found = waits.quantile([], q).unwrap().as_secs_f64();
        let bound = 2.0_f64.powf(1.0 / 16.0);
        prop_assert!(found <= exact * bound * 1.000_001 + 1e-6 && found >= exact / bound / 1.000_001 - 1e-6, "{found} for {exact}");
    }
}
