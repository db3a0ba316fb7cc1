//! `steeple-outbox`, while the service runs.

use std::{path::Path, process::Command};

use serde_json::Value;
use steeple_events::{preset::FeatureUsed, sink::NewRelic};

use crate::outbox::{Scripted, as_user, durable, soon, until};

fn outbox(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steeple-outbox"));
    let output = command.env("EVENTS_DIR", directory).args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_can_be_seen_exported_and_sent_again_and_a_user_erased() {
    let directory = tempfile::tempdir().unwrap();
    let newrelic = Scripted::start(|_, body| {
        let is_bad = body.windows(6).any(|part| part == b"poison");
        async move { (if is_bad { 400 } else { 503 }, String::new()) }
    })
    .await;
    let sink = NewRelic::new("license", "12345").endpoint(&newrelic.url).http(soon);
    let events = durable(directory.path()).sink(sink).build().unwrap();
    as_user("ada", || events.track(FeatureUsed { feature: "poison" })).stored().await.unwrap();
    until(|| events.sink_stats()[0].dead == 1).await;
    as_user("bob", || events.track(FeatureUsed { feature: "export" })).stored().await.unwrap();
    events.spool().unwrap().settled();

    let (good, text) = outbox(directory.path(), &["ls", "--json"]);
    let [line] = &lines(&text)[..] else { panic!("{text}") };
    assert!(good);
    assert_eq!((&line["sink"], &line["waiting"], &line["dead"]), (&"newrelic".into(), &1.into(), &1.into()));
    assert!(outbox(directory.path(), &["ls"]).1.contains("newrelic"));

    let (_, text) = outbox(directory.path(), &["export", "newrelic"]);
    let [letter] = &lines(&text)[..] else { panic!("{text}") };
    assert_eq!((&letter["why"], &letter["event"]["properties"]["feature"]), (&"400".into(), &"poison".into()));
    let (_, text) = outbox(directory.path(), &["show", letter["id"].as_str().unwrap()]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["event"]["name"], "feature_used");
    assert_eq!(lines(&outbox(directory.path(), &["export"]).1).len(), 2);

    let (good, text) = outbox(directory.path(), &["check", "--json"]);
    assert!(good, "{text}");
    assert_eq!((&lines(&text)[0]["good"], &lines(&text)[0]["sound"]), (&2.into(), &true.into()));

    assert_eq!(outbox(directory.path(), &["requeue", "newrelic"]), (true, "1 requeued\n".to_owned()));
    // It waits its turn, behind the one that is tried again.
    until(|| {
        let stats = &events.sink_stats()[0];
        (stats.dead_letters, stats.backlog.0) == (0, 2)
    })
    .await;
    assert_eq!(outbox(directory.path(), &["erase", "ada", "--json"]), (true, "{\"erased\":1}\n".to_owned()));
    assert_eq!(lines(&outbox(directory.path(), &["export"]).1).len(), 1);
    assert!(!outbox(directory.path(), &["show", "no-such-id"]).0);
    assert!(!outbox(directory.path(), &["burn"]).0);
}
