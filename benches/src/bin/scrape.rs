//! Prints how long `/metrics` takes to render: 200 routes × 5 statuses, every family with data, in each format.
//!
//! `cargo run --release -p steeple-benches --bin scrape [-- --results]`. A figure is the median of 301 interleaved renders. Measure on an
//! otherwise idle machine.
#![expect(clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::{hint::black_box, process::ExitCode, time::Instant};

use axum::{Router, body::Body, extract::Path, routing::get};
use http::{Request, StatusCode};
use steeple_benches::{
    output::{Part, number},
    workload::block_on,
};
use steeple_metrics::Metrics;
use tower::ServiceExt;

const ROUTES: usize = 200;
const STATUSES: [u16; 5] = [200, 201, 404, 409, 503];
const ROUNDS: usize = 301;

const FORMATS: [(&str, &str); 3] = [
    ("text 0.0.4", "text/plain;version=0.0.4"),
    ("OpenMetrics 1.0", "application/openmetrics-text;version=1.0.0"),
    ("protobuf", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"),
];

fn main() -> ExitCode {
    let Ok(metrics) = Metrics::new() else { return ExitCode::FAILURE };
    fill(&metrics);
    let mut times = [const { Vec::new() }; FORMATS.len()];
    let mut bytes = [0; FORMATS.len()];
    for _ in 0..ROUNDS {
        for (((_, accept), times), bytes) in FORMATS.iter().zip(&mut times).zip(&mut bytes) {
            let start = Instant::now();
            let page = black_box(metrics.render(Some(accept), None));
            times.push(start.elapsed());
            *bytes = page.body.len();
        }
    }
    let mut part = Part::new("scrape");
    part.head(&["format", "ms", "bytes"]);
    let mut slowest = 0.0_f64;
    for (((name, _), times), bytes) in FORMATS.iter().zip(&mut times).zip(bytes) {
        times.sort();
        let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
        let millis = median.as_secs_f64() * 1e3;
        slowest = slowest.max(millis);
        part.row(&[(*name).to_owned(), number(millis, 2), bytes.to_string()]);
    }
    part.figure("slowest", "ms", slowest);
    if part.finish().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Answers each route with each status once.
fn fill(metrics: &Metrics) {
    let mut router = Router::new();
    for route in 0..ROUTES {
        router = router.route(&format!("/route{route}/{{status}}"), get(answer));
    }
    let app = router.layer(metrics.layer()).with_state::<()>(());
    for route in 0..ROUTES {
        for status in STATUSES {
            let request = Request::get(format!("/route{route}/{status}")).body(Body::empty()).unwrap_or_default();
            let Ok(response) = block_on(app.clone().oneshot(request));
            drop(response);
        }
    }
}

async fn answer(Path(status): Path<u16>) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or_default()
}
