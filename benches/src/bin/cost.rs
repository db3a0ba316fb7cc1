//! Measures what each row costs per request: time on one thread and on two, ratio to bare, allocations, bytes.
//!
//! `cargo run --release -p steeple-benches --bin cost [--features peers] [-- [--results] [--rounds N] ROW…]`. Rows
//! alternate every millisecond or so. A time is the median over rounds, a ratio the median of the rounds' ratios;
//! allocations are counted over 64 requests. Measure on an otherwise idle machine; compare ratios, not nanoseconds.
#![expect(clippy::cast_precision_loss, reason = "a program that measures and prints")]

use steeple_benches::{
    output::{Part, arguments, number, signed},
    rows::{BARE, IDENTITY, Row, rows},
    timing::{Partner, Rounds, Timed},
    workload::{App, BATCH, measured_request, requests},
};

const ROUNDS: usize = 301;
const BATCHES: usize = 20;
const WARM_UP: usize = 200;

fn main() -> std::io::Result<()> {
    let mut wanted = arguments();
    let rounds = take_rounds(&mut wanted);
    let is_wanted = |row: &Row| wanted.is_empty() || row.name == BARE || wanted.iter().any(|name| name == row.name);
    let rows: Vec<Row> = rows().into_iter().filter(is_wanted).collect();
    let mut apps: Vec<Timed> = rows.iter().map(timed).collect();
    let partner = Partner::start(apps.clone(), BATCHES)?;
    for app in &mut apps {
        for _ in 0..WARM_UP {
            app.batch();
        }
    }
    let (mut alone, mut beside) = (Rounds::new(rows.len()), Rounds::new(rows.len()));
    for _ in 0..rounds {
        for (at, app) in apps.iter_mut().enumerate() {
            alone.add(at, app.slice(BATCHES));
            beside.add(at, partner.slice(at, app, BATCHES));
        }
    }
    drop(partner);
    report(&rows, &alone, &beside)
}

fn report(rows: &[Row], alone: &Rounds, beside: &Rounds) -> std::io::Result<()> {
    let mut part = Part::new("cost");
    let columns = ["stack", "ns", "over", "× bare", "2 threads ns", "over", "× bare", "allocations", "over", "bytes"];
    part.head(&columns);
    let base = rows.iter().position(|row| row.name == IDENTITY).unwrap_or(0);
    let base_allocations = rows.get(base).map_or((0.0, 0.0), allocations);
    for (at, row) in rows.iter().enumerate() {
        let ((nanos, ratio), (both_nanos, both_ratio)) = (alone.of(at), beside.of(at));
        let (count, bytes) = allocations(row);
        for (what, value) in [
            ("ns", nanos),
            ("ratio", ratio),
            ("ns2", both_nanos),
            ("ratio2", both_ratio),
            ("allocations", count),
            ("bytes", bytes),
        ] {
            part.figure(row.name, what, value);
        }
        part.row(&[
            row.name.to_owned(),
            number(nanos, 0),
            signed(nanos - alone.of(base).0, 0),
            number(ratio, 2),
            number(both_nanos, 0),
            signed(both_nanos - beside.of(base).0, 0),
            number(both_ratio, 2),
            number(count, 1),
            signed(count - base_allocations.0, 1),
            number(bytes, 0),
        ]);
    }
    part.line("");
    part.line(format!(
        "\"Over\" is over `{IDENTITY}`. Nobody waited for a core in {:.0} % of slices on one thread, {:.0} % on two; the others \
         are left out.",
        alone.quiet_share() * 100.0,
        beside.quiet_share() * 100.0,
    ));
    part.finish()
}

fn timed(row: &Row) -> Timed {
    let sampled = row.sampled;
    Timed::new(row.app(), move || requests(sampled))
}

/// Takes `--rounds N` out of the arguments.
fn take_rounds(arguments: &mut Vec<String>) -> usize {
    let Some(at) = arguments.iter().position(|argument| argument == "--rounds") else { return ROUNDS };
    let taken: Vec<String> = arguments.drain(at..at.saturating_add(2).min(arguments.len())).collect();
    taken.get(1).and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS)
}

fn allocations(row: &Row) -> (f64, f64) {
    let mut app: App = row.app();
    for _ in 0..WARM_UP {
        for request in requests(row.sampled) {
            measured_request(&mut app, request);
        }
    }
    let requests = requests(row.sampled);
    let info = allocation_counter::measure(|| {
        for request in requests {
            measured_request(&mut app, request);
        }
    });
    // The vector of requests is given back inside: freed, not allocated.
    (info.count_total as f64 / BATCH as f64, info.bytes_total as f64 / BATCH as f64)
}
