//! A real Alertmanager, and a heartbeat.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use steeple_alerts::{
    Alerts, Failure, Rules,
    channel::{Alertmanager, Heartbeat, Payload, Webhook},
};
use steeple_metrics::{
    Metrics,
    indicator::{Clock, HistoryOptions},
};

use crate::{
    SECRET, START, bodies, metrics, receiver, soon,
    support::{missing, record},
};

struct Server {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Alertmanager, which notifies this webhook.
async fn alertmanager(webhook: &str) -> Option<Server> {
    let program = Path::new("/usr/bin/prometheus-alertmanager");
    if !program.exists() {
        missing("alertmanager", &"no prometheus-alertmanager");
        return None;
    }
    record("alertmanager", true);
    let directory = tempfile::tempdir().unwrap();
    let config = format!(
        "route:\n  receiver: hook\n  group_by: [alertname, service]\n  group_wait: 100ms\n  group_interval: 500ms\n  \
         repeat_interval: 1h\nreceivers:\n  - name: hook\n    webhook_configs:\n      - url: {webhook}\n        send_resolved: true\n"
    );
    let file = directory.path().join("alertmanager.yml");
    std::fs::write(&file, config).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(program)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.path={}", directory.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Server { child, port, _directory: directory };
    for _ in 0..6_000 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Some(server);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("Alertmanager does not listen");
}

impl Server {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// A replica, whose alerts are on the machine's clock, which Alertmanager compares them with.
fn replica(name: &str, server: &Server) -> Alerts {
    let metrics = Metrics::builder().build().unwrap();
    let _history = metrics.history_with(HistoryOptions::new().without_thread());
    let every = Duration::from_millis(500);
    // The second address has no listener: the first gets everything all the same.
    let fleet = Alertmanager::new([server.url(), "http://127.0.0.1:9".to_owned()]).every(every);
    Alerts::builder()
        .service("shop")
        .instance(name)
        .rules(Rules::mission())
        .alertmanager(fleet)
        .build(&metrics)
        .unwrap()
}

/// What the webhook got: status, and the instances with theirs.
fn told(bodies: &[Value]) -> Vec<(String, Vec<(String, String)>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alerts = |body: &Value| {
        let alerts = body["alerts"].as_array().unwrap().iter();
        let mut alerts: Vec<_> =
            alerts.map(|alert| (text(&alert["labels"]["instance"]), text(&alert["status"]))).collect();
        alerts.sort();
        alerts
    };
    bodies.iter().map(|body| (text(&body["status"]), alerts(body))).collect()
}

async fn wait(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_and_resends_are_one_firing_and_one_resolved() {
    let (url, posts) = receiver().await;
    let Some(server) = alertmanager(&format!("{url}/hook")).await else { return };
    let [a, b] = ["a", "b"].map(|name| replica(name, &server));
    let names: Vec<_> = a.rules().into_iter().map(|rule| rule.name).collect();
    assert_eq!(names, ["high_cpu_usage", "high_memory_usage"], "Prometheus has the alerts about the service");
    a.check("high_cpu_usage", 0.9);
    b.check("high_cpu_usage", 0.9);
    wait("both fire", || {
        told(&bodies(&posts, "/hook")).last().is_some_and(|(status, alerts)| status == "firing" && alerts.len() == 2)
    })
    .await;
    // One is over, the other goes on, with resends of both: without `instance` this flaps.
    b.check("high_cpu_usage", 0.1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let so_far = told(&bodies(&posts, "/hook"));
    assert!(so_far.iter().all(|(status, _)| status == "firing"), "a still fires: {so_far:?}");
    a.check("high_cpu_usage", 0.1);
    wait("both are over", || told(&bodies(&posts, "/hook")).last().is_some_and(|(status, _)| status == "resolved"))
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let all = told(&bodies(&posts, "/hook"));
    assert_eq!(all.iter().filter(|(status, _)| status == "resolved").count(), 1, "{all:?}");
    for name in ["a", "b"] {
        // Each alert goes from firing to resolved, and never back.
        let of: Vec<_> =
            all.iter().flat_map(|(_, alerts)| alerts).filter(|(of, _)| of == name).map(|(_, s)| s.as_str()).collect();
        let turn = of.iter().position(|status| *status == "resolved").unwrap();
        assert!(of[turn..].iter().all(|status| *status == "resolved"), "{name}: {of:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_ends_when_its_process_is_gone() {
    let (url, posts) = receiver().await;
    let Some(server) = alertmanager(&format!("{url}/hook")).await else { return };
    let killed = replica("a", &server);
    killed.check("high_memory_usage", 0.9);
    wait("it fires", || !bodies(&posts, "/hook").is_empty()).await;
    // As after SIGKILL: it sends nothing any more.
    killed.stop();
    drop(killed);
    wait("it ends", || told(&bodies(&posts, "/hook")).last().is_some_and(|(status, _)| status == "resolved")).await;
    let all: Vec<_> = told(&bodies(&posts, "/hook")).into_iter().map(|(status, _)| status).collect();
    assert_eq!(all, ["firing", "resolved"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_replicas_find_is_one_alert() {
    let (url, posts) = receiver().await;
    let Some(server) = alertmanager(&format!("{url}/hook")).await else { return };
    for name in ["a", "b"] {
        let failure = Failure { kind: "io::Error", route: "POST /pay", message: "broken pipe", fingerprint: None };
        replica(name, &server).error(&failure);
    }
    wait("it fires", || !bodies(&posts, "/hook").is_empty()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let body = &bodies(&posts, "/hook")[0];
    let alerts = body["alerts"].as_array().unwrap();
    assert_eq!((alerts.len(), &alerts[0]["labels"]["alertname"]), (1, &Value::from("new_error")));
    assert!(alerts[0]["labels"].get("instance").is_none() && alerts[0]["labels"].get("group").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_stops_when_the_evaluation_does() {
    let (url, posts) = receiver().await;
    let beat = Heartbeat::new(format!("{url}/beat")).every(Duration::from_millis(50));
    let alerts =
        Alerts::builder().rules(Rules::mission()).heartbeat(beat).build(&metrics(&Clock::manual(START))).unwrap();
    let beats = || posts.lock().unwrap().iter().filter(|post| post.0 == "/beat").count();
    alerts.evaluate();
    wait("it beats", || beats() >= 3).await;
    alerts.stop();
    // Messages under way may still arrive.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = beats();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(beats(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_stops_when_the_evaluation_hangs_and_goes_on_with_it() {
    let (url, posts) = receiver().await;
    let beat = Heartbeat::new(format!("{url}/beat")).every(Duration::from_millis(50));
    let beat = beat.stalled_after(Duration::from_secs(1));
    let metrics = metrics(&Clock::manual(START));
    let alerts = Alerts::builder().rules(Rules::mission()).heartbeat(beat).build(&metrics).unwrap();
    let beats = || posts.lock().unwrap().iter().filter(|post| post.0 == "/beat").count();
    alerts.evaluate();
    wait("it beats", || beats() >= 3).await;
    // Nothing evaluates any more: no sample is taken.
    let mut before = 0;
    for _ in 0..100 {
        before = beats();
        tokio::time::sleep(Duration::from_millis(700)).await;
        if beats() == before {
            break;
        }
    }
    assert_eq!(beats(), before, "it has stopped");
    metrics.history().sample();
    wait("it beats again", || beats() > before).await;
}

/// A process of another test: a replica that fires for as long as it lives.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that another test kills"]
async fn a_replica_that_is_killed() {
    let port = std::env::var_os("ALERTMANAGER_PORT").unwrap().into_string().unwrap();
    let metrics = Metrics::builder().build().unwrap();
    let _history = metrics.history_with(HistoryOptions::new().without_thread());
    let fleet = Alertmanager::new([format!("http://127.0.0.1:{port}")]).every(Duration::from_millis(500));
    let name = std::env::var_os("REPLICA").unwrap().into_string().unwrap();
    let alerts = Alerts::builder().service("shop").instance(name).rules(Rules::mission()).alertmanager(fleet);
    let alerts = alerts.build(&metrics).unwrap();
    alerts.check("high_cpu_usage", 0.9);
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_are_killed_are_one_firing_and_one_resolved() {
    let (url, posts) = receiver().await;
    let Some(server) = alertmanager(&format!("{url}/hook")).await else { return };
    let start = |name: &str| {
        let mut replica = Command::new(std::env::current_exe().unwrap());
        replica.args(["--exact", "fleet::a_replica_that_is_killed", "--ignored"]).stdout(Stdio::null());
        Replica(replica.env("REPLICA", name).env("ALERTMANAGER_PORT", server.port.to_string()).spawn().unwrap())
    };
    let (a, b) = (start("a"), start("b"));
    wait("both fire", || {
        told(&bodies(&posts, "/hook")).last().is_some_and(|(status, alerts)| status == "firing" && alerts.len() == 2)
    })
    .await;
    // `kill` is SIGKILL: no end is sent, the resends stop.
    drop(a);
    wait("the first is over", || {
        let of_a =
            |(_, alerts): &(String, Vec<(String, String)>)| alerts.contains(&("a".to_owned(), "resolved".to_owned()));
        told(&bodies(&posts, "/hook")).iter().any(of_a)
    })
    .await;
    let so_far = told(&bodies(&posts, "/hook"));
    assert!(so_far.iter().all(|(status, _)| status == "firing"), "the other fires: {so_far:?}");
    drop(b);
    wait("both are over", || told(&bodies(&posts, "/hook")).last().is_some_and(|(status, _)| status == "resolved"))
        .await;
    let all = told(&bodies(&posts, "/hook"));
    assert_eq!(all.iter().filter(|(status, _)| status == "resolved").count(), 1, "{all:?}");
    for name in ["a", "b"] {
        let of: Vec<_> =
            all.iter().flat_map(|(_, alerts)| alerts).filter(|(of, _)| of == name).map(|(_, s)| s.as_str()).collect();
        let turn = of.iter().position(|status| *status == "resolved").unwrap();
        assert!(turn > 0 && of[turn..].iter().all(|status| *status == "resolved"), "{name}: {of:?}");
    }
}

/// A process that is killed with its test.
struct Replica(Child);

impl Drop for Replica {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// The names and the types of all that is in it; what stands in labels and annotations is up to the alert.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "truth".into(),
        Value::Null => Value::Null,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payload_of_alertmanager_is_what_a_real_one_posts() {
    let (url, posts) = receiver().await;
    let Some(server) = alertmanager(&format!("{url}/hook")).await else { return };
    let metrics = Metrics::builder().build().unwrap();
    let _history = metrics.history_with(HistoryOptions::new().without_thread());
    let ours = Webhook::new(format!("{url}/ours"), SECRET).payload(Payload::Alertmanager).http(soon);
    let alerts = Alerts::builder()
        .service("shop")
        .environment("production")
        .instance("a")
        .dashboard("https://shop.example.org/steeple")
        .rules(Rules::mission())
        .channel(ours)
        .alertmanager(Alertmanager::new([server.url()]).every(Duration::from_millis(500)))
        .build(&metrics)
        .unwrap();
    for (value, status) in [(0.9, "firing"), (0.1, "resolved")] {
        alerts.check("high_cpu_usage", value);
        let last = |path: &str| bodies(&posts, path).pop().filter(|body| body["status"] == status);
        wait(status, || last("/hook").is_some() && last("/ours").is_some()).await;
        let (theirs, ours) = (last("/hook").unwrap(), last("/ours").unwrap());
        assert_eq!((&ours["version"], &ours["truncatedAlerts"]), (&theirs["version"], &theirs["truncatedAlerts"]));
        assert_eq!(ours["commonLabels"], theirs["commonLabels"]);
        let (theirs_alert, ours_alert) = (&theirs["alerts"][0], &ours["alerts"][0]);
        for field in ["status", "labels", "fingerprint"] {
            assert_eq!(ours_alert[field], theirs_alert[field], "{field}");
        }
        let moment = |value: &Value| value.as_str().unwrap()[..19].to_owned();
        for field in ["startsAt", "endsAt"] {
            assert_eq!(moment(&ours_alert[field]), moment(&theirs_alert[field]), "{field}");
        }
        // Group by group it differs in what the group is; a worst value is in ours alone.
        let plain = |body: &Value| {
            let mut body = body.clone();
            body["commonAnnotations"] = Value::Null;
            body["groupLabels"] = Value::Null;
            body["alerts"][0]["annotations"] = Value::Null;
            shape(&body)
        };
        assert_eq!(plain(&ours), plain(&theirs));
        for (name, text) in theirs_alert["annotations"].as_object().unwrap() {
            if name != "dashboard" {
                assert_eq!(&ours_alert["annotations"][name], text, "{name}");
            }
        }
    }
}
