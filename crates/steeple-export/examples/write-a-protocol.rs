//! A protocol for a receiver that takes one measurement a line, against one that answers 429 and 413, resets the connection, and
//! meets a panic in `encode`: `cargo run -p steeple-export --features test-util --example write-a-protocol`
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program shows what it does")]

use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use http::StatusCode;
use steeple_export::{
    Answer, Client, DropReason, Endpoint, Http, Pipeline, Protocol, Reason, Request, Response, Retry, Sink,
    test_util::{Receiver, Reply},
};
use steeple_scrub::{Scrubbed, Scrubber};

/// One measurement a line, as `name value`.
struct Lines(Endpoint);

static BUG: AtomicBool = AtomicBool::new(true);

impl Protocol for Lines {
    type Item = (String, f64);
    type Ready = (String, f64);

    fn size((name, _): &Self::Item) -> usize {
        name.len().saturating_add(32)
    }

    fn scrub(&mut self, item: Self::Item) -> Scrubbed<Self::Ready> {
        Scrubber::default().scrub_with(item, |scrubber, (name, _)| *name = scrubber.text(name).to_string())
    }

    fn encode(&mut self, batch: &[Scrubbed<Self::Ready>]) -> Result<Request, Reason> {
        let is_buggy = batch.iter().any(|line| line.0 == "bug");
        assert!(!is_buggy || !BUG.swap(false, Ordering::Relaxed), "a bug that shows once");
        let mut body = String::new();
        for line in batch {
            body.extend([&*line.0, " ", &line.1.to_string(), "\n"]);
        }
        Ok(Request::post(&self.0).content_type("text/plain").body(body))
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Self::Ready>]) -> Answer {
        // 400 means that one of the lines is wrong, and not which.
        let is_wrong = response.status == StatusCode::BAD_REQUEST;
        if is_wrong { Answer::Bisect(response.reason()) } else { Answer::of(response) }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let receiver = Receiver::start(|request, number| match number {
        0 => Reply::status(StatusCode::TOO_MANY_REQUESTS).with("retry-after", "1"),
        1 => Reply::Reset,
        2 => Reply::status(StatusCode::PAYLOAD_TOO_LARGE),
        _ if request.body.starts_with(b"wrong") => Reply::status(StatusCode::BAD_REQUEST),
        _ => Reply::ok(""),
    });
    let (client, endpoint) = (Client::builder().build()?, receiver.endpoint());
    client.check(&endpoint)?;
    let pipeline = Pipeline::builder("lines")
        .batch_items(4)
        .retry(Retry::new().base(Duration::from_millis(10)).max_retry_after(Duration::from_millis(50)))
        .build(move || Ok(Http::new(client.clone(), Lines(endpoint.clone()))))?;
    for name in ["one", "two", "wrong", "password=hunter2", "five", "bug", "seven", "eight", "nine"] {
        pipeline.push((name.to_owned(), 1.5));
    }
    let now = Instant::now();
    let report = pipeline.shutdown(now.checked_add(Duration::from_secs(30)).unwrap_or(now));
    let stats = pipeline.stats();
    println!("{} arrived, {} dropped, {} left", report.exported, report.dropped, report.left);
    for reason in DropReason::ALL.into_iter().filter(|reason| stats.dropped(*reason) > 0) {
        println!("  {reason}: {}", stats.dropped(reason));
    }
    println!("{} requests", receiver.received().len());
    Ok(())
}
