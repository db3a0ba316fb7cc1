//! Puts together what the other programs saved: the tables of the READMEs, the targets, the picture.
//!
//! `cargo run --release -p steeple-benches --bin report`, or `benches/run`, which runs the others before it. Reads
//! `benches/results/*.tsv`, writes `stacks.md`, `works.md`, `summary.md` and `targets.md` beside them and `benches/cost.svg`, and replaces
//! what stands between `<!-- results: NAME -->` and `<!-- /results -->` in README.md and benches/README.md.
#![expect(clippy::print_stderr, reason = "a program that says what is missing")]

use std::{fs, io, path::Path};

use steeple_benches::{
    output::{Figures, head, number, results, row, signed},
    picture::{Bar, bars},
    rows::{
        ALERTS, BARE, BY_HAND, BY_HAND_TO_LAST_BYTE, DASHBOARD, EVERYTHING, FIVE, FULL, FULL_TUNED, IDENTITY, METRICS,
        OTLP_METRICS, SDK_METRICS, WATCHED,
    },
    shapes::USUAL,
    targets::targets,
    work::works,
};

/// The rows of the tables, in their order; peers are those that come last.
const OURS: [&str; 20] = [
    BARE,
    IDENTITY,
    "core",
    "request ids",
    "naming",
    "users",
    "errors",
    "trace context",
    "traces, unsampled",
    "traces, one in ten",
    "traces, all",
    METRICS,
    DASHBOARD,
    WATCHED,
    ALERTS,
    OTLP_METRICS,
    SDK_METRICS,
    "log",
    FIVE,
    EVERYTHING,
];
const PEERS: [&str; 9] = [
    "request-id",
    "trace-json",
    BY_HAND,
    BY_HAND_TO_LAST_BYTE,
    "axum-prometheus",
    "otel-tower",
    "sentry-tower",
    FULL_TUNED,
    FULL,
];

fn main() -> io::Result<()> {
    let cost = Figures::read("cost");
    let instructions = Some(Figures::read("instructions-peers")).filter(|figures| !figures.is_empty());
    let instructions = instructions.unwrap_or_else(|| Figures::read("instructions"));
    fs::create_dir_all(results())?;
    fs::write(results().join("stacks.md"), stacks(&cost, &instructions))?;
    // Counted without the peers, which change what is built.
    fs::write(results().join("works.md"), work(&Figures::read("work"), &Figures::read("instructions")))?;
    fs::write(results().join("summary.md"), summary(&cost, &instructions, &Figures::read("shapes")))?;
    fs::write(results().join("targets.md"), targets())?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::write(here.join("cost.svg"), picture(&cost))?;
    splice(&here.join("README.md"))?;
    splice(&here.join("../README.md"))
}

/// Everything that is known of each stack.
fn stacks(cost: &Figures, instructions: &Figures) -> String {
    let columns = [
        "stack",
        "ns",
        "over",
        "× bare",
        "2 threads ns",
        "over",
        "× bare",
        "instructions",
        "over",
        "allocations",
        "over",
        "bytes",
    ];
    let mut text = head(&columns);
    for name in OURS.iter().chain(&PEERS).filter(|name| cost.get(name, "ns").is_some()) {
        let plain = |what, digits| cost.get(name, what).map_or_else(String::new, |value| number(value, digits));
        let over =
            |what, digits| cost.over(name, IDENTITY, what).map_or_else(String::new, |value| signed(value, digits));
        let count = instructions.get(name, "instructions").map_or_else(String::new, |value| number(value, 0));
        let more = instructions.over(name, IDENTITY, "instructions").map_or_else(String::new, |value| signed(value, 0));
        text.push('\n');
        text.push_str(&row(&[
            (*name).to_owned(),
            plain("ns", 0),
            over("ns", 0),
            plain("ratio", 2),
            plain("ns2", 0),
            over("ns2", 0),
            plain("ratio2", 2),
            count,
            more,
            plain("allocations", 1),
            over("allocations", 1),
            plain("bytes", 0),
        ]));
    }
    text.push('\n');
    text
}

