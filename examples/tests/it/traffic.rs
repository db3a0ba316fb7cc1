use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::extract::Request;
use axum::middleware::map_request;
use steeple_examples::taskboard::traffic;

use crate::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn the_traffic_counts_what_the_service_gets() {
    let received = Arc::new(AtomicU64::new(0));
    let count = {
        let received = Arc::clone(&received);
        move |request: Request| {
            received.fetch_add(1, Ordering::Relaxed);
            std::future::ready(request)
        }
    };
    let service = Service::start_with(None, |router| router.layer(map_request(count))).await;
    let rate = NonZeroU32::new(200).unwrap();
    let tally = traffic::run(service.address, rate, tokio::time::sleep(Duration::from_secs(3))).await;
    service.stop().await;

    assert_eq!(tally.sent(), received.load(Ordering::Relaxed), "{tally}");
    assert_eq!(tally.held_back(), 0);
    assert!((300..=700).contains(&tally.sent()), "200 a second for 3 s");
    let count = |outcome| tally.rows().filter(|(row, _)| row.outcome() == outcome).map(|(_, count)| count).sum::<u64>();
    for outcome in ["completed", "cancelled", "cancelled_in_body", "body_error", "panicked"] {
        assert!(count(outcome) > 0, "none {outcome}: {tally}");
    }
    assert_eq!(count("timed_out"), 0, "{tally}");
    // Nothing failed that was not meant to.
    for (row, _) in tally.rows() {
        assert!(row.status != Some(500) || row.route.starts_with("/lab/"), "{row:?}");
        assert!(row.seen != traffic::Seen::NoAnswer || row.route == "/lab/panic", "{row:?}");
    }
}
