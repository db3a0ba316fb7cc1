//! SIGTERM to a real process whose receivers are dead: it ends at its deadline, reports the events that are left, and the next one sends them.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use steeple_core::clock;
use steeple_events::{
    Events,
    preset::FeatureUsed,
    sink::{Mixpanel, NewRelic, Webhook},
};
use steeple_export::{shutdown_all, store::spool::offline};

use crate::{
    outbox::{Scripted, durable, nowhere, soon},
    receiver::{Receiver, SECRET, flush},
};

const DIRECTORY: &str = "STEEPLE_TEST_TERMINATED";
const RECEIVERS: &str = "STEEPLE_TEST_RECEIVERS";
const EVENTS: usize = 500;

/// Three systems, by their addresses.
fn events(directory: &Path, [hangs, refuses, is_away]: [&str; 3]) -> Events {
    durable(directory)
        .sink(NewRelic::new("license", "12345").endpoint(hangs).http(soon))
        .sink(Mixpanel::new("token").endpoint(refuses).http(soon))
        .sink(Webhook::new(format!("{is_away}/hook"), SECRET).http(soon))
        .build()
        .unwrap()
}

/// Not a test by itself: the service.
#[tokio::test]
async fn service() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let receivers = env::var_os(RECEIVERS).unwrap().into_string().unwrap();
    let mut receivers = receivers.split(' ');
    let events = events(Path::new(&directory), std::array::from_fn(|_| receivers.next().unwrap()));
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    for n in 0..EVENTS {
        // All but the last ones are only queued when the signal comes.
        let receipt = events.track(FeatureUsed { feature: "export" });
        if n == EVENTS / 2 {
            receipt.stored().await.unwrap();
        }
    }
    writeln!(std::io::stdout(), "\nready").unwrap();
    term.recv().await;
    let sinks = events.sinks();
    let deadline = clock::now() + Duration::from_secs(2);
    let reports = tokio::task::spawn_blocking(move || shutdown_all(&sinks, deadline)).await.unwrap();
    for report in reports {
        writeln!(std::io::stdout(), "report {} {} {} {}", report.sink, report.exported, report.dropped, report.left)
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_sigterm_with_dead_receivers_the_report_is_what_is_on_disk_and_the_next_process_sends_it() {
    let directory = tempfile::tempdir().unwrap();
    let hangs = Scripted::start(|_, _| async {
        std::future::pending::<()>().await;
        (200, String::new())
    })
    .await;
    let refuses = Scripted::start(|_, _| async { (503, String::new()) }).await;
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "terminated::service", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory.path())
        .env(RECEIVERS, [&*hangs.url, &*refuses.url, &*nowhere()].join(" "))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let pid = child.id().to_string();
    let reports = tokio::task::spawn_blocking(move || {
        let mut reports = BTreeMap::new();
        for line in stdout.lines().map_while(Result::ok) {
            if line == "ready" {
                assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
            }
            if let Some(report) = line.strip_prefix("report ") {
                let mut words = report.split(' ');
                let name = words.next().unwrap().to_owned();
                let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
                reports.insert(name, numbers);
            }
        }
        reports
    })
    .await
    .unwrap();
    assert!(child.wait().unwrap().success(), "it ends by itself");
    // Exported, dropped, left.
    let left: BTreeMap<_, _> = reports.iter().map(|(sink, numbers)| (&**sink, (numbers[1], numbers[2]))).collect();
    let all = EVENTS as u64;
    for sink in ["newrelic", "mixpanel", "webhook_events"] {
        assert_eq!(left.get(sink), Some(&(0, all)), "{reports:?}");
    }
    assert_eq!(left.get("outbox"), Some(&(0, 0)), "all that waited in memory is on disk: {reports:?}");
    let [path] = &*offline::databases(directory.path()).unwrap() else { panic!("one database") };
    for backlog in offline::Database::open(path).unwrap().backlogs().unwrap() {
        if !backlog.sink.contains("people") {
            assert_eq!((backlog.items, backlog.dead), (all, 0), "{backlog:?}");
        }
    }

    let receiver = Receiver::start().await;
    let events = events(directory.path(), [&*receiver.url; 3]);
    flush(&events).await;
    let mut got = BTreeMap::<&str, Vec<String>>::new();
    for request in receiver.all() {
        let (system, ids): (_, Vec<Value>) = match &*request.uri {
            uri if uri.contains("/import") => ("mixpanel", request.json().as_array().unwrap().clone()),
            "/hook" => ("webhook", vec![request.json()]),
            _ => ("newrelic", request.json().as_array().unwrap().clone()),
        };
        let id = |event: &Value| {
            let id = match system {
                "mixpanel" => &event["properties"]["$insert_id"],
                "webhook" => &event["data"]["id"],
                _ => &event["event.id"],
            };
            id.as_str().unwrap().to_owned()
        };
        got.entry(system).or_default().extend(ids.iter().map(id));
    }
    for (system, mut ids) in got {
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), EVENTS, "{system}");
    }
}
