//! Prints what each row costs per request: time, ratio to bare, allocations, bytes.
//!
//! `cargo run --release -p steeple-benches --bin cost [--features peers] [-- ROW…]`. Rows alternate every millisecond or
//! so; a time is the median over rounds, allocations are counted over 64 requests. Measure on an otherwise idle machine;
//! compare ratios, not nanoseconds. One thread.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a program that measures and prints"
)]

use std::time::Instant;

use steeple_benches::{
    rows::rows,
    workload::{App, measured_request, requests},
};

const ROUNDS: usize = 301;
const BATCHES_A_ROUND: usize = 20;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let rows: Vec<_> = rows()
        .into_iter()
        .filter(|row| wanted.is_empty() || row.name == "bare" || wanted.iter().any(|name| name == row.name))
        .collect();
    let mut apps: Vec<App> = rows.iter().map(|row| (row.build)()).collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::with_capacity(ROUNDS); rows.len()];
    for app in &mut apps {
        for _ in 0..200 {
            batch(app);
        }
    }
    for _ in 0..ROUNDS {
        for (app, times) in apps.iter_mut().zip(&mut times) {
            let mut nanos = 0.0;
            for _ in 0..BATCHES_A_ROUND {
                nanos += batch(app);
            }
            times.push(nanos / (BATCHES_A_ROUND * 64) as f64);
        }
    }
    println!("| stack | ns/req | over bare | × bare | allocs | + | bytes |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let mut bare = None;
    for ((row, app), times) in rows.iter().zip(&mut apps).zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let nanos = times.get(times.len() / 2).copied().unwrap_or_default();
        let (allocs, bytes) = allocations(app);
        let (bare_nanos, bare_allocs) = *bare.get_or_insert((nanos, allocs));
        println!(
            "| {} | {nanos:.0} | {:+.0} | {:.2} | {allocs:.1} | {:+.1} | {bytes:.0} |",
            row.name,
            nanos - bare_nanos,
            nanos / bare_nanos,
            allocs - bare_allocs,
        );
    }
}

fn batch(app: &mut App) -> f64 {
    let requests = requests();
    let start = Instant::now();
    for request in requests {
        measured_request(app, request);
    }
    start.elapsed().as_nanos() as f64
}

fn allocations(app: &mut App) -> (f64, f64) {
    let requests = requests();
    let info = allocation_counter::measure(|| {
        for request in requests {
            measured_request(app, request);
        }
    });
    // The vector of requests is given back inside: freed, not allocated.
    (info.count_total as f64 / 64.0, info.bytes_total as f64 / 64.0)
}
