//! Measures what is not a request of the tables: a job, an event that is tracked, a request that fails.
//!
//! `cargo run --release -p steeple-benches --bin work [-- [--results] [--rounds N]]`. Nanoseconds on the thread that does it, medians of
//! interleaved rounds, and allocations of that thread. What other threads do with it afterwards (lines are written, events scrubbed
//! and sent) is waited for between two rounds.
#![expect(clippy::cast_precision_loss, reason = "a program that measures and prints")]

use steeple_benches::{
    output::{Part, median, number, rounds, signed},
    timing::timed,
    work::{Running, Work, works},
};

const ROUNDS: usize = 301;
const WARM_UP: usize = 40;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let works = works();
    let mut running = works.iter().map(Work::start).collect::<Result<Vec<_>, _>>()?;
    for (work, running) in works.iter().zip(&mut running) {
        for _ in 0..WARM_UP {
            once(work, &mut **running, |running| running.run(work.times));
        }
    }
    let mut slices = vec![Vec::new(); works.len()];
    for _ in 0..rounds(ROUNDS) {
        for ((work, running), slices) in works.iter().zip(&mut running).zip(&mut slices) {
            once(work, &mut **running, |running| slices.push(timed(work.times, || running.run(work.times))));
        }
    }
    let mut part = Part::new("work");
    part.head(&["work", "ns", "over", "allocations", "bytes"]);
    let mut found: Vec<(&str, f64)> = Vec::new();
    for ((work, running), slices) in works.iter().zip(&mut running).zip(&slices) {
        let quiet = slices.iter().filter(|slice| slice.quiet).count();
        let choosy = quiet.saturating_mul(10) > slices.len();
        let kept = slices.iter().filter(|slice| !choosy || slice.quiet);
        let nanos = median(&mut kept.map(|slice| slice.nanos).collect::<Vec<_>>());
        let mut counted = allocation_counter::AllocationInfo::default();
        once(work, &mut **running, |running| counted = allocation_counter::measure(|| running.run(work.times)));
        let each = |total: u64| total as f64 / work.times as f64;
        let (count, bytes) = (each(counted.count_total), each(counted.bytes_total));
        for (what, value) in [("ns", nanos), ("allocations", count), ("bytes", bytes)] {
            part.figure(work.name, what, value);
        }
        let base = found.iter().find(|(name, _)| Some(*name) == work.over).map(|(_, nanos)| *nanos);
        part.row(&[
            work.name.to_owned(),
            number(nanos, 0),
            base.map_or_else(String::new, |base| signed(nanos - base, 0)),
            number(count, 1),
            number(bytes, 0),
        ]);
        found.push((work.name, nanos));
    }
    part.finish()?;
    Ok(())
}

/// One round of one work.
fn once(work: &Work, running: &mut dyn Running, run: impl FnOnce(&mut dyn Running)) {
    running.prepare(work.times);
    run(running);
    running.settle();
}
