//! Steeple over real sockets, with real clients and other people's tools. One binary: it links once.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that failed"
)]
#![expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "metrics are f64, and counts of a test are small and whole"
)]

/// Makes a test of each of these functions for either protocol.
macro_rules! over_both_protocols {
    ($($(#[$attribute:meta])* $name:ident),+ $(,)?) => {
        mod http1 {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let test = super::$name(steeple_tests::client::Protocol::Http1);
                tokio::time::timeout(steeple_tests::settle::PATIENCE, test).await.expect("it hangs");
            })+
        }

        mod http2 {
            $($(#[$attribute])* #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let test = super::$name(steeple_tests::client::Protocol::Http2);
                tokio::time::timeout(steeple_tests::settle::PATIENCE, test).await.expect("it hangs");
            })+
        }
    };
}

mod attack;
mod bodies;
mod bytes;
mod calls;
mod cut_off;
mod dashboard;
mod dashboard_day;
mod dashboard_fleet;
mod dashboard_grafana;
mod dashboard_process;
mod dashboard_shop;
mod defects;
mod docs_site;
mod ecosystem;
mod endings;
mod examples;
mod functions;
mod grpc;
mod house;
mod mixed;
mod otlp_metrics;
mod protocols;
mod receivers;
mod scrape;
mod secrets;
mod taskboard_errors;
mod taskboard_lines;
mod taskboard_metrics;
mod taskboard_traces;
mod times;
mod upgrades;
