//! Is the cost of a request flat, from 1 to 10,000 routes, and over 1,000,000 paths that somebody makes up?
//!
//! `cargo run --release -p steeple-benches --bin growth [-- --results] [--rounds N]`. Nanoseconds with and without `everything`; resident memory
//! of this process before and after the made-up paths.
#![expect(clippy::cast_precision_loss, clippy::arithmetic_side_effects, reason = "a program that measures and prints")]

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::body::Body;
use steeple_benches::{
    output::{Part, median, number, rounds, signed},
    rows::{EVERYTHING, IDENTITY, Row, find},
    shapes::Shape,
    stacks,
    timing::{Rounds, Timed},
    workload::{App, BATCH, BROWSER, request, router},
};
use tower::{ServiceExt, util::BoxCloneSyncService};

const ROUNDS: usize = 301;
const BATCHES: usize = 20;
const PATHS: u64 = 1_000_000;

fn main() -> std::io::Result<()> {
    let mut part = Part::new("growth");
    part.head(&["routes", "identity ns", "everything ns", "over"]);
    for routes in [1, 100, 10_000] {
        let shape = Shape::routes(routes);
        // Each route must have been asked for: its series are there.
        let warm_up = (routes / BATCH + 1) * 2;
        let (identity, everything) = times(&shape, warm_up);
        part.figure(&shape.name, "over", everything - identity);
        let cells = [number(routes as f64, 0), number(identity, 0), number(everything, 0)];
        part.row(&[cells.as_slice(), &[signed(everything - identity, 0)]].concat());
    }
    part.line("");
    made_up(&mut part);
    part.finish()
}

fn times(shape: &Shape, warm_up: usize) -> (f64, f64) {
    let mut apps: Vec<Timed> = [IDENTITY, EVERYTHING]
        .iter()
        .filter_map(|name| find(name))
        .map(|row: Row| {
            let (shape, sampled) = (shape.clone(), row.sampled);
            Timed::new((row.build)(shape.router.clone()), move || shape.requests(sampled))
        })
        .collect();
    let mut found = Rounds::new(apps.len());
    for app in &mut apps {
        app.slice(warm_up.max(100));
    }
    for _ in 0..rounds(ROUNDS) {
        for (at, app) in apps.iter_mut().enumerate() {
            found.add(at, app.slice(BATCHES));
        }
    }
    (found.of(0).0, found.of(1).0)
}

/// Asks for a million paths, each once. What they cost at the beginning and at the end, what is left of them.
fn made_up(part: &mut Part) {
    let everything = stacks::everything();
    let metrics = everything.6.clone();
    let app: App = BoxCloneSyncService::new(
        stacks::watched(router(), everything).with_state::<()>(()).map_request(|request: http::Request<Body>| request),
    );
    let next = AtomicU64::new(0);
    let mut app = Timed::new(app, move || {
        let first = next.fetch_add(BATCH as u64, Ordering::Relaxed);
        let path = |number: u64| format!("/{number:x}/made-up/{}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        (first..first + BATCH as u64)
            .map(|number| request("GET", &path(number), Body::empty(), &BROWSER, number % 10 == 3))
            .collect()
    });
    app.slice(400);
    let series = || metrics.render(None, None).body.split(|byte| *byte == b'\n').count();
    let (resident_before, series_before) = (resident(), series());
    part.head(&["made-up paths so far", "ns", "RSS, MB", "lines of `/metrics`"]);
    part.row(&["0".to_owned(), String::new(), number(resident_before / 1e6, 1), number(series_before as f64, 0)]);
    for tenth in 1..=10_u64 {
        let batches = PATHS / 10 / BATCH as u64;
        let mut slices: Vec<f64> = (0..batches / 20).map(|_| app.slice(20).nanos).collect();
        let nanos = median(&mut slices);
        if matches!(tenth, 1 | 2 | 5 | 10) {
            part.figure("made up", &format!("ns at {tenth}"), nanos);
            let count = number((PATHS / 10 * tenth) as f64, 0);
            part.row(&[count, number(nanos, 0), number(resident() / 1e6, 1), number(series() as f64, 0)]);
        }
    }
    part.line("");
}

fn resident() -> f64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).map_or(f64::NAN, |pages| pages * 4096.0)
}
