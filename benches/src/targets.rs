//! The targets, and whether they are met.

use crate::{
    output::{Figures, head, number, row},
    rows::{BY_HAND, BY_HAND_TO_LAST_BYTE, EVERYTHING, FIVE, FULL, FULL_TUNED, IDENTITY, METRICS},
    socket::NGINX_LOG,
    work::{FAILS, SUCCEEDS},
};

/// Whether a crate is a vendor's SDK, none of which may come with the facade's default features.
pub fn is_of_vendor(name: &str) -> bool {
    ["sentry", "opentelemetry", "aws-sdk", "newrelic", "datadog"].iter().any(|vendor| name.starts_with(vendor))
}

/// One target: what, at most (or least) how much, how much it is.
struct Goal {
    what: &'static str,
    limit: &'static str,
    measured: Option<(String, bool)>,
}

/// The targets as a table, from what the programs saved. What no program has measured says so.
#[expect(clippy::too_many_lines, reason = "one table, a few lines for each of its rows")]
pub fn targets() -> String {
    let cost = Figures::read("cost");
    let (recording, scrape, socket) = (Figures::read("recording"), Figures::read("scrape"), Figures::read("socket"));
    let (growth, weight, shapes) = (Figures::read("growth"), Figures::read("weight"), Figures::read("shapes"));
    // The targets in instructions are for the build without the peers.
    let (instructions, beside_peers) = (Figures::read("instructions"), Figures::read("instructions-peers"));
    let work = Figures::read("work");
    let targets = [
        Goal {
            what: "core",
            limit: "330 ns, 2,000 instructions",
            measured: (|| {
                let nanos = cost.over("core", IDENTITY, "ns")?;
                let count = instructions.over("core", IDENTITY, "instructions")?;
                let text = format!("{} ns, {} instructions", number(nanos, 0), number(count, 0));
                Some((text, nanos <= 330.0 && count <= 2_000.0))
            })(),
        },
        Goal {
            what: "metrics + naming",
            limit: "less than by hand to the last byte in each of 12 shapes",
            measured: ranked(&shapes, BY_HAND_TO_LAST_BYTE, 12.0),
        },
        Goal {
            what: "metrics + naming",
            limit: "less than by hand to the head in 10 of 12 shapes",
            measured: ranked(&shapes, BY_HAND, 10.0),
        },
        Goal {
            what: "log line, metrics, naming, user, id, trace context",
            limit: "850 ns, 5 allocations",
            measured: nanos_and_allocations(&cost, FIVE, IDENTITY, 850.0, 5.0),
        },
        Goal {
            what: "everything",
            limit: "1,300 ns",
            measured: cost
                .over(EVERYTHING, IDENTITY, "ns")
                .map(|nanos| (format!("{} ns", number(nanos, 0)), nanos <= 1_300.0)),
        },
        Goal { what: "everything", limit: "a twentieth of `full`", measured: share(&cost, &beside_peers, FULL, 20.0) },
        Goal {
            what: "everything",
            limit: "a tenth of `full-tuned`",
            measured: share(&cost, &beside_peers, FULL_TUNED, 10.0),
        },
        Goal {
            what: "a request that fails, over one that succeeds, on its thread",
            limit: "15 µs",
            measured: (|| {
                let micros = (work.get(FAILS, "ns")? - work.get(SUCCEEDS, "ns")?) / 1_000.0;
                Some((format!("{} µs", number(micros, 1)), micros <= 15.0))
            })(),
        },
        Goal {
            what: "one recording of counter and histogram, handles kept",
            limit: "10 ns, no more on two threads",
            measured: recorded(&recording),
        },
        Goal {
            what: "trace context of an unsampled exchange, over `core`",
            limit: "60 ns, 0 allocations",
            measured: nanos_and_allocations(&cost, "trace context", "core", 60.0, 0.0),
        },
        Goal {
            what: "`/metrics`, 200 routes × 5 statuses × 14 buckets, slowest format",
            limit: "1.5 ms",
            measured: scrape.get("slowest", "ms").map(|ms| (format!("{} ms", number(ms, 2)), ms <= 1.5)),
        },
        Goal {
            what: "over a socket, under full load: throughput of everything",
            limit: "74 % of bare, or what nginx keeps with its log on",
            measured: (|| {
                let ours = socket.get(EVERYTHING, "wrk-throughput")?;
                let nginx = socket.get(NGINX_LOG, "wrk-throughput");
                let percent = |share: f64| format!("{} %", number(share * 100.0, 0));
                let text = match nginx {
                    Some(nginx) => format!("{}, nginx {}", percent(ours), percent(nginx)),
                    None => format!("{}, without nginx", percent(ours)),
                };
                Some((text, ours >= nginx.unwrap_or(1.0).min(0.74)))
            })(),
        },
        Goal {
            what: "over a socket: processor time a request",
            limit: "1.12 × bare",
            measured: (|| {
                let (loaded, at_rate) = (socket.get(EVERYTHING, "wrk-cpu")?, socket.get(EVERYTHING, "rate-cpu")?);
                let text = format!("{} × under full load, {} × at one rate", number(loaded, 2), number(at_rate, 2));
                Some((text, loaded <= 1.12 && at_rate <= 1.12))
            })(),
        },
        Goal {
            what: "over a socket, HTTP/2: throughput of everything",
            limit: "75 % of bare",
            measured: socket
                .get(EVERYTHING, "h2load-throughput")
                .map(|share| (format!("{} %", number(share * 100.0, 0)), share >= 0.75)),
        },
        Goal {
            what: "everything with 10,000 routes, of what it costs with one",
            limit: "flat: 1.2 ×",
            measured: flat(growth.get("1 routes", "over"), growth.get("10000 routes", "over")),
        },
        Goal {
            what: "a made-up path after a million of them, of what the first cost",
            limit: "flat: 1.2 ×",
            measured: flat(growth.get("made up", "ns at 1"), growth.get("made up", "ns at 10")),
        },
        Goal {
            what: "the facade by default, from clean",
            limit: "60 CPU s, 97 crates, no vendor's SDK",
            measured: (|| {
                let (seconds, vendors) = (weight.get("default", "seconds")?, weight.get("default", "vendors")?);
                let crates = weight.get("default", "crates")?;
                let text =
                    format!("{} s, {} crates, {} of them", number(seconds, 0), number(crates, 0), number(vendors, 0));
                Some((text, seconds <= 60.0 && crates <= 97.0 && vendors < 0.5))
            })(),
        },
    ];
    let mut text = head(&["what", "target", "measured", ""]);
    for Goal { what, limit, measured } in targets {
        let (measured, verdict) = match measured {
            Some((measured, true)) => (measured, "met"),
            Some((measured, false)) => (measured, "**missed**"),
            None => ("not measured".to_owned(), "**open**"),
        };
        text.push('\n');
        text.push_str(&row(&[what.to_owned(), limit.to_owned(), measured, verdict.to_owned()]));
    }
    text.push('\n');
    text
}

