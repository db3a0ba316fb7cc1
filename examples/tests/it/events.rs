//! What users do is tracked by the handlers that do it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::process::{Program, ask, example};

fn post(program: &Program, path: &str, token: &str, body: &str, status: u16) -> Value {
    let authorization = format!("authorization: Bearer {token}");
    let answer = ask(program.address, &format!("POST {path}"), &[&authorization], body);
    assert_eq!(answer.status, status, "{path}: {answer:?}");
    serde_json::from_str(&answer.body).unwrap_or_default()
}

#[test]
fn every_preset_is_tracked_by_its_handler() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let mut command = example("taskboard");
    let program = Program::start(command.args(["--listen", "127.0.0.1:0"]).env("EVENTS_NDJSON", &file));

    post(&program, "/api/users", "", r#"{"email":"ann@example.com","name":"Ann","source":"invite"}"#, 201);
    let session = post(&program, "/api/sessions", "", r#"{"email":"ann@example.com","method":"passkey"}"#, 201);
    let token = session["token"].as_str().unwrap();
    post(&program, "/api/projects", token, r#"{"name":"Steeple","type":"team"}"#, 201);
    post(&program, "/api/projects/1/tasks", token, r#"{"title":"Ring the bell"}"#, 201);
    post(&program, "/api/tasks/1/complete", token, "", 200);
    post(&program, "/api/payments", token, r#"{"plan":"pro","card":"declined"}"#, 402);
    post(&program, "/api/payments", token, r#"{"plan":"team","card":"4242","currency":"USD"}"#, 201);
    post(&program, "/api/feedback", "", r#"{"topic":"speed","stars":5}"#, 202);
    assert_eq!(program.get("/api/projects/1/export").status, 200);
    assert_eq!(program.get("/board/1").status, 200);
    // What fails is no event.
    post(&program, "/api/users", "", r#"{"email":"ann@example.com","name":"Ann"}"#, 409);
    post(&program, "/api/tasks/1/complete", token, "", 409);
    assert_eq!(program.get("/board/99").status, 404);

    let page = program.get("/metrics").body;
    program.stop();
    let lines = fs::read_to_string(&file).unwrap();
    let mut tracked = BTreeMap::<String, Vec<Value>>::new();
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["data"]["request_id"].as_str().map(str::len), Some(36), "{line}");
        tracked.entry(event["type"].as_str().unwrap().to_owned()).or_default().push(event["data"].clone());
    }
    let counts: Vec<_> = tracked.iter().map(|(name, events)| (name.as_str(), events.len())).collect();
    assert_eq!(
        counts,
        [
            ("conversion", 1),
            ("feature_used", 1),
            ("generic", 1),
            ("journey_step", 3),
            ("login", 1),
            ("page_view", 1),
            ("payment", 2),
            ("project_created", 1),
            ("revenue", 1),
            ("sign_up", 1),
            ("task_completed", 1),
        ]
    );
    assert_eq!(tracked["sign_up"][0]["properties"]["method"], "invite");
    assert_eq!(
        (&tracked["sign_up"][0]["user_id"], &tracked["sign_up"][0]["route"]),
        (&"1".into(), &"/api/users".into())
    );
    assert_eq!(tracked["revenue"][0]["properties"]["value"], 39.0);
    assert_eq!(tracked["task_completed"][0]["route"], "/api/tasks/{id}/complete");
    assert!(!lines.contains("ann@example.com"), "{lines}");
    for series in [
        r#"user_registrations_total{source="invite"} 1"#,
        r#"payments_total{result="failed"} 1"#,
        r#"payments_total{result="succeeded"} 1"#,
        r#"revenue_minor_units_total{currency="USD"} 3900"#,
        "tasks_completed_total 1",
    ] {
        assert!(page.contains(series), "{series}\n{page}");
    }
}

/// Paths and bodies of what came in.
type Kept = Arc<Mutex<Vec<(String, String)>>>;

/// Plays every vendor: keeps what it gets, by path, and accepts it.
fn recorder() -> (String, Kept) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let kept = Kept::default();
    let keeps = Arc::clone(&kept);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let keeps = Arc::clone(&keeps);
            thread::spawn(move || serve(stream.unwrap(), &keeps));
        }
    });
    (url, kept)
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<(String, String)>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut path, mut length, mut zipped) = (String::new(), 0, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if path.is_empty() {
                line.split(' ').nth(1).unwrap().clone_into(&mut path);
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            } else if line == "content-encoding: gzip" {
                zipped = true;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let mut text = String::new();
        if zipped {
            flate2::read::GzDecoder::new(&*body).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(body).unwrap();
        }
        let answer = if path.starts_with("/_bulk") { r#"{"errors":false,"items":[]}"# } else { r#"{"status":1}"# };
        kept.lock().unwrap().push((path, text));
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

#[test]
fn each_event_is_once_at_each_vendor_and_counted_once() {
    let (url, kept) = recorder();
    let directory = tempfile::tempdir().unwrap();
    let mut command = example("taskboard");
    let variables = [
        ("STEEPLE_DISABLE", "trace"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("MIXPANEL_TOKEN", "token"),
        ("MIXPANEL_ENDPOINT", &url),
        ("NEW_RELIC_LICENSE_KEY", "license"),
        ("NEW_RELIC_ACCOUNT_ID", "12345"),
        ("NEW_RELIC_EVENTS_ENDPOINT", &url),
        ("ELASTICSEARCH_EVENTS_STREAM", "logs-events"),
        ("ELASTICSEARCH_URL", &url),
        ("EVENTS_WEBHOOK_URL", &format!("{url}/hook")),
        ("EVENTS_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("EVENTS_DIR", directory.path().to_str().unwrap()),
        ("LOG_LEVEL", "debug"),
    ];
    let program = Program::start(command.args(["--listen", "127.0.0.1:0"]).envs(variables));
    post(&program, "/api/users", "", r#"{"email":"ann@example.com","name":"Ann"}"#, 201);
    let session = post(&program, "/api/sessions", "", r#"{"email":"ann@example.com"}"#, 201);
    let token = session["token"].as_str().unwrap();
    for _ in 0..20 {
        post(&program, "/api/projects", token, r#"{"name":"Steeple"}"#, 201);
    }
    post(&program, "/api/payments", token, r#"{"plan":"pro","card":"4242"}"#, 201);
    let page = program.get("/metrics").body;
    let ended = program.stop();

    let tracked: usize = page
        .lines()
        .filter(|line| line.starts_with("steeple_events_tracked_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    // Registered twice over, logged in, 20 projects of two events each, three of the payment.
    assert_eq!(tracked, 2 + 1 + 40 + 3);
    assert!(page.contains(r#"projects_created_total{type="personal"} 20"#), "{page}");
    let ids =
        ended.lines().iter().filter_map(|line| line["event_id"].as_str().map(str::to_owned)).collect::<BTreeSet<_>>();
    assert_eq!(ids.len(), tracked, "a line at debug for each");
    for (vendor, path) in
        [("Mixpanel", "/import"), ("New Relic", "/v1/accounts"), ("Elasticsearch", "/_bulk"), ("webhook", "/hook")]
    {
        let kept = kept.lock().unwrap();
        let all: Vec<_> = kept.iter().filter(|(at, _)| at.starts_with(path)).map(|(_, body)| body.as_str()).collect();
        let all = all.join("\n");
        for id in &ids {
            // Elasticsearch has it as `_id` and in the document.
            let times = if path == "/_bulk" { 2 } else { 1 };
            assert_eq!(all.matches(id.as_str()).count(), times, "{vendor}: {id}");
        }
        assert!(!all.contains("ann@example.com"), "{vendor}");
    }
}
