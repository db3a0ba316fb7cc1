//! Counts the instructions of each row inside the request's path, with callgrind, and holds them against a baseline.
//!
//! `cargo run --release -p steeple-benches --bin instructions -- [--check | --write] [--results]` prints the table.
//! `--check` fails
//! when a row's count has grown by more than 5 % against `benches/instructions.txt`, or is not in it, and says which and
//! by how much, or when one event takes more than its target; `--write` makes the present counts the new baseline. Needs `valgrind`. With
//! `--features peers` it counts the peers as well, and only prints.
//!
//! Counts hold still where nanoseconds do not: same binary, same inputs, same count. Another compiler, C library or
//! processor (which `memcpy` is chosen) makes other counts: write the baseline where it is checked.
#![expect(clippy::print_stderr, clippy::cast_precision_loss, reason = "a program that measures and prints")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    process::{Command, ExitCode},
};

use steeple_benches::{
    output::{Part, arguments, number, signed},
    rows::{IDENTITY, find, rows},
    tracking,
    work::{self, Running, Work, works},
    workload::{BATCH, answer, measured_request, requests},
};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
const TOLERANCE: f64 = 1.05;

/// All that is freed stays with its thread. Where it does not, an allocation costs 40 instructions or 400, after how
/// many others there were before: every change anywhere would move the counts.
const TUNABLES: &str = "glibc.malloc.tcache_count=60000";

/// Rounds that are not counted: queues and tables grow to their size.
const WARM_UP: usize = 40;
const ROUNDS: usize = 8;

fn main() -> ExitCode {
    let arguments = arguments();
    if let [flag, name] = arguments.as_slice()
        && flag == "--row"
    {
        return run_row(name);
    }
    match table(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The measured half: runs one row under callgrind, which collects inside of `measured_request` only.
fn run_row(name: &str) -> ExitCode {
    if let Some(work) = work::find(name) {
        return match run_work(&work) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let Some(row) = find(name) else {
        eprintln!("no row is called {name:?}; there are {:?} and {:?}", rows(), works());
        return ExitCode::FAILURE;
    };
    let mut app = row.app();
    for _ in 0..WARM_UP {
        for request in requests(row.sampled) {
            answer(&mut app, request);
        }
    }
    for _ in 0..ROUNDS {
        for request in requests(row.sampled) {
            measured_request(&mut app, request);
        }
    }
    ExitCode::SUCCESS
}

fn run_work(work: &Work) -> Result<(), Box<dyn std::error::Error>> {
    let mut running = work.start()?;
    for _ in 0..WARM_UP {
        running.prepare(work.times);
        running.run(work.times);
        running.settle();
    }
    for _ in 0..ROUNDS {
        running.prepare(work.times);
        measured_request_of_work(&mut *running, work.times);
        running.settle();
    }
    Ok(())
}

/// The name is what callgrind collects by.
#[inline(never)]
fn measured_request_of_work(running: &mut dyn Running, times: usize) {
    running.run(times);
}

fn table(arguments: &[String]) -> Result<(), String> {
    if cfg!(feature = "peers") && !arguments.is_empty() {
        return Err("the baseline is counted without the feature `peers`, which changes what is built".to_owned());
    }
    let baseline = fs::read_to_string(BASELINE).unwrap_or_default();
    let baseline: BTreeMap<&str, f64> = baseline
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, count)| Some((name, count.trim().parse().ok()?)))
        .collect();
    let mut part = Part::new(if cfg!(feature = "peers") { "instructions-peers" } else { "instructions" });
    part.head(&["stack", "instructions", "over", "baseline"]);
    let (mut counts, mut written, mut complaints) = (Vec::new(), String::new(), Vec::new());
    for row in rows() {
        counts.push((row.name, Some(IDENTITY), count(row.name, BATCH)?));
    }
    for work in works() {
        let counted = count(work.name, work.times)?;
        if tracking::is_event(work.name) && counted > tracking::TARGET {
            complaints.push(format!("{}: {counted:.0} instructions, the target is {:.0}", work.name, tracking::TARGET));
        }
        counts.push((work.name, work.over, counted));
    }
    let of = |name: &str| counts.iter().find(|(known, ..)| *known == name).map(|(.., count)| *count);
    for (name, over, count) in &counts {
        let (name, count, before) = (*name, *count, baseline.get(name).copied());
        part.figure(name, "instructions", count);
        let cells = [
            name.to_owned(),
            number(count, 0),
            over.and_then(of).map_or_else(String::new, |base| signed(count - base, 0)),
            before.map_or_else(String::new, |n| number(n, 0)),
        ];
        part.row(&cells);
        match before {
            // They have a target and need no baseline.
            None if tracking::is_event(name) => (),
            None => complaints.push(format!("{name}: {count:.0}, not in the baseline")),
            Some(before) if count > before * TOLERANCE => {
                let percent = (count / before - 1.0) * 100.0;
                complaints.push(format!("{name}: {before:.0} -> {count:.0} (+{percent:.1} %)"));
            }
            Some(_) => (),
        }
        if !tracking::is_event(name) {
            writeln!(written, "{name} {:.0}", count.ceil()).map_err(|error| error.to_string())?;
        }
    }
    part.finish().map_err(|error| error.to_string())?;
    if arguments.iter().any(|argument| argument == "--write") {
        fs::write(BASELINE, written).map_err(|error| format!("cannot write {BASELINE}: {error}"))?;
    }
    if arguments.iter().any(|argument| argument == "--check") && !complaints.is_empty() {
        return Err(format!(
            "instructions a request have grown by more than 5 %:\n  {}\nfind out why, or accept it with --write",
            complaints.join("\n  ")
        ));
    }
    Ok(())
}

fn count(name: &str, times: usize) -> Result<f64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .env("GLIBC_TUNABLES", TUNABLES)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured_request*")
        .arg(program)
        .args(["--row", name])
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.trim().parse::<f64>().ok())
        .ok_or_else(|| format!("valgrind said no count for {name}: {text}"))?;
    Ok(collected / (ROUNDS as f64 * times as f64))
}
