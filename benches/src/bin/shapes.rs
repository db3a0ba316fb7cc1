//! Times other shapes of requests than the tables': header counts, routes, statuses, bodies. Does the ranking hold?
//!
//! `cargo run --release -p steeple-benches --features peers --bin shapes [-- --results] [--rounds N]`. Nanoseconds over a layer
//! that does nothing, medians of interleaved rounds on one thread. Writes the ranking as well, and says where a peer costs less.

use steeple_benches::{
    output::{Part, number, rounds},
    rows::{BARE, BY_HAND, BY_HAND_TO_LAST_BYTE, EVERYTHING, FIVE, FULL, FULL_TUNED, IDENTITY, METRICS, Row, rows},
    shapes::{Shape, shapes},
    timing::{Rounds, Timed},
};

const ROUNDS: usize = 41;
const BATCHES: usize = 8;
const WARM_UP: usize = 40;

/// What does the same: ours, then the peer.
const RANKING: [(&str, &str); 9] = [
    ("request ids", "request-id"),
    ("traces, one in ten", "otel-tower"),
    ("errors", "sentry-tower"),
    (METRICS, BY_HAND),
    (METRICS, BY_HAND_TO_LAST_BYTE),
    (METRICS, "axum-prometheus"),
    (FIVE, "trace-json"),
    (EVERYTHING, FULL_TUNED),
    (EVERYTHING, FULL),
];

fn main() -> std::io::Result<()> {
    let is_ranked = |name| RANKING.iter().any(|(ours, theirs)| [*ours, *theirs].contains(&name));
    let is_wanted = |row: &Row| [BARE, IDENTITY].contains(&row.name) || is_ranked(row.name);
    let rows: Vec<Row> = rows().into_iter().filter(is_wanted).collect();
    let mut part = Part::new("shapes");
    let names: Vec<&str> = rows.iter().map(|row| row.name).filter(|name| *name != IDENTITY).collect();
    part.head(&[&["ns over `identity`"], names.as_slice()].concat());
    let mut ranks = RANKING.map(|(ours, theirs)| Rank { ours, theirs, shares: Vec::new() });
    let shapes = shapes();
    for shape in &shapes {
        let found = measure(shape, &rows, rounds(ROUNDS));
        let over = |name: &str| {
            let nanos = |name: &str| found.iter().find(|(found, _)| *found == name).map(|(_, nanos)| *nanos);
            Some(nanos(name)? - nanos(IDENTITY)?)
        };
        let mut cells = vec![shape.name.clone()];
        for (name, nanos) in &found {
            if *name == BARE {
                cells.push(number(*nanos, 0));
            } else if *name != IDENTITY {
                let over = over(name).unwrap_or(f64::NAN);
                part.figure(name, &shape.name, over);
                cells.push(number(over, 0));
            }
        }
        part.row(&cells);
        for rank in &mut ranks {
            if let (Some(ours), Some(theirs)) = (over(rank.ours), over(rank.theirs)) {
                rank.shares.push((shape.name.clone(), ours / theirs));
            }
        }
    }
    part.line("");
    part.line("`bare` is the whole request.\n");
    ranking(&mut part, &ranks);
    part.finish()
}

/// What ours costs of what a peer costs, by shape.
struct Rank {
    ours: &'static str,
    theirs: &'static str,
    shares: Vec<(String, f64)>,
}

fn ranking(part: &mut Part, ranks: &[Rank]) {
    if ranks.iter().all(|rank| rank.shares.is_empty()) {
        part.line("Measured without the peers (feature `peers`): there is nothing to compare.");
        return;
    }
    part.head(&["ours", "peer", "as in the tables, of the peer's", "worst shape", "costs less in", "costs more in"]);
    for Rank { ours, theirs, shares } in ranks {
        let Some((_, usual)) = shares.first() else { continue };
        let worst = shares.iter().max_by(|(_, one), (_, other)| one.total_cmp(other));
        let lost: Vec<_> = shares.iter().filter(|(_, share)| *share >= 1.0).map(|(shape, _)| shape.as_str()).collect();
        let won = f64::from(u32::try_from(shares.len().saturating_sub(lost.len())).unwrap_or(u32::MAX));
        part.figure(&format!("{ours} of {theirs}"), "won", won);
        part.figure(
            &format!("{ours} of {theirs}"),
            "shapes",
            won + f64::from(u32::try_from(lost.len()).unwrap_or(u32::MAX)),
        );
        part.row(&[
            format!("`{ours}`"),
            format!("`{theirs}`"),
            number(*usual, 2),
            worst.map_or_else(String::new, |(shape, share)| format!("{} ({shape})", number(*share, 2))),
            format!("{won} of {}", shares.len()),
            if lost.is_empty() { "none".to_owned() } else { format!("**{}**", lost.join("; ")) },
        ]);
    }
}

fn measure(shape: &Shape, rows: &[Row], rounds: usize) -> Vec<(&'static str, f64)> {
    let mut apps: Vec<Timed> = rows
        .iter()
        .map(|row| {
            let (shape, sampled) = (shape.clone(), row.sampled);
            Timed::new((row.build)(shape.router.clone()), move || shape.requests(sampled))
        })
        .collect();
    for app in &mut apps {
        app.slice(WARM_UP);
    }
    let mut found = Rounds::new(rows.len());
    for _ in 0..rounds {
        for (at, app) in apps.iter_mut().enumerate() {
            found.add(at, app.slice(BATCHES));
        }
    }
    rows.iter().enumerate().map(|(at, row)| (row.name, found.of(at).0)).collect()
}
