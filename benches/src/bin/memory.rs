//! Measures what an exchange in flight holds: 100,000 responses whose body streams and has nothing to say.
//!
//! `cargo run --release -p steeple-benches --bin memory [-- --results]`. Each row in a process of its own. Every response has
//! come as far as its first frame, as an SSE stream that is idle. Then all of them are dropped, as when clients leave, and as
//! many are begun again, five times in all: what was not freed makes the fifth peak higher than the first. That is how it
//! is asked, because the C library keeps what is freed, and lines and spans are freed by the threads that write them.
#![expect(clippy::print_stdout, clippy::print_stderr, clippy::cast_precision_loss, reason = "a program that measures")]

use std::{
    convert::Infallible,
    fs,
    pin::Pin,
    process::{Command, ExitCode},
    task::{Context, Poll},
};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::BodyExt;
use steeple_benches::{
    output::{Part, arguments, number},
    rows::{BARE, EVERYTHING, FIVE, find},
    workload::{App, BROWSER, block_on, request},
};
use tower::Service;

const STREAMS: usize = 100_000;
const WAVES: usize = 5;

fn main() -> ExitCode {
    let arguments = arguments();
    let result = match arguments.as_slice() {
        [flag, name] if flag == "--row" => row(name),
        _ => table(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn table() -> Result<(), String> {
    let mut part = Part::new("memory");
    part.head(&[
        "100,000 idle streams",
        "bytes allocated a stream",
        "RSS bytes a stream",
        "RSS at the fifth peak, of the first",
    ]);
    for name in [BARE, "core", FIVE, EVERYTHING] {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let output = Command::new(program).args(["--row", name]).output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let figures: Vec<f64> = text.split_ascii_whitespace().filter_map(|figure| figure.parse().ok()).collect();
        let [allocated, resident, again] = figures.as_slice() else {
            return Err(format!("{name} said no figures: {text}{}", String::from_utf8_lossy(&output.stderr)));
        };
        part.figure(name, "allocated", *allocated);
        part.figure(name, "again", *again);
        part.row(&[
            name.to_owned(),
            number(*allocated, 0),
            number(*resident, 0),
            format!("{} %", number(again * 100.0, 0)),
        ]);
    }
    part.finish().map_err(|error| error.to_string())
}

/// Measures one row in this process.
fn row(name: &str) -> Result<(), String> {
    let row = find(name).ok_or("no such row")?;
    let mut app = (row.build)(Router::new().route("/events", get(|| async { Body::new(Idle(true)) })));
    // Tables, buffers and queues grow to their size.
    drop(open(&mut app, 1_000));
    let before = resident();
    let mut held = Vec::new();
    let in_flight = allocation_counter::measure(|| held = open(&mut app, STREAMS)).bytes_current;
    let peak = resident() - before;
    drop(held);
    let mut again = peak;
    for _ in 1..WAVES {
        let held = open(&mut app, STREAMS);
        again = resident() - before;
        drop(held);
    }
    // The responses lie in a vector of ours, which is not an exchange's.
    let streams = STREAMS as f64;
    let ours = size_of::<Response<Body>>() as f64;
    let (allocated, of_system) = (in_flight as f64 / streams - ours, peak / streams - ours);
    println!("{allocated} {of_system} {}", again / peak);
    Ok(())
}

/// Begins streams, each read as far as its first frame.
fn open(app: &mut App, streams: usize) -> Vec<Response<Body>> {
    let mut held = Vec::with_capacity(streams);
    for number in 0..streams {
        let request = request("GET", "/events", Body::empty(), &BROWSER, number % 10 == 3);
        let response = block_on(async {
            let Ok(mut response) = app.call(request).await;
            let first = response.body_mut().frame().await;
            assert!(first.is_some_and(|frame| frame.is_ok()), "the stream has begun");
            response
        });
        held.push(response);
    }
    held
}

/// Resident bytes of this process, as Linux counts them.
fn resident() -> f64 {
    const PAGE: f64 = 4096.0;
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).map_or(f64::NAN, |pages| pages * PAGE)
}

/// Says one thing, then nothing for ever.
struct Idle(bool);

impl http_body::Body for Idle {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::take(&mut self.0) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"data: hello\n\n")))));
        }
        Poll::Pending
    }
}
