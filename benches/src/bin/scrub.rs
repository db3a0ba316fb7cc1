//! Measures what scrubbing costs where there is nothing to scrub: nearly always.
//!
//! `cargo run --release -p steeple-benches --bin scrub`. Beside each surface stands `regex::RegexSet`, asked whether one of
//! 12 shapes of secrets is in the same bytes: fewer than the scrubber knows, and only the answer, no replacing. A time is
//! the median over rounds, a ratio the median of the rounds' ratios; instructions are counted where `valgrind` is.
//! Measure on an otherwise idle machine; compare ratios, not nanoseconds.
#![expect(clippy::cast_precision_loss, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::{hint::black_box, process::Command, time::Instant};

use http::HeaderMap;
use regex::bytes::{RegexSet, RegexSetBuilder};
use steeple_benches::output::{Part, number};
use steeple_scrub::Scrubber;

const ROUNDS: usize = 301;
const CALLS: u32 = 64;
const COUNTED: u32 = 256;

/// What is scrubbed, as which surface.
enum Input {
    Headers(HeaderMap),
    Text(String),
    Query(String),
    Path(String),
    Json(serde_json::Value, String),
}

struct Case {
    name: &'static str,
    input: Input,
}

impl Case {
    fn new(name: &'static str, input: Input) -> Self {
        Self { name, input }
    }

    /// Scrubs it, and says how much came out. What the instruction counts cover: this and nothing else.
    #[inline(never)]
    fn measured_scrub(&self, scrubber: &Scrubber) -> usize {
        match &self.input {
            Input::Headers(headers) => scrubber.headers(headers).map(|(_, value)| value.len()).sum(),
            Input::Text(text) => scrubber.text(text).len(),
            Input::Query(query) => scrubber.query(query).len(),
            Input::Path(path) => scrubber.path(path).len(),
            Input::Json(value, _) => {
                let mut value = value.clone();
                scrubber.json(&mut value);
                usize::from(value.is_object())
            }
        }
    }

    /// What `measured_scrub` needs beside the scrubber: a document that is scrubbed in place is copied first.
    fn prepare(&self) -> usize {
        match &self.input {
            Input::Json(value, _) => usize::from(black_box(value.clone()).is_object()),
            Input::Headers(_) | Input::Text(_) | Input::Query(_) | Input::Path(_) => 0,
        }
    }

    fn match_shapes(&self, shapes: &RegexSet) -> usize {
        match &self.input {
            Input::Headers(headers) => {
                headers.values().map(|value| usize::from(shapes.is_match(value.as_bytes()))).sum()
            }
            Input::Text(text) | Input::Query(text) | Input::Path(text) | Input::Json(_, text) => {
                usize::from(shapes.is_match(text.as_bytes()))
            }
        }
    }
}

fn cases() -> Vec<Case> {
    let calm =
        "the cart of this customer was empty so that nothing had to be done for it and the queue went on to more";
    let busy =
        "order 81723 saved in 12ms: status=201 items=3 total=59.90 currency=EUR user=u-42 region=eu-west-1 retry=0";
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "shop.example.org"),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        ),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-US,en;q=0.9,de;q=0.8"),
        ("cache-control", "max-age=0"),
        ("referer", "https://shop.example.org/users?page=2"),
        ("sec-ch-ua", "\"Chromium\";v=\"126\", \"Not/A)Brand\";v=\"8\""),
        ("sec-ch-ua-mobile", "?0"),
        ("sec-ch-ua-platform", "\"Linux\""),
        ("sec-fetch-mode", "navigate"),
        ("upgrade-insecure-requests", "1"),
        ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    let mut agent = HeaderMap::new();
    agent.extend(headers.get("user-agent").map(|value| (http::header::USER_AGENT, value.clone())));
    let document = serde_json::json!({
        "items": (4_711..4_723).map(|id| serde_json::json!({
            "id": id, "title": "A kettle of steel, 1.7 litres", "price": 39.9, "tags": ["kitchen", "new"],
        })).collect::<Vec<_>>(),
        "page": 2, "currency": "EUR",
    });
    let written = document.to_string();
    vec![
        Case::new("headers of a browser", Input::Headers(headers)),
        Case::new("user agent", Input::Headers(agent)),
        Case::new("text, 100 B of letters", Input::Text(calm.to_owned())),
        Case::new("text, 100 B, digits, pairs", Input::Text(busy.to_owned())),
        Case::new("text, 4 kB", Input::Text([calm, "\n", busy, "\n"].concat().repeat(20))),
        Case::new("path", Input::Path("/api/v1/users/42/orders".to_owned())),
        Case::new("query", Input::Query("tab=orders&page=2&sort=date&filter=open".to_owned())),
        Case::new("JSON, 1 kB", Input::Json(document, written)),
    ]
}

