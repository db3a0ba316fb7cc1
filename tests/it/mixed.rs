//! Requests in = ends out, whatever the mix.

use steeple_core::{ObserveLayer, test_util::RecordingObserver};
use steeple_tests::{
    lab::Lab,
    mixed::{self, BothLabs, Counts},
    server::Server,
    settle::settle,
};
use tower::Layer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the table is what somebody runs this test to see")]
async fn ten_thousand_exchanges_of_every_ending_end_once_each_as_their_clients_caused() {
    let (lab, observer) = (Lab::new(), RecordingObserver::new());
    let watched = ObserveLayer::new(observer.clone()).layer(BothLabs(lab.clone()));
    let server = Server::start(watched).await;
    let tally = mixed::run(&server, &lab, 10_000, 64).await;
    assert_eq!(tally.sent(), 10_000);
    let mut counts = Counts::new();
    for (exchange, end) in settle(&observer, 10_000).await {
        *counts.entry((exchange.name().to_string(), end.outcome)).or_default() += 1;
    }
    println!("{}", tally.table(&counts));
    tally.check("the observer", &counts);
}
