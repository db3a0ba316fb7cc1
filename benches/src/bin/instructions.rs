//! Counts the instructions of each row inside the request's path, with callgrind, and holds them against a baseline.
//!
//! `cargo run --release -p steeple-benches --bin instructions -- [--check | --write]` prints the table. `--check` fails
//! when a row's count has grown by more than 5 % against `benches/instructions.txt`, or is not in it, and says which and
//! by how much; `--write` makes the present counts the new baseline. Needs `valgrind`. With
//! `--features peers` it counts the peers as well, and only prints.
//!
//! Counts hold still where nanoseconds do not: same binary, same inputs, same count. Another compiler, C library or
//! processor (which `memcpy` is chosen) makes other counts: write the baseline where it is checked.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a program that measures and prints"
)]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    process::{Command, ExitCode},
};

use steeple_benches::{
    rows::rows,
    workload::{answer, measured_request, requests},
};

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
const TOLERANCE: f64 = 1.05;

/// All that is freed stays with its thread. Where it does not, an allocation costs 40 instructions or 400, after how
/// many others there were before: every change anywhere would move the counts.
const TUNABLES: &str = "glibc.malloc.tcache_count=60000";

/// Rounds of 64 requests that are not counted: queues and tables grow to their size.
const WARM_UP: usize = 40;
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
    for _ in 0..WARM_UP {
        for request in requests() {
            answer(&mut app, request);
        }
    }
    for _ in 0..ROUNDS {
        for request in requests() {
            measured_request(&mut app, request);
        }
    }
    ExitCode::SUCCESS
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
    println!("| stack | instr/req | over bare | baseline |");
    println!("|---|--:|--:|--:|");
    let (mut written, mut complaints, mut bare) = (String::new(), Vec::new(), None);
    for row in rows() {
        let count = count(row.name)?;
        let over = count - *bare.get_or_insert(count);
        let before = baseline.get(row.name).copied();
        println!(
            "| {} | {count:.0} | {over:+.0} | {} |",
            row.name,
            before.map_or_else(|| "-".to_owned(), |before| format!("{before:.0}"))
        );
        match before {
            None => complaints.push(format!("{}: {count:.0}, not in the baseline", row.name)),
            Some(before) if count > before * TOLERANCE => {
                let percent = (count / before - 1.0) * 100.0;
                complaints.push(format!("{}: {before:.0} -> {count:.0} (+{percent:.1} %)", row.name));
            }
            Some(_) => (),
        }
        writeln!(written, "{} {count:.0}", row.name).map_err(|error| error.to_string())?;
    }
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

fn count(name: &str) -> Result<f64, String> {
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
    Ok(collected / (ROUNDS * 64) as f64)
}
