//! Measures servers over a socket: throughput, processor time per request, latency at a fixed rate.
//!
//! `cargo build --release -p steeple-benches --features facade,peers && target/release/socket [--results] [--seconds N]`.
//! Each server is a process on core 0, the load comes from core 1; servers take turns, N seconds each (2 unless told
//! otherwise). Needs `taskset`, and `wrk` and `h2load` (Debian: `wrk`, `nghttp2-client`), and `nginx` for what its line costs in the
//! same rounds: what is absent is said and left out. Latency tails and processor time at one rate for all come from a generator of our own, which omits nothing and never
//! sleeps.
#![expect(clippy::print_stderr, reason = "a program that measures and prints")]

use std::{process::ExitCode, time::Duration};

use steeple_benches::{
    output::{Part, median, number, value_of},
    rows::{BARE, BY_HAND, BY_HAND_TO_LAST_BYTE, EVERYTHING, FIVE, FULL, FULL_TUNED, rows},
    socket::{Generator, Load, NGINX, NGINX_LOG, Server, Sink, Tails, at_rate, nginx_version, start_nginx},
};

const ROUNDS: usize = 7;
const RATE_ROUNDS: usize = 5;
/// What each server can take with room to spare: tails of one that is not overloaded.
const RATE: u32 = 20_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let seconds = value_of("--seconds").unwrap_or(2);
    let mut part = Part::new("socket");
    // Before the sink's threads are there: all that is not a server keeps off the servers' core.
    let pid = std::process::id().to_string();
    let pinned = std::process::Command::new("taskset").args(["-pc", "1", &pid]).output();
    pinned.map_err(|error| format!("cannot run taskset: {error}"))?;
    let sink = Sink::start().map_err(|error| error.to_string())?;
    let wanted = [BARE, "core", FIVE, EVERYTHING, BY_HAND, BY_HAND_TO_LAST_BYTE, FULL, FULL_TUNED];
    let known: Vec<&'static str> = rows().iter().map(|row| row.name).collect();
    let names: Vec<&'static str> = wanted.into_iter().filter(|name| known.contains(name)).collect();
    let mut under_wrk = names.clone();
    if nginx_version().is_some() {
        under_wrk.extend([NGINX, NGINX_LOG]);
    }
    throughput(&mut part, Generator::Wrk, &under_wrk, &sink, seconds)?;
    throughput(&mut part, Generator::H2load, &[BARE, EVERYTHING], &sink, seconds)?;
    at_fixed_rate(&mut part, &names, &sink, seconds)?;
    if sink.taken() == 0 {
        return Err("no spans have arrived at the sink: everything was not everything".to_owned());
    }
    part.finish().map_err(|error| error.to_string())
}

/// One run of one server.
struct Run {
    load: Load,
    cpu_micros: f64,
}

fn throughput(
    part: &mut Part,
    generator: Generator,
    names: &[&'static str],
    sink: &Sink,
    seconds: u64,
) -> Result<(), String> {
    if !generator.is_there() {
        let absent = format!("{} is not installed (Debian: {}): not measured.", generator.name(), generator.package());
        eprintln!("{absent}");
        part.line(format!("{absent}\n"));
        return Ok(());
    }
    let mut servers = Vec::new();
    for name in names {
        let server = match *name {
            NGINX | NGINX_LOG => start_nginx(*name == NGINX_LOG)?,
            name => Server::start(name, sink.port())?,
        };
        generator.run(server.port(), 1)?;
        servers.push((*name, server, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, server, runs) in &mut servers {
            let before = server.cpu_seconds();
            let load = generator.run(server.port(), seconds)?;
            runs.push(Run { load, cpu_micros: (server.cpu_seconds() - before) * 1e6 / load.requests });
        }
    }
    let typical = if generator == Generator::Wrk { "p50 µs" } else { "mean µs" };
    let what = if generator == Generator::Wrk { "HTTP/1.1, wrk" } else { "HTTP/2, h2load" };
    part.head(&[what, "requests/s", "× bare", "server CPU µs/request", "× bare", typical]);
    for (name, _, runs) in &servers {
        let base = if [NGINX, NGINX_LOG].contains(name) { NGINX } else { BARE };
        let base =
            servers.iter().find(|(name, ..)| *name == base).map(|(.., runs)| runs.as_slice()).unwrap_or_default();
        let rate = middle(runs.iter().map(|run| run.load.rate));
        let cpu = middle(runs.iter().map(|run| run.cpu_micros));
        let share = middle(runs.iter().zip(base).map(|(run, base)| run.load.rate / base.load.rate));
        let times = middle(runs.iter().zip(base).map(|(run, base)| run.cpu_micros / base.cpu_micros));
        let typical = middle(runs.iter().map(|run| run.load.typical_micros));
        part.figure(name, &format!("{}-throughput", generator.name()), share);
        part.figure(name, &format!("{}-cpu", generator.name()), times);
        part.row(&[
            (*name).to_owned(),
            number(rate, 0),
            number(share, 2),
            number(cpu, 2),
            number(times, 2),
            number(typical, 0),
        ]);
    }
    part.line("");
    if generator == Generator::Wrk {
        part.line(match nginx_version() {
            Some(version) => format!(
                "nginx {version}: × is of nginx with its log off. Its line is JSON of 17 variables, into `/dev/null` by a buffer of 256k.\n"
            ),
            None => "nginx is not installed (Debian: nginx-light): not measured.\n".to_owned(),
        });
    }
    Ok(())
}

fn at_fixed_rate(part: &mut Part, names: &[&'static str], sink: &Sink, seconds: u64) -> Result<(), String> {
    let requests = f64::from(RATE) * Duration::from_secs(seconds).as_secs_f64();
    let mut servers = Vec::new();
    for name in names {
        servers.push((name, Server::start(name, sink.port())?, Vec::<(Tails, f64)>::new()));
    }
    for _ in 0..RATE_ROUNDS {
        for (_, server, runs) in &mut servers {
            let before = server.cpu_seconds();
            let tails =
                at_rate(server.port(), RATE, Duration::from_secs(seconds)).map_err(|error| error.to_string())?;
            runs.push((tails, (server.cpu_seconds() - before) * 1e6 / requests));
        }
    }
    let columns =
        ["server CPU µs/request", "× bare", "p50 µs", "p99 µs", "p99.9 µs", "p99.9 µs, lowest and highest round"];
    part.head(&[&["at 20,000 requests/s"], &columns[..]].concat());
    let bare: Vec<f64> = servers.first().into_iter().flat_map(|(_, _, runs)| runs.iter().map(|run| run.1)).collect();
    for (name, _, runs) in &servers {
        let range = |pick: fn(f64, f64) -> f64, from| runs.iter().map(|(tails, _)| tails.p999).fold(from, pick);
        let times = middle(runs.iter().zip(&bare).map(|((_, cpu), bare)| cpu / bare));
        part.figure(name, "rate-cpu", times);
        part.row(&[
            (**name).to_owned(),
            number(middle(runs.iter().map(|(_, cpu)| *cpu)), 2),
            number(times, 2),
            number(middle(runs.iter().map(|(tails, _)| tails.p50)), 0),
            number(middle(runs.iter().map(|(tails, _)| tails.p99)), 0),
            number(middle(runs.iter().map(|(tails, _)| tails.p999)), 0),
            format!(
                "{} to {}",
                number(range(f64::min, f64::INFINITY), 0),
                number(range(f64::max, f64::NEG_INFINITY), 0)
            ),
        ]);
    }
    part.line("");
    Ok(())
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    median(&mut values.collect::<Vec<_>>())
}
