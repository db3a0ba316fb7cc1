//! Requests in = ends = log lines = counts, whatever the mix.

use std::collections::BTreeMap;

use serde_json::Value;
use steeple_core::Outcome;
use steeple_tests::{
    lab::Lab,
    mixed::{self, BothLabs, Counts},
    page::Page,
    process,
    server::Server,
    settle::settle,
    stack::Stack,
};
use tower::Layer;

/// The most that one stack remembers; more exchanges are sent in rounds.
const ROUND: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the table is what somebody runs this test to see")]
async fn ten_thousand_exchanges_of_every_ending_are_as_many_log_lines_and_as_many_counts() {
    let exchanges: usize = process::parameter("STEEPLE_MIXED_EXCHANGES", 10_000);
    let (mut left, mut all, mut outcomes) = (exchanges, 0, BTreeMap::<&str, u64>::new());
    while left > 0 {
        let round = left.min(ROUND);
        for ((_, outcome), count) in a_round(round).await {
            *outcomes.entry(outcome.as_str()).or_default() += count;
            all += count;
        }
        left -= round;
    }
    assert_eq!(all, exchanges as u64);
    println!("{all} sent = counted = logged: {outcomes:?}");
}

/// Sends so many exchanges, and returns how they ended, once all sides agree.
#[expect(clippy::print_stdout, reason = "the table is what somebody runs this test to see")]
async fn a_round(exchanges: usize) -> Counts {
    let (lab, stack) = (Lab::new(), Stack::new());
    let server = Server::start(stack.layer().layer(BothLabs(lab.clone()))).await;
    let tally = mixed::run(&server, &lab, exchanges, 64).await;
    assert_eq!(tally.sent(), exchanges as u64);

    let mut ended = Counts::new();
    for (exchange, end) in settle(stack.observer(), exchanges).await {
        *ended.entry((exchange.name().to_string(), end.outcome)).or_default() += 1;
    }
    let logged = logged(&stack.access_lines());
    let page = stack.page();
    let counted = counted(&page);
    println!("{}", tally.table(&logged));

    let sum = |counts: &Counts| counts.values().sum::<u64>();
    let (observed, lines, counts) = (sum(&ended), sum(&logged), sum(&counted));
    println!("per signal, a round: {} sent, {observed} observed, {lines} logged, {counts} counted", tally.sent());
    tally.check("the observer", &ended);
    assert_eq!(logged, ended, "log lines");
    assert_eq!(counted, ended, "counts");
    assert_eq!(page.sum("http_requests_in_flight", &[]), 0.0);
    let upgraded: u64 = ended.iter().filter(|((_, outcome), _)| *outcome == Outcome::Upgraded).map(|(_, n)| n).sum();
    let timed = page.sum("http_request_duration_seconds_count", &[]);
    assert_eq!(timed, page.sum("http_requests_total", &[]) - upgraded as f64, "all but upgrades are timed");
    assert_eq!(page.sum("grpc_server_handling_seconds_count", &[]), page.sum("grpc_server_handled_total", &[]));
    assert_eq!(page.sum("grpc_server_started_total", &[]), page.sum("grpc_server_handled_total", &[]));
    ended
}

fn logged(lines: &[Value]) -> Counts {
    let mut counts = Counts::new();
    for line in lines {
        let outcome = Outcome::ALL.into_iter().find(|outcome| line["outcome"] == outcome.as_str());
        let name = line["transaction.name"].as_str().unwrap().to_owned();
        *counts.entry((name, outcome.expect("a known outcome"))).or_default() += 1;
    }
    counts
}

/// What Prometheus would tell: aborted by outcome; of the rest, upgraded by status, and all others completed.
fn counted(page: &Page) -> Counts {
    let mut counts: BTreeMap<(String, Outcome), f64> = BTreeMap::new();
    let mut add = |name: String, outcome, count: f64| *counts.entry((name, outcome)).or_default() += count;
    for sample in page.find("http_requests_total", &[]) {
        let method = sample.label("method");
        let upgraded = sample.label("status_code") == "101" || method == "CONNECT";
        let outcome = if upgraded { Outcome::Upgraded } else { Outcome::Completed };
        add(format!("{method} {}", sample.label("route")), outcome, sample.value);
    }
    for sample in page.find("http_requests_aborted_total", &[]) {
        let name = format!("{} {}", sample.label("method"), sample.label("route"));
        let outcome = Outcome::ALL.into_iter().find(|outcome| sample.label("outcome") == outcome.as_str()).unwrap();
        add(name.clone(), Outcome::Completed, -sample.value);
        add(name, outcome, sample.value);
    }
    for sample in page.find("grpc_server_handled_total", &[]) {
        let name = match (sample.label("grpc_service"), sample.label("grpc_method")) {
            ("_OTHER", "_OTHER") => "_OTHER".to_owned(),
            (service, method) => format!("{service}/{method}"),
        };
        // The families of go-grpc-middleware know codes, not outcomes; every call of the mix completes.
        add(name, Outcome::Completed, sample.value);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole")]
    counts.into_iter().filter(|(_, count)| *count != 0.0).map(|(key, count)| (key, count as u64)).collect()
}
