//! Times other shapes of requests than the tables': header counts, routes, statuses, bodies. Does the ranking hold?
//!
//! `cargo run --release -p steeple-benches --features peers --bin shapes [-- --results] [--rounds N]`. Nanoseconds over a layer
//! that does nothing, medians of interleaved rounds on one thread.

use steeple_benches::{
    output::{Part, arguments, number},
    rows::{BARE, EVERYTHING, FIVE, IDENTITY, METRICS, Row, rows},
    shapes::{Shape, shapes},
    timing::{Rounds, Timed},
};

const ROUNDS: usize = 41;
const BATCHES: usize = 8;
const WARM_UP: usize = 40;

/// Ours, then the peers that do the same, then what a team assembles.
const COLUMNS: [&str; 10] = [
    IDENTITY,
    METRICS,
    "hand-prom",
    "axum-prometheus",
    FIVE,
    "trace-json",
    "sentry-tower",
    EVERYTHING,
    "full",
    "full-tuned",
];

/// What must cost less than what, in every shape.
const RANKING: [(&str, &str); 4] =
    [(METRICS, "axum-prometheus"), (FIVE, "trace-json"), (EVERYTHING, "full"), (EVERYTHING, "full-tuned")];

/// Ours, and what a team writes by hand for one service: which is cheaper depends on the shape, and the table shows it.
const BY_HAND: (&str, &str) = (METRICS, "hand-prom");

fn main() -> std::io::Result<()> {
    let rounds = arguments().iter().skip_while(|a| *a != "--rounds").nth(1).and_then(|n| n.parse().ok());
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.name == BARE || COLUMNS.contains(&row.name)).collect();
    let mut part = Part::new("shapes");
    let names: Vec<&str> = rows.iter().map(|row| row.name).filter(|name| *name != IDENTITY).collect();
    part.head(&[&["ns over `identity`"], names.as_slice()].concat());
    let (mut broken, mut cheaper_by_hand) = (Vec::new(), Vec::new());
    let shapes = shapes();
    for shape in &shapes {
        let found = measure(shape, &rows, rounds.unwrap_or(ROUNDS));
        let over = |name: &str| {
            let nanos = |name: &str| found.iter().find(|(found, _)| *found == name).map(|(_, nanos)| *nanos);
            Some(nanos(name)? - nanos(IDENTITY)?)
        };
        let mut cells = vec![shape.name.clone()];
        for (name, nanos) in &found {
            if *name == BARE {
                cells.push(number(*nanos, 0));
            } else if *name != IDENTITY {
                cells.push(over(name).map_or_else(String::new, |nanos| number(nanos, 0)));
            }
        }
        part.row(&cells);
        if let (Some(ours), Some(theirs)) = (over(BY_HAND.0), over(BY_HAND.1))
            && theirs < ours
        {
            cheaper_by_hand.push(shape.name.clone());
        }
        for (less, more) in RANKING {
            if let (Some(ours), Some(theirs)) = (over(less), over(more)) {
                part.figure(&shape.name, &format!("{less} of {more}"), ours / theirs);
                if ours >= theirs {
                    broken.push(format!("{}: {less} costs {ours:.0} ns, {more} {theirs:.0} ns", shape.name));
                }
            }
        }
    }
    part.line("");
    if cfg!(feature = "peers") {
        let ranking: Vec<_> = RANKING.iter().map(|(less, more)| format!("`{less}` costs less than `{more}`")).collect();
        part.line(if broken.is_empty() {
            format!("`bare` is the whole request. In each of the {} shapes {}.", shapes.len(), ranking.join(", "))
        } else {
            format!("`bare` is the whole request. **The ranking does not hold:** {}.", broken.join("; "))
        });
        let ((ours, by_hand), count) = (BY_HAND, cheaper_by_hand.len());
        let which = if count == 0 { String::new() } else { format!(": {}", cheaper_by_hand.join("; ")) };
        part.line(format!(
            "`{by_hand}` costs less than `{ours}` in {count} of them{which}. `sentry-tower` is compared with none."
        ));
    }
    part.finish()
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
