//! Counts the instructions of each row inside the request's path, with callgrind, and holds them against a baseline.
//!
//! `cargo run --release -p steeple-benches --bin instructions -- [--check | --write]`: prints the table; `--check` fails
//! when a count has grown by more than 5 % against `benches/instructions.txt`, `--write` makes the present counts the
//! new baseline. Counts hold still where nanoseconds do not: same binary, same inputs, same count.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that measures and prints")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    process::{Command, ExitCode},
};

use steeple_benches::{
    rows::rows,
    workload::{measured_request, requests},
};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
const TOLERANCE: f64 = 1.05;
const WARM_UP: usize = 2;
const ROUNDS: usize = 8;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
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
    let Some(row) = rows().into_iter().find(|row| row.name == name) else {
        eprintln!("no row is called {name:?}; there are {:?}", rows());
        return ExitCode::FAILURE;
    };
    let mut app = (row.build)();
    for _ in 0..WARM_UP + ROUNDS {
        for request in requests() {
            measured_request(&mut app, request);
        }
    }
    ExitCode::SUCCESS
}

fn table(arguments: &[String]) -> Result<(), String> {
    let baseline = fs::read_to_string(BASELINE).unwrap_or_default();
    let baseline: BTreeMap<&str, f64> = baseline
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, count)| Some((name, count.trim().parse().ok()?)))
        .collect();
    println!("| stack | instr/req | over bare | baseline |");
    println!("|---|--:|--:|--:|");
    let (mut written, mut grown, mut bare) = (String::new(), Vec::new(), None);
    for row in rows() {
        let count = count(row.name)?;
        let over = count - *bare.get_or_insert(count);
        let before = baseline.get(row.name).copied();
        println!(
            "| {} | {count:.0} | {over:+.0} | {} |",
            row.name,
            before.map_or_else(|| "-".to_owned(), |before| format!("{before:.0}"))
        );
        if before.is_some_and(|before| count > before * TOLERANCE) {
            grown.push(row.name);
        }
        writeln!(written, "{} {count:.0}", row.name).map_err(|error| error.to_string())?;
    }
    if arguments.iter().any(|argument| argument == "--write") {
        fs::write(BASELINE, written).map_err(|error| format!("cannot write {BASELINE}: {error}"))?;
    }
    if arguments.iter().any(|argument| argument == "--check") && !grown.is_empty() {
        return Err(format!("grown by more than 5 %: {}", grown.join(", ")));
    }
    Ok(())
}

fn count(name: &str) -> Result<f64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
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
    Ok(collected / ((WARM_UP + ROUNDS) * 64) as f64)
}