/// In how many shapes the metrics cost less than a peer.
fn ranked(shapes: &Figures, peer: &str, least: f64) -> Option<(String, bool)> {
    let rank = format!("{METRICS} of {peer}");
    let (won, of) = (shapes.get(&rank, "won")?, shapes.get(&rank, "shapes")?);
    Some((format!("{} of {}", number(won, 0), number(of, 0)), won >= least))
}

fn nanos_and_allocations(cost: &Figures, name: &str, base: &str, nanos: f64, count: f64) -> Option<(String, bool)> {
    let (found_nanos, found_count) = (cost.over(name, base, "ns")?, cost.over(name, base, "allocations")?);
    let text = format!("{} ns, {} allocations", number(found_nanos, 0), number(found_count, 1));
    // A table that grows once in a thousand requests is no allocation a request.
    Some((text, found_nanos <= nanos && found_count < count + 0.2))
}

fn share(cost: &Figures, instructions: &Figures, peer: &str, part: f64) -> Option<(String, bool)> {
    let times =
        |figures: &Figures, what| Some(figures.over(peer, IDENTITY, what)? / figures.over(EVERYTHING, IDENTITY, what)?);
    let of_time = times(cost, "ns")?;
    let of_count = times(instructions, "instructions");
    let text = format!(
        "1/{} of the time{}",
        number(of_time, 1),
        of_count.map_or_else(String::new, |times| format!(", 1/{} of the instructions", number(times, 1)))
    );
    Some((text, of_time >= part))
}

fn flat(first: Option<f64>, last: Option<f64>) -> Option<(String, bool)> {
    let times = last? / first?;
    Some((format!("{} ×", number(times, 2)), times <= 1.2))
}

fn recorded(recording: &Figures) -> Option<(String, bool)> {
    let (one, two) = (recording.get("handles kept", "ns")?, recording.get("handles kept", "ns2")?);
    Some((format!("{} ns, {} ns", number(one, 1), number(two, 1)), one <= 10.0 && two <= 10.0))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::is_of_vendor;

    #[test]
    fn the_facade_by_default_pulls_in_no_vendors_sdk_and_with_its_features_it_does() {
        let crates = |features: &[&str]| {
            let tree = ["tree", "--offline", "--package", "steeple", "--edges", "normal,build", "--prefix", "none"];
            let output = Command::new(env!("CARGO")).args(tree).args(features).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let default = crates(&[]);
        assert!(default.contains("steeple-core "), "{default}");
        assert_eq!(default.lines().find(|line| is_of_vendor(line)), None);
        let with = crates(&["--features", "sentry,trace"]);
        assert!(with.lines().any(|line| line.starts_with("sentry-core ")), "the list of names finds them: {with}");
        assert!(with.lines().any(|line| line.starts_with("opentelemetry_sdk ") && is_of_vendor(line)), "{with}");
    }
}
