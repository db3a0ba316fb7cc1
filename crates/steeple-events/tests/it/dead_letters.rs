//! Events that a system never takes: each is one dead letter there with its reason, and arrives everywhere else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use steeple_core::clock;
use steeple_events::{
    Events,
    preset::FeatureUsed,
    sink::{Ga4, Mixpanel, MixpanelApi, NewRelic, Webhook},
};
use steeple_export::store::{NewRow, spool::Spool};
use steeple_scrub::Scrubbed;

use crate::{
    outbox::{PATIENCE, Scripted, durable, nowhere, soon, until},
    receiver::{Receiver, SECRET},
};

#[tokio::test(flavor = "multi_thread")]
async fn one_event_that_is_refused_is_one_dead_letter_and_the_others_arrive_once() {
    const EVENTS: usize = 2_000;
    let directory = tempfile::tempdir().unwrap();
    let delivered = Arc::<Mutex<BTreeMap<String, usize>>>::default();
    let kept = Arc::clone(&delivered);
    // Says nothing about which event is at fault.
    let newrelic = Scripted::start(move |_, body| {
        let events: Vec<Value> = serde_json::from_slice(body).unwrap();
        let is_poisoned = events.iter().any(|event| event["feature"] == "poison");
        if !is_poisoned {
            let mut kept = kept.lock().unwrap();
            for event in &events {
                *kept.entry(event["event.id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        async move { if is_poisoned { (400, String::new()) } else { (202, String::new()) } }
    })
    .await;
    let events = durable(directory.path())
        .sink(
            NewRelic::new("license", "12345")
                .endpoint(&newrelic.url)
                .http(|http| soon(http).batch_delay(Duration::from_secs(3600))),
        )
        .build()
        .unwrap();
    for n in 0..EVENTS {
        events.track(FeatureUsed { feature: if n == 1_234 { "poison" } else { "export" } });
    }
    flush_but_dead(&events).await;
    let delivered = delivered.lock().unwrap().clone();
    assert_eq!((delivered.len(), delivered.values().max().copied()), (EVENTS - 1, Some(1)));
    let letters = events.dead_letters("newrelic", 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].why.as_str()), (1, "400"));
    assert!(letters[0].row.body.contains("poison"));
    // Each batch once, and two for each halving.
    let asked = newrelic.bodies().len();
    assert!(asked <= 2 * 11 + 4, "{asked} requests");

    // Requeued, it is tried again.
    assert_eq!(events.requeue("newrelic", &letters).await.unwrap(), 1);
    flush_but_dead(&events).await;
    assert_eq!(newrelic.bodies().len(), asked + 1);
    until(|| events.sink_stats()[0].dead == 2).await;
}

/// Sends everything that waits. Dead letters do not make it fail.
pub(crate) async fn flush_but_dead(events: &Events) {
    let events = events.clone();
    tokio::task::spawn_blocking(move || {
        for sink in events.sinks() {
            let report = sink.flush(clock::now() + PATIENCE);
            assert_eq!(report.left, 0, "{report:?}");
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mixpanel_names_the_event_that_it_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let mixpanel = Scripted::start(|_, body| {
        let events: Vec<Value> = serde_json::from_slice(body).unwrap();
        let place = events.iter().position(|event| event["properties"]["feature"] == "poison");
        async move {
            match place {
                Some(index) => {
                    let failed = json!({"code": 400, "failed_records": [{"index": index, "field": "properties.x"}]});
                    (400, failed.to_string())
                }
                None => (200, json!({"code": 200}).to_string()),
            }
        }
    })
    .await;
    let events =
        durable(directory.path()).sink(Mixpanel::new("token").endpoint(&mixpanel.url).http(soon)).build().unwrap();
    for n in 0..2_000 {
        events.track(FeatureUsed { feature: if n == 777 { "poison" } else { "export" } });
    }
    flush_but_dead(&events).await;
    let letters = events.dead_letters("mixpanel", 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].why.as_str()), (1, "invalid properties.x"));
    let stats = events.sink_stats();
    assert_eq!((stats[0].delivered, stats[0].dead, stats[0].dead_letters), (1_999, 1, 1));
}

/// A receiver that refuses every event whose property says so.
async fn picky() -> Scripted {
    Scripted::start(|_, body| {
        let events: Vec<Value> = serde_json::from_slice(body).unwrap();
        let is_poisoned = events.iter().any(|event| event["feature"] == "poison");
        async move { (if is_poisoned { 400 } else { 202 }, String::new()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_shows_what_waits_and_the_newest_dead_letters_first() {
    let directory = tempfile::tempdir().unwrap();
    for is_durable in [true, false] {
        let receiver = picky().await;
        let builder = if is_durable { durable(directory.path()) } else { Events::builder() };
        let events = builder
            .sink(NewRelic::new("license", "12345").endpoint(&receiver.url).http(soon))
            .sink(Webhook::new(nowhere(), SECRET).http(soon))
            .build()
            .unwrap();
        let ids: Mutex<Vec<String>> = Mutex::default();
        for n in 0..7 {
            events.track(FeatureUsed { feature: if n % 2 == 0 { "poison" } else { "export" } });
            let tracked = n / 2 + 1;
            until(|| events.sink_stats()[0].dead == tracked).await;
        }
        let mut outbox = events.outbox(3).await;
        // The file of the store is read at once, the count of what waits as of a moment ago.
        until(|| {
            outbox.sinks = events.sink_stats();
            outbox.sinks[1].backlog.0 == 7 && outbox.sinks[0].dead_letters == 4
        })
        .await;
        let newrelic = outbox.sinks.iter().find(|sink| sink.sink == "newrelic").unwrap();
        assert_eq!((outbox.is_durable, newrelic.dead, newrelic.dead_letters), (is_durable, 4, 4));
        assert!(outbox.sinks[1].backlog.1 > 7 * 50, "{:?}", outbox.sinks[1]);
        assert_eq!(outbox.dead_letters.len(), 3);
        for letter in &outbox.dead_letters {
            assert_eq!((&*letter.sink, &*letter.name, &*letter.why), ("newrelic", "feature_used", "400"));
            assert_eq!(letter.class, steeple_events::Class::Product);
            ids.lock().unwrap().push(letter.id.clone());
        }
        let ids = ids.into_inner().unwrap();
        assert!(ids.is_sorted_by(|newer, older| newer > older), "ids grow with time: {ids:?}");
        assert_eq!(events.outbox(usize::MAX).await.dead_letters.len(), 4);
        assert_eq!(events.outbox(0).await.dead_letters, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_is_split_until_it_fits_and_one_that_never_fits_is_a_dead_letter() {
    let directory = tempfile::tempdir().unwrap();
    let newrelic = Scripted::start(|_, body| {
        let is_too_large = body.len() > 8_000;
        async move { (if is_too_large { 413 } else { 202 }, String::new()) }
    })
    .await;
    let events = durable(directory.path())
        .sink(NewRelic::new("license", "12345").endpoint(&newrelic.url).http(soon))
        .build()
        .unwrap();
    for n in 0..64 {
        let size = if n == 20 { 9_000 } else { 500 };
        let text: Vec<_> = (0..size / 500).map(|part| ((format!("p{part}")), "x".repeat(500))).collect();
        events.track_named("large", &text.into_iter().collect::<BTreeMap<_, _>>());
    }
    flush_but_dead(&events).await;
    let stats = events.sink_stats();
    assert_eq!((stats[0].delivered, stats[0].dead, stats[0].backlog.0), (63, 1, 0));
}

/// An event as it was stored so long ago.
fn old(spool: &Spool, id: &str, age: Duration) {
    let body = json!({"name": "sign_up", "client_id": "12.34", "properties": {}}).to_string();
    let row = NewRow {
        id: format!("01a20a66-4b8a-7456-8563-1905ed7b{id}").into(),
        at: clock::unix_now().checked_sub(age).unwrap(),
        key: None,
        class: 2,
        body: Scrubbed::from_application(body.into()),
    };
    let size = row.size();
    assert_eq!(spool.wait_blocking(spool.append(Arc::new(row), 2, size), false, PATIENCE), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_a_vendor_takes_is_a_dead_letter_there_and_arrives_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let events = durable(directory.path())
        .sink(Mixpanel::new("token").endpoint(&receiver.url).http(soon))
        .sink(Ga4::new("G-ABC", "secret").endpoint(&receiver.url).http(soon))
        .sink(NewRelic::new("license", "12345").endpoint(&receiver.url).http(soon))
        .build()
        .unwrap();
    let hour = Duration::from_secs(3_600);
    for (id, age) in [("1c80", hour), ("1c81", hour * 30), ("1c82", hour * 80), ("1c83", hour * 24 * 6)] {
        old(events.spool().unwrap(), id, age);
    }
    flush_but_dead(&events).await;
    let of = |name: &str| events.sink_stats().into_iter().find(|sink| sink.sink == name).unwrap();
    // Mixpanel's import takes events of any age, GA4 those of 72 hours, New Relic those of 24.
    assert_eq!((of("mixpanel").delivered, of("mixpanel").dead), (4, 0));
    assert_eq!((of("ga4").delivered, of("ga4").dead), (2, 2));
    assert_eq!((of("newrelic").delivered, of("newrelic").dead), (1, 3));
    let letters = events.dead_letters("ga4", 10).await.unwrap();
    assert!(letters.iter().all(|letter| letter.why.as_str() == "older than the receiver takes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mixpanels_track_gets_recent_events_and_import_those_of_more_than_five_days_ago() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let mixpanel = Mixpanel::new("token").api(MixpanelApi::Track).endpoint(&receiver.url).http(soon);
    let events = durable(directory.path()).sink(mixpanel).build().unwrap();
    let hour = Duration::from_secs(3_600);
    for (id, age) in [("1c80", hour), ("1c81", hour * 24 * 6)] {
        old(events.spool().unwrap(), id, age);
        flush_but_dead(&events).await;
    }
    let (track, import) = (receiver.only("/track"), receiver.only("/import"));
    assert_eq!(track.uri, "/track?verbose=1&ip=0");
    assert_eq!((track.headers.get("authorization"), &track.json()[0]["properties"]["token"]), (None, &"token".into()));
    assert_eq!(import.json()[0]["properties"].get("token"), None);
    assert!(import.json()[0]["properties"]["$insert_id"].as_str().unwrap().ends_with("1c81"));
    assert_eq!(events.sink_stats()[0].delivered, 2);
}