/// What is not a request of the tables.
fn work(found: &Figures, instructions: &Figures) -> String {
    let mut text = head(&["work", "ns", "over", "instructions", "over", "allocations", "bytes"]);
    for work in works() {
        let plain = |figures: &Figures, what, digits| {
            figures.get(work.name, what).map_or_else(String::new, |value| number(value, digits))
        };
        let over = |figures: &Figures, what| {
            let over = work.over.and_then(|over| figures.over(work.name, over, what));
            over.map_or_else(String::new, |value| signed(value, 0))
        };
        text.push('\n');
        text.push_str(&row(&[
            work.over.map_or_else(|| work.name.to_owned(), |over| format!("{}, over \"{over}\"", work.name)),
            plain(found, "ns", 0),
            over(found, "ns"),
            plain(instructions, "instructions", 0),
            over(instructions, "instructions"),
            plain(found, "allocations", 1),
            plain(found, "bytes", 0),
        ]));
    }
    text.push('\n');
    text
}

/// What a reader of the first page wants to know.
fn summary(cost: &Figures, instructions: &Figures, shapes: &Figures) -> String {
    let rows = [
        ("Steeple: metrics", METRICS),
        ("by hand, with the `prometheus` crate, to the last byte", BY_HAND_TO_LAST_BYTE),
        ("by hand, to the response's head", BY_HAND),
        ("axum-prometheus", "axum-prometheus"),
        ("Steeple: log line, metrics, names, users, ids", FIVE),
        ("tower-http's `TraceLayer` with a JSON subscriber", "trace-json"),
        ("Steeple: errors armed", "errors"),
        ("sentry-tower", "sentry-tower"),
        ("**Steeple: everything**, errors armed, one trace in ten", EVERYTHING),
        ("what a team assembles today, tuned by an expert", FULL_TUNED),
        ("what a team assembles today", FULL),
    ];
    let mut text = head(&[
        "over a layer that does nothing",
        "ns a request",
        "ns in its worst shape",
        "instructions",
        "allocations",
    ]);
    for (label, name) in rows.iter().filter(|(_, name)| cost.get(name, "ns").is_some()) {
        let over = |figures: &Figures, what, digits| {
            figures.over(name, IDENTITY, what).map_or_else(String::new, |value| number(value, digits))
        };
        let worst =
            shapes.of(name).filter(|(shape, _)| *shape != USUAL).max_by(|(_, one), (_, two)| one.total_cmp(two));
        text.push('\n');
        text.push_str(&row(&[
            (*label).to_owned(),
            over(cost, "ns", 0),
            worst.map_or_else(String::new, |(shape, nanos)| format!("{} ({shape})", number(nanos, 0))),
            over(instructions, "instructions", 0),
            over(cost, "allocations", 1),
        ]));
    }
    text.push('\n');
    text
}

fn picture(cost: &Figures) -> String {
    let wanted = [
        ("Steeple: metrics", METRICS, true),
        ("by hand, to the last byte", BY_HAND_TO_LAST_BYTE, false),
        ("by hand, to the head", BY_HAND, false),
        ("axum-prometheus", "axum-prometheus", false),
        ("Steeple: log line", "log", true),
        ("TraceLayer, JSON", "trace-json", false),
        ("Steeple: errors armed", "errors", true),
        ("sentry-tower", "sentry-tower", false),
        ("Steeple: traces, one in ten", "traces, one in ten", true),
        ("opentelemetry-…-tower, one in ten", "otel-tower", false),
        ("Steeple: everything", EVERYTHING, true),
        ("today's stack, tuned", FULL_TUNED, false),
        ("today's stack", FULL, false),
    ];
    let bar = |(label, name, ours): (&str, &str, bool)| {
        Some(Bar { label: label.to_owned(), nanos: cost.over(name, IDENTITY, "ns")?, ours })
    };
    let found: Vec<Bar> = wanted.into_iter().filter_map(bar).collect();
    bars("Nanoseconds a request, over a layer that does nothing", &found)
}

/// Replaces what stands between the marks.
fn splice(file: &Path) -> io::Result<()> {
    const BEGIN: &str = "<!-- results: ";
    const END: &str = "<!-- /results -->";
    let old = fs::read_to_string(file)?;
    let (mut new, mut rest) = (String::new(), old.as_str());
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let Some((name, old)) = after.split_once(" -->") else { break };
        let Some((standing, after)) = old.split_once(END) else { break };
        new.push_str(before);
        new.push_str(BEGIN);
        new.push_str(name);
        new.push_str(" -->");
        if let Ok(text) = fs::read_to_string(results().join(name).with_extension("md")) {
            new.push_str("\n\n");
            new.push_str(text.trim());
            new.push_str("\n\n");
        } else {
            eprintln!("{}: there are no results called {name}; what stands there is left", file.display());
            new.push_str(standing);
        }
        new.push_str(END);
        rest = after;
    }
    new.push_str(rest);
    fs::write(file, new)
}