fn shapes() -> Result<RegexSet, String> {
    RegexSetBuilder::new([
        r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*",
        r"\bAKIA[0-9A-Z]{16}\b",
        r"\bAIza[0-9A-Za-z_-]{35}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{36}\b",
        r"\bxox[abprs]-[0-9A-Za-z-]{10,}",
        r"\b[sr]k_(live|test)_[0-9A-Za-z]{16,}",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
        r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}",
        r"[a-z][a-z0-9+.-]*://[^\s/@:]+:[^\s/@]+@",
        r"\b(?:\d[ -]?){13,19}\b",
        r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}",
        r"(?i)(password|passwd|secret|token|api[_-]?key)\s*[=:]\s*\S+",
    ])
    .unicode(false)
    .build()
    .map_err(|error| error.to_string())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (cases, scrubber, shapes) = (cases(), Scrubber::default(), shapes()?);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = arguments.as_slice()
        && flag == "--case"
    {
        for case in cases.iter().filter(|case| case.name == name) {
            for _ in 0..COUNTED {
                black_box(case.measured_scrub(&scrubber));
            }
        }
        return Ok(());
    }
    let mut part = Part::new("scrub");
    part.head(&["clean", "bytes in", "ns", "RegexSet ns", "× RegexSet", "allocations", "instructions"]);
    for case in &cases {
        let (mut times, mut others, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let copying = time(|| case.prepare());
            let ours = (time(|| case.measured_scrub(&scrubber)) - copying).max(0.0);
            let other = time(|| case.match_shapes(&shapes));
            times.push(ours);
            others.push(other);
            ratios.push(ours / other);
        }
        let allocations = |run: &dyn Fn() -> usize| {
            allocation_counter::measure(|| {
                black_box(run());
            })
            .count_total as f64
        };
        let allocated = allocations(&|| case.measured_scrub(&scrubber)) - allocations(&|| case.prepare());
        let (ours, other, ratio) = (median(times), median(others), median(ratios));
        let counted = instructions(case.name);
        for (what, value) in
            [("ns", ours), ("ratio", ratio), ("allocations", allocated), ("instructions", counted.unwrap_or(f64::NAN))]
        {
            part.figure(case.name, what, value);
        }
        part.row(&[
            case.name.to_owned(),
            bytes(case).to_string(),
            number(ours, 0),
            number(other, 0),
            number(ratio, 2),
            number(allocated, 0),
            counted.map_or_else(String::new, |count| number(count, 0)),
        ]);
    }
    part.finish()?;
    Ok(())
}

/// Nanoseconds a call.
fn time(mut call: impl FnMut() -> usize) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        black_box(call());
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn bytes(case: &Case) -> usize {
    match &case.input {
        Input::Headers(headers) => headers.values().map(http::HeaderValue::len).sum(),
        Input::Text(text) | Input::Query(text) | Input::Path(text) | Input::Json(_, text) => text.len(),
    }
}

/// Instructions a call, with the copying of a document in it. `None` without `valgrind`.
fn instructions(name: &str) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured_scrub*")
        .arg(std::env::current_exe().ok()?)
        .args(["--case", name])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"))?.1.trim().parse::<f64>().ok()?;
    Some(collected / f64::from(COUNTED))
}
