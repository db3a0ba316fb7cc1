//! What users allow: asked for when an event is tracked, and again before it is sent, in every process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use steeple_core::Exchange;
use steeple_events::{
    Consent,
    preset::FeatureUsed,
    set_consent,
    sink::{Ga4, Mixpanel, NewRelic},
};
use steeple_export::store::spool::TimingOptions;

use crate::{
    dead_letters::flush_but_dead,
    outbox::{Scripted, as_user, durable, end, nowhere, soon, until},
    receiver::Receiver,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_takes_consent_back_is_not_sent_to_analytics_and_one_who_is_erased_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let build = |url: &str| {
        durable(directory.path())
            .sink(Mixpanel::new("token").endpoint(url).http(soon))
            .sink(NewRelic::new("license", "12345").endpoint(url).http(soon))
            .build()
            .unwrap()
    };
    let events = build(&nowhere());
    for user in ["ada", "bob", "eve"] {
        as_user(user, || events.track(FeatureUsed { feature: "export" })).stored().await.unwrap();
    }
    events.set_revoked("bob", true).await.unwrap();
    assert_eq!(events.erase("eve").await.unwrap(), 1);
    end(events).await;
    let events = build(&receiver.url);
    flush_but_dead(&events).await;
    let users = |path: &str, field: fn(&Value) -> Value| {
        receiver.only(path).json().as_array().unwrap().iter().map(field).collect::<Vec<_>>()
    };
    assert_eq!(users("/import", |event| event["properties"]["distinct_id"].clone()), ["ada"]);
    assert_eq!(users("/v1/accounts/", |event| event["enduser.id"].clone()), ["ada", "bob"]);
    // Mixpanel is asked to forget.
    let forgotten = receiver.only("/engage").json();
    assert_eq!(forgotten, json!([{"$token": "token", "$distinct_id": "eve", "$ip": "0", "$delete": ""}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_user_takes_back_in_one_process_counts_in_all_and_what_is_under_way_is_not_sent() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    // The first process cannot send: its events are with the sinks, and wait there.
    let refuses = Arc::new(AtomicBool::new(true));
    let asks = Arc::clone(&refuses);
    let later = Scripted::start(move |_, _| {
        let status = if asks.load(Ordering::Relaxed) { 503 } else { 200 };
        async move { (status, String::new()) }
    })
    .await;
    let build = |url: &str| {
        let timing = TimingOptions::new().idle(Duration::from_millis(5)).stats(Duration::ZERO);
        durable(directory.path())
            .store_timing(timing)
            .sink(Mixpanel::new("token").endpoint(url).http(soon))
            .sink(NewRelic::new("license", "12345").endpoint(url).http(soon))
            .build()
            .unwrap()
    };
    let events = build(&later.url);
    for user in ["ada", "bob", "eve"] {
        as_user(user, || events.track(FeatureUsed { feature: "export" })).stored().await.unwrap();
    }
    until(|| later.asked.lock().unwrap().iter().any(|(uri, _)| uri.starts_with("/import"))).await;
    let other = build(&receiver.url);
    other.set_revoked("bob", true).await.unwrap();
    assert_eq!(other.erase("eve").await.unwrap(), 1);
    // By what the other process has written.
    let dropped = || events.sink_stats().iter().map(|sink| sink.dropped).collect::<Vec<_>>();
    until(|| dropped().iter().sum::<u64>() >= 3).await;
    refuses.store(false, Ordering::Relaxed);
    flush_but_dead(&events).await;
    let sent = |path: &str| {
        let asked = later.asked.lock().unwrap();
        let (_, body) = asked.iter().rev().find(|(uri, _)| uri.starts_with(path)).unwrap();
        let body: Value = serde_json::from_slice(body).unwrap();
        body.as_array().unwrap().len()
    };
    assert_eq!((sent("/import"), sent("/v1/accounts/")), (1, 2));
    assert_eq!(other.sinks().iter().map(|sink| sink.stats().dropped_total()).sum::<u64>(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_refuses_is_not_even_stored_where_there_are_analytics_systems_alone() {
    let directory = tempfile::tempdir().unwrap();
    let sink = Mixpanel::new("token").endpoint(nowhere()).http(soon);
    let events = durable(directory.path())
        .sink(sink)
        .sink(Ga4::new("G-ABC", "secret").endpoint(nowhere()).http(soon))
        .build()
        .unwrap();
    let exchange = Exchange::detached();
    set_consent(&exchange, Consent::Denied);
    let receipt = exchange.in_scope(|| events.track(FeatureUsed { feature: "export" }));
    assert!(receipt.is_accepted());
    receipt.stored().await.unwrap();
    let spool = events.spool().unwrap();
    spool.settled();
    assert_eq!((spool.spool_stats().appended, spool.spool_stats().items), (0, 0));
    assert_eq!(events.skipped().iter().map(|(_, count)| count).sum::<u64>(), 2);
}
