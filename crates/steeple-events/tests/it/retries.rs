//! A receiver that asks for time, and one that is in trouble: no request before the time, and one at a time until it is well.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use serde_json::{Value, json};
use steeple_core::clock;
use steeple_events::{Events, sink::Ga4};
use steeple_export::{
    Retry,
    store::NewRow,
    test_util::{Receiver, Reply},
};
use steeple_scrub::Scrubbed;

use crate::outbox::{PATIENCE, Scripted, durable, soon, until};

/// An event of a visitor whom Google knows: GA4 has 32 requests under way.
fn visit(events: &Events, number: usize) {
    let body = json!({"name": "visited", "client_id": format!("{number}.7"), "properties": {"number": number}});
    let row = NewRow {
        id: format!("01a20a66-4b8a-7456-8563-{number:012}").into(),
        at: clock::unix_now(),
        key: None,
        class: 1,
        body: Scrubbed::from_application(body.to_string().into()),
    };
    let (spool, size) = (events.spool().unwrap(), row.size());
    assert_eq!(spool.wait_blocking(spool.append(Arc::new(row), 1, size), false, PATIENCE), Ok(()));
}

fn number(body: &[u8]) -> u64 {
    serde_json::from_slice::<Value>(body).unwrap()["events"][0]["params"]["number"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_comes_before_the_time_that_one_of_many_under_way_was_told() {
    const AT_ONCE: usize = 8;
    let directory = tempfile::tempdir().unwrap();
    // The first answer has a `Retry-After`; the others fail a moment later without one, and so does the next request.
    let arrived = AtomicUsize::new(0);
    let receiver = Receiver::start(move |_, number| {
        arrived.fetch_max(number + 1, Ordering::SeqCst);
        if number >= AT_ONCE {
            let again = Reply::status(StatusCode::SERVICE_UNAVAILABLE).with("retry-after", "1");
            return if number == AT_ONCE { again } else { Reply::status(StatusCode::NO_CONTENT) };
        }
        while arrived.load(Ordering::SeqCst) < AT_ONCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        if number == 0 {
            return Reply::status(StatusCode::TOO_MANY_REQUESTS).with("retry-after", "2");
        }
        std::thread::sleep(Duration::from_millis(100));
        Reply::status(StatusCode::SERVICE_UNAVAILABLE)
    });
    let url = format!("http://{}", receiver.address());
    let events = durable(directory.path())
        .sink(Ga4::new("G-ABC", "secret").endpoint(url).http(|http| soon(http).timeout(PATIENCE)))
        .build()
        .unwrap();
    for number in 0..AT_ONCE {
        visit(&events, number);
    }
    until(|| receiver.received().len() >= AT_ONCE).await;
    // Meanwhile someone flushes: that shortens nothing.
    let flushes = events.clone();
    let flush = tokio::task::spawn_blocking(move || {
        flushes.sinks().iter().map(|sink| sink.flush(clock::now() + PATIENCE).left).sum::<u64>()
    });
    until(|| receiver.received().len() > 2 * AT_ONCE).await;
    let all = receiver.received();
    assert_eq!(flush.await.unwrap(), 0);
    let waited = |later: usize, earlier: usize| all[later].at.saturating_duration_since(all[earlier].at);
    assert!(waited(AT_ONCE, 0) >= Duration::from_secs(2), "{:?}", waited(AT_ONCE, 0));
    // One request asked whether it is well again, and no other before the time that it was told.
    assert!(waited(AT_ONCE + 1, AT_ONCE) >= Duration::from_secs(1), "{:?}", waited(AT_ONCE + 1, AT_ONCE));
    assert_eq!((receiver.received().len(), events.sink_stats()[0].delivered), (2 * AT_ONCE + 1, 8));
    let mut accepted = all[AT_ONCE + 1..].iter().map(|request| number(&request.body)).collect::<Vec<_>>();
    accepted.sort_unstable();
    assert_eq!(accepted, (0..8).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_storm_of_503_one_request_at_a_time_asks_whether_it_is_over() {
    const STORM: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let (asked, under_way, most) =
        (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let taken = Arc::<Mutex<BTreeMap<u64, usize>>>::default();
    let (asks, counts, peak, keeps) =
        (Arc::clone(&asked), Arc::clone(&under_way), Arc::clone(&most), Arc::clone(&taken));
    let receiver = Scripted::start(move |_, body| {
        let is_storm = asks.fetch_add(1, Ordering::SeqCst) < STORM;
        let at_once = counts.fetch_add(1, Ordering::SeqCst) + 1;
        if is_storm {
            peak.fetch_max(at_once, Ordering::SeqCst);
        } else {
            *keeps.lock().unwrap().entry(number(body)).or_default() += 1;
        }
        let counts = Arc::clone(&counts);
        async move {
            // Long enough for a second one to come meanwhile.
            tokio::time::sleep(Duration::from_millis(10)).await;
            counts.fetch_sub(1, Ordering::SeqCst);
            (if is_storm { 503 } else { 204 }, String::new())
        }
    })
    .await;
    let retry = Retry::new().base(Duration::from_millis(2)).cap(Duration::from_millis(10));
    let ga4 =
        Ga4::new("G-ABC", "secret").endpoint(&receiver.url).http(|http| soon(http).timeout(PATIENCE).retry(retry));
    let events = durable(directory.path()).sink(ga4).build().unwrap();
    visit(&events, 0);
    // The first one has failed before the others come.
    until(|| asked.load(Ordering::SeqCst) >= 2).await;
    for number in 1..100 {
        visit(&events, number);
    }
    until(|| events.sink_stats()[0].delivered == 100).await;
    assert_eq!(most.load(Ordering::SeqCst), 1, "requests at once while it was in trouble");
    assert_eq!(asked.load(Ordering::SeqCst), STORM + 100);
    assert!(taken.lock().unwrap().len() == 100 && taken.lock().unwrap().values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn up_to_32_requests_to_google_are_under_way_at_once() {
    const AT_ONCE: usize = 32;
    let directory = tempfile::tempdir().unwrap();
    let (under_way, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    // None is answered before so many are there.
    let all = Arc::new(tokio::sync::Barrier::new(AT_ONCE));
    let (counts, peak) = (Arc::clone(&under_way), Arc::clone(&most));
    let receiver = Scripted::start(move |_, _| {
        peak.fetch_max(counts.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (counts, all) = (Arc::clone(&counts), Arc::clone(&all));
        async move {
            all.wait().await;
            counts.fetch_sub(1, Ordering::SeqCst);
            (204, String::new())
        }
    })
    .await;
    let ga4 = Ga4::new("G-ABC", "secret").endpoint(&receiver.url).http(|http| soon(http).timeout(PATIENCE));
    let events = durable(directory.path()).sink(ga4).build().unwrap();
    for number in 0..3 * AT_ONCE {
        visit(&events, number);
    }
    until(|| events.sink_stats()[0].delivered == 3 * AT_ONCE as u64).await;
    assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
}
