//! Waiting for what a server sees a moment after its client did.

use std::time::Duration;

use steeple_core::{End, Exchange, test_util::RecordingObserver};

/// How long anything may take that is not meant to. Far more than needed: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the observer has seen this many ends and nothing is in flight, then returns the ends.
///
/// # Panics
/// When that does not come, when there are more ends, or when a poll was entered and never left.
#[track_caller]
pub fn settle(observer: &RecordingObserver, want: usize) -> impl Future<Output = Vec<(Exchange, End)>> {
    let caller = std::panic::Location::caller();
    let observer = observer.clone();
    async move {
        let settled = wait_until(|| observer.started() == want && observer.in_flight() == 0).await;
        let ended = observer.ended();
        let seen = || ended.iter().map(|(exchange, end)| format!("{} {}", exchange.name(), end.outcome));
        assert!(
            settled,
            "{caller}: want {want} ends; {} began, {} are in flight, the last ends were {:?}",
            observer.started(),
            observer.in_flight(),
            seen().rev().take(5).collect::<Vec<_>>(),
        );
        assert_eq!(ended.len(), want, "{caller}: each exchange ends once");
        let (entered, exited) = observer.polls();
        assert_eq!(entered, exited, "{caller}: every poll that was entered was left");
        ended
    }
}

/// Waits until this holds; `false` if it does not come to hold.
pub async fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.is_ok()
}
