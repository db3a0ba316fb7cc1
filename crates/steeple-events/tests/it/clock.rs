//! The wall clock is set while events wait: nothing becomes old by it, nothing stalls, and order and times stay.
//!
//! In a process alone: the clock is everyone's.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::{Value, json};
use steeple_core::clock;
use steeple_events::sink::{Ga4, Mixpanel, NewRelic};
use steeple_export::store::NewRow;
use steeple_scrub::Scrubbed;

use crate::outbox::{PATIENCE, Scripted, durable, soon, until};

const HOUR: i64 = 3_600;

#[test]
fn a_clock_that_is_set_makes_no_event_old_and_stalls_no_retry() {
    for step in [-HOUR, 3 * 24 * HOUR, -30 * 24 * HOUR, 30 * 24 * HOUR] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "clock::stepped", "--nocapture", "--ignored", "--test-threads=1"]);
        let output = command.env("STEEPLE_TEST_STEP", step.to_string()).output().unwrap();
        assert!(output.status.success(), "{step}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other test, in a process alone"]
async fn stepped() {
    let step: i64 = std::env::var_os("STEEPLE_TEST_STEP").unwrap().to_str().unwrap().parse().unwrap();
    let directory = tempfile::tempdir().unwrap();
    // Refuses until it is told to take everything.
    let refuses = Arc::new(AtomicU32::new(1));
    let asks = Arc::clone(&refuses);
    let server = Scripted::start(move |_, _| {
        let status = if asks.load(Ordering::Relaxed) == 1 { 503 } else { 200 };
        async move { (status, json!({"code": 200, "status": 1}).to_string()) }
    })
    .await;
    let events = durable(directory.path())
        .sink(Mixpanel::new("token").endpoint(&server.url).http(soon))
        .sink(Ga4::new("G-ABC", "secret").endpoint(&server.url).http(soon))
        .sink(NewRelic::new("license", "12345").endpoint(&server.url).http(soon))
        .build()
        .unwrap();
    let before = clock::unix_now();
    let spool = events.spool().unwrap();
    // As an event of a visitor whom Google knows is stored.
    let track = |feature: &str, id: &str| {
        let body = json!({"name": "feature_used", "client_id": "12.34", "properties": {"feature": feature}});
        let row = NewRow {
            id: format!("01a20a66-4b8a-7456-8563-1905ed7b{id}").into(),
            at: clock::unix_now(),
            key: None,
            class: 1,
            body: Scrubbed::from_application(body.to_string().into()),
        };
        let size = row.size();
        assert_eq!(spool.wait_blocking(spool.append(Arc::new(row), 1, size), false, PATIENCE), Ok(()));
    };
    track("before", "1c80");
    until(|| server.bodies().len() >= 3).await;
    clock::step_wall_clock(step);
    track("after", "1c81");
    let seen = server.bodies().len();
    until(|| server.bodies().len() > seen + 3).await;
    refuses.store(0, Ordering::Relaxed);
    until(|| {
        let stats = events.sink_stats();
        let mut of_events = stats.iter().filter(|sink| sink.sink != "mixpanel_people");
        of_events.all(|sink| sink.delivered + sink.dead == 2)
    })
    .await;
    for sink in events.sink_stats().iter().filter(|sink| sink.sink != "mixpanel_people") {
        assert_eq!((sink.delivered, sink.dead), (2, 0), "{step}: {sink:?}");
    }
    // In their order, with the times of their tracking.
    let taken = server.asked.lock().unwrap().clone();
    let imported: Vec<Value> = taken
        .iter()
        .filter(|(path, _)| path.starts_with("/import"))
        .map(|(_, body)| serde_json::from_slice(body).unwrap())
        .collect();
    let last = imported.last().unwrap().as_array().unwrap();
    let of = |feature: &str| last.iter().find(|event| event["properties"]["feature"] == feature);
    let time = |event: &Value| event["properties"]["time"].as_f64().unwrap();
    let millis = before.as_secs_f64();
    if let (Some(first), Some(second)) = (of("before"), of("after")) {
        let scale = if time(first) > 1e11 { 1_000.0 } else { 1.0 };
        assert!((time(first) / scale - millis).abs() < 60.0, "{first}");
        #[expect(clippy::cast_precision_loss, reason = "a few days")]
        let stepped = step as f64;
        assert!((time(second) / scale - millis - stepped).abs() < 120.0, "{second}");
        let place = |feature| last.iter().position(|event| event["properties"]["feature"] == feature).unwrap();
        assert!(place("before") < place("after"));
    }
}
