//! Times one recording: a counter and a histogram of three labels, on one thread and on two.
//!
//! `cargo run --release -p steeple-benches --bin recording [-- --results]`. Beside Steeple's families the `prometheus` crate's,
//! each with handles that are kept and with labels that are looked up. What is recorded is at hand: no clock is read.
//! Medians of interleaved rounds; on two threads both record into the same series at the same time.
#![expect(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a program that measures reads the clock itself, and a float holds its nanoseconds"
)]

use std::{
    hint::black_box,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts};
use steeple_benches::output::{Part, median, number};
use steeple_metrics::{Buckets, Metrics};

const ROUNDS: usize = 501;
const RECORDINGS: u32 = 20_000;
const LABELS: [&str; 3] = ["method", "route", "status_code"];
const VALUES: [&str; 3] = ["GET", "/users/{id}", "200"];

/// Records this duration once.
type Recording = Box<dyn Fn(Duration) + Send + Sync>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let metrics = Metrics::new()?;
    let mut part = Part::new("recording");
    part.head(&["one recording of counter and histogram", "ns", "2 threads ns"]);
    let recordings = recordings(&metrics)?;
    let mut times = vec![(Vec::new(), Vec::new()); recordings.len()];
    for _ in 0..ROUNDS {
        for ((_, recording), (alone, beside)) in recordings.iter().zip(&mut times) {
            alone.push(nanos(recording));
            beside.push(nanos_beside(recording));
        }
    }
    for ((name, _), (alone, beside)) in recordings.iter().zip(&mut times) {
        let (alone, beside) = (median(alone), median(beside));
        part.figure(name, "ns", alone);
        part.figure(name, "ns2", beside);
        part.row(&[(*name).to_owned(), number(alone, 1), number(beside, 1)]);
    }
    part.finish()?;
    Ok(())
}

fn recordings(metrics: &Metrics) -> Result<Vec<(&'static str, Recording)>, Box<dyn std::error::Error>> {
    let count = metrics.counter("bench_total", "Recordings.", LABELS)?;
    let durations = metrics.duration_histogram("bench_seconds", "Durations.", LABELS, &Buckets::opentelemetry())?;
    let (kept_count, kept_durations) = (count.with(VALUES), durations.with(VALUES));
    let peer_count = IntCounterVec::new(Opts::new("bench_total", "Recordings."), &LABELS)?;
    let peer_durations = HistogramVec::new(HistogramOpts::new("bench_seconds", "Durations."), &LABELS)?;
    let kept_peer_count = peer_count.with_label_values(&VALUES);
    let kept_peer_durations = peer_durations.with_label_values(&VALUES);
    Ok(vec![
        (
            "handles kept",
            Box::new(move |duration| {
                kept_count.inc();
                kept_durations.observe(duration);
            }),
        ),
        (
            "labels looked up",
            Box::new(move |duration| {
                count.inc(black_box(VALUES));
                durations.observe(black_box(VALUES), duration);
            }),
        ),
        (
            "prometheus, handles kept",
            Box::new(move |duration| {
                kept_peer_count.inc();
                kept_peer_durations.observe(duration.as_secs_f64());
            }),
        ),
        (
            "prometheus, labels looked up",
            Box::new(move |duration| {
                peer_count.with_label_values(&black_box(VALUES)).inc();
                peer_durations.with_label_values(&black_box(VALUES)).observe(duration.as_secs_f64());
            }),
        ),
    ])
}

fn nanos(record: &Recording) -> f64 {
    let start = Instant::now();
    for number in 0..RECORDINGS {
        record(Duration::from_micros(u64::from(black_box(number) % 4_096)));
    }
    start.elapsed().as_nanos() as f64 / f64::from(RECORDINGS)
}

/// Two threads at once: the mean of both.
fn nanos_beside(record: &Recording) -> f64 {
    let barrier = Barrier::new(2);
    let both = thread::scope(|scope| {
        let run = || {
            barrier.wait();
            nanos(record)
        };
        let other = scope.spawn(run);
        let mine = run();
        other.join().map(|theirs| f64::midpoint(mine, theirs))
    });
    both.unwrap_or(f64::NAN)
}
