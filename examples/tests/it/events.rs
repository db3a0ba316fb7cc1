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
    // A failure is not an event.
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

/// What a program may write to a file, from now on.
#[cfg(target_os = "linux")]
fn limit_files(program: &Program, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let limited = std::process::Command::new("prlimit").args(["--pid", &program.id().to_string(), &limit]).status();
    assert!(limited.unwrap().success());
}

#[cfg(target_os = "linux")]
#[test]
fn registration_and_payment_answer_503_while_their_event_cannot_be_stored_and_201_once_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let board = example("taskboard");
    let mut command = std::process::Command::new("sh");
    // What would be too long for a file is an error, as a full disk is.
    command.args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#]).arg(board.get_program()).args(["--listen", "127.0.0.1:0"]);
    for (name, value) in board.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("EVENTS_DIR", directory.path().join("events")).env("EVENTS_NDJSON", &file);
    let program = Program::start(&mut command);
    let user = |name: &str| format!(r#"{{"email":"{name}@example.com","name":"{name}"}}"#);
    post(&program, "/api/users", "", &user("ann"), 201);
    let session = post(&program, "/api/sessions", "", r#"{"email":"ann@example.com"}"#, 201);
    let token = session["token"].as_str().unwrap();

    limit_files(&program, "1");
    post(&program, "/api/users", "", &user("bob"), 503);
    let pay = r#"{"plan":"team","card":"4242","currency":"USD"}"#;
    post(&program, "/api/payments", token, pay, 503);
    // What is not held is answered.
    post(&program, "/api/projects", token, r#"{"name":"Steeple","type":"team"}"#, 201);

    limit_files(&program, "unlimited");
    let mut tries = 0;
    crate::process::until(|| {
        tries += 1;
        let answer = ask(program.address, "POST /api/users", &[], &user(&format!("eve{tries}")));
        (answer.status == 201).then_some(())
    });
    post(&program, "/api/payments", token, pay, 201);
    program.stop();
    // What could not be stored at once was not lost.
    let lines = fs::read_to_string(&file).unwrap();
    let count = |name: &str| lines.matches(&format!(r#""type":"{name}""#)).count();
    assert_eq!((count("sign_up"), count("revenue"), count("project_created")), (2 + tries, 2, 1), "{lines}");
}

/// Paths and bodies of what came in.
type Kept = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

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

fn serve(stream: TcpStream, kept: &Mutex<Vec<(String, Vec<u8>)>>) {
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
        if zipped {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
            body = plain;
        }
        let answer = if path.starts_with("/_bulk") { bulk_answer(&body) } else { answer_of(&path).to_owned() };
        kept.lock().unwrap().push((path, body));
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
    }
}

/// What each vendor says when it has taken something; OTLP an empty message.
fn answer_of(path: &str) -> &'static str {
    if path.starts_with("/v1/traces") || path.starts_with("/v1/logs") || path.starts_with("/v1/metrics") {
        ""
    } else {
        r#"{"status":1}"#
    }
}

/// Elasticsearch says what became of each document.
fn bulk_answer(body: &[u8]) -> String {
    let documents = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() / 2;
    let items: Vec<_> = (0..documents).map(|_| serde_json::json!({"create": {"status": 201}})).collect();
    serde_json::json!({"errors": false, "items": items}).to_string()
}

/// As much of OTLP as is looked at.
mod otlp {
    macro_rules! messages {
        ($($name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty,)* })+) => {
            $(#[derive(Clone, PartialEq, prost::Message)]
            pub(super) struct $name { $($(#[$attribute])* pub(super) $field: $kind,)* })+
        };
    }

    messages! {
        Traces { #[prost(message, repeated, tag = "1")] resources: Vec<ResourceSpans>, }
        ResourceSpans { #[prost(message, repeated, tag = "2")] scopes: Vec<ScopeSpans>, }
        ScopeSpans { #[prost(message, repeated, tag = "2")] spans: Vec<Span>, }
        Span {
            #[prost(bytes, tag = "2")] id: Vec<u8>,
            #[prost(string, tag = "5")] name: String,
            #[prost(message, repeated, tag = "9")] attributes: Vec<Pair>,
            #[prost(message, repeated, tag = "11")] events: Vec<SpanEvent>,
        }
        SpanEvent { #[prost(string, tag = "2")] name: String, }
        Logs { #[prost(message, repeated, tag = "1")] resources: Vec<ResourceLogs>, }
        ResourceLogs { #[prost(message, repeated, tag = "2")] scopes: Vec<ScopeLogs>, }
        ScopeLogs { #[prost(message, repeated, tag = "2")] records: Vec<Record>, }
        Record {
            #[prost(int32, tag = "2")] severity: i32,
            #[prost(message, optional, tag = "5")] body: Option<Any>,
            #[prost(message, repeated, tag = "6")] attributes: Vec<Pair>,
        }
        Metrics { #[prost(message, repeated, tag = "1")] resources: Vec<ResourceMetrics>, }
        ResourceMetrics { #[prost(message, repeated, tag = "2")] scopes: Vec<ScopeMetrics>, }
        ScopeMetrics { #[prost(message, repeated, tag = "2")] metrics: Vec<Metric>, }
        Metric {
            #[prost(string, tag = "1")] name: String,
            #[prost(message, optional, tag = "7")] sum: Option<Sum>,
        }
        Sum { #[prost(message, repeated, tag = "1")] points: Vec<Point>, }
        Point {
            #[prost(double, tag = "4")] float: f64,
            #[prost(sfixed64, tag = "6")] whole: i64,
            #[prost(message, repeated, tag = "7")] attributes: Vec<Pair>,
        }
        Pair {
            #[prost(string, tag = "1")] key: String,
            #[prost(message, optional, tag = "2")] value: Option<Any>,
        }
        Any { #[prost(string, tag = "1")] text: String, }
    }

    impl Pair {
        pub(super) fn is(&self, key: &str, value: &str) -> bool {
            self.key == key && self.value.as_ref().is_some_and(|any| any.text == value)
        }
    }
}

/// What one vendor got, each request decoded.
fn decoded<T: prost::Message + Default>(kept: &Kept, path: &str) -> Vec<T> {
    let kept = kept.lock().unwrap();
    kept.iter().filter(|(at, _)| at.starts_with(path)).map(|(_, body)| T::decode(&**body).unwrap()).collect()
}

/// The cookies of Google Analytics, by which it knows the visitor.
const COOKIES: &str = "cookie: _ga=GA1.1.123456789.1700000000; _ga_ABC=GS1.1.1700000001.1.0.1700000002.0.0.0";

#[test]
#[expect(clippy::too_many_lines, reason = "one run, at whose end every vendor is asked")]
fn each_event_error_and_increment_is_once_at_each_vendor() {
    let (url, kept) = recorder();
    let directory = tempfile::tempdir().unwrap();
    let mut command = example("taskboard");
    let dsn = format!("{}/1", url.replace("http://", "http://key@"));
    let variables = [
        ("MIXPANEL_TOKEN", "token"),
        ("MIXPANEL_ENDPOINT", &url),
        ("GA4_MEASUREMENT_ID", "G-ABC"),
        ("GA4_API_SECRET", "secret"),
        ("GA4_ENDPOINT", &url),
        ("NEW_RELIC_LICENSE_KEY", "license"),
        ("NEW_RELIC_ACCOUNT_ID", "12345"),
        ("NEW_RELIC_EVENTS_ENDPOINT", &url),
        // Where metrics would go if they did not go by OTLP.
        ("NEW_RELIC_METRICS_ENDPOINT", &url),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_METRICS_EXPORTER", "otlp"),
        // Once, at the end.
        ("OTEL_METRIC_EXPORT_INTERVAL", "86400000"),
        ("SENTRY_DSN", &dsn),
        ("ELASTICSEARCH_EVENTS_STREAM", "logs-events"),
        ("ELASTICSEARCH_LOGS_STREAM", "logs-lines"),
        ("ELASTICSEARCH_URL", &url),
        ("EVENTS_WEBHOOK_URL", &format!("{url}/hook")),
        ("EVENTS_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("EVENTS_DIR", directory.path().to_str().unwrap()),
        ("LOG_LEVEL", "info,steeple::events=debug"),
    ];
    let program = Program::start(command.args(["--listen", "127.0.0.1:0"]).envs(variables));
    let post = |path: &str, token: &str, body: &str, status: u16| {
        let authorization = format!("authorization: Bearer {token}");
        let answer = ask(program.address, &format!("POST {path}"), &[&authorization, COOKIES], body);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        serde_json::from_str::<Value>(&answer.body).unwrap_or_default()
    };
    post("/api/users", "", r#"{"email":"ann@example.com","name":"Ann"}"#, 201);
    let session = post("/api/sessions", "", r#"{"email":"ann@example.com"}"#, 201);
    let token = session["token"].as_str().unwrap();
    for _ in 0..20 {
        post("/api/projects", token, r#"{"name":"Steeple"}"#, 201);
    }
    post("/api/payments", token, r#"{"plan":"pro","card":"4242"}"#, 201);
    assert_eq!(program.get("/lab/fail").status, 500);
    let page = program.get("/metrics").body;
    let ended = program.stop();

    let tracked: usize = page
        .lines()
        .filter(|line| line.starts_with("steeple_events_tracked_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    // Registered twice over, logged in, 20 projects of two events each, three of the payment.
    assert_eq!(tracked, 2 + 1 + 40 + 3);
    let ids =
        ended.lines().iter().filter_map(|line| line["event_id"].as_str().map(str::to_owned)).collect::<BTreeSet<_>>();
    assert_eq!(ids.len(), tracked, "a line at debug for each");

    // Each event once where events go, and nowhere else.
    let all_at = |path: &str| -> String {
        let kept = kept.lock().unwrap();
        let all = kept.iter().filter(|(at, _)| at.starts_with(path));
        all.map(|(_, body)| String::from_utf8_lossy(body).into_owned()).collect::<Vec<_>>().join("\n")
    };
    for (vendor, path, times) in [
        ("Mixpanel", "/import", 1),
        ("New Relic", "/v1/accounts", 1),
        // Elasticsearch has it as `_id` and in the document.
        ("Elasticsearch", "/_bulk", 2),
        ("webhook", "/hook", 1),
        ("OTLP spans", "/v1/traces", 0),
        ("OTLP log records", "/v1/logs", 0),
        ("OTLP metrics", "/v1/metrics", 0),
        ("Sentry", "/api/1/", 0),
    ] {
        let all = all_at(path);
        for id in &ids {
            assert_eq!(all.matches(id.as_str()).count(), times, "{vendor}: {id}");
        }
        assert!(!all.contains("ann@example.com"), "{vendor}");
    }
    assert_eq!(all_at("/metric/v1"), "", "metrics go by one road");
    // Google has no place for an id: a request for each event, and no two with the same name and time.
    let mut at_google = BTreeSet::new();
    for (_, body) in kept.lock().unwrap().iter().filter(|(at, _)| at.starts_with("/mp/collect")) {
        let body: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["client_id"], "123456789.1700000000");
        for event in body["events"].as_array().unwrap() {
            let name = event["name"].as_str().unwrap().to_owned();
            assert!(at_google.insert((name, body["timestamp_micros"].to_string())), "{body}");
        }
    }
    assert_eq!(at_google.len(), tracked);

    // The error: one exception of the one span, one record, one event.
    let traces: Vec<otlp::Traces> = decoded(&kept, "/v1/traces");
    let spans: Vec<_> =
        traces.iter().flat_map(|all| &all.resources).flat_map(|of| &of.scopes).flat_map(|of| &of.spans).collect();
    let ids_of_spans: BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids_of_spans.len(), spans.len(), "each span once");
    let failed: Vec<_> =
        spans.iter().filter(|span| span.attributes.iter().any(|pair| pair.is("http.route", "/lab/fail"))).collect();
    assert_eq!(failed.len(), 1, "{spans:?}");
    let exceptions: usize =
        spans.iter().flat_map(|span| &span.events).filter(|event| event.name == "exception").count();
    assert_eq!(exceptions, 1, "{spans:?}");
    let logs: Vec<otlp::Logs> = decoded(&kept, "/v1/logs");
    let records: Vec<_> =
        logs.iter().flat_map(|all| &all.resources).flat_map(|of| &of.scopes).flat_map(|of| &of.records).collect();
    let errors = records.iter().filter(|record| record.severity >= 17).count();
    assert_eq!(errors, 1, "{records:?}");
    let envelopes = all_at("/api/1/envelope");
    let captured = envelopes.lines().filter(|line| line.contains(r#""exception":"#)).count();
    assert_eq!(captured, 1, "{envelopes}");

    // Each increment, on the page and by OTLP.
    let metrics: Vec<otlp::Metrics> = decoded(&kept, "/v1/metrics");
    assert_eq!(metrics.len(), 1, "pushed once");
    for (name, label, value, increments) in [
        ("user_registrations_total", "source", "direct", 1),
        ("user_logins_total", "method", "password", 1),
        ("projects_created_total", "type", "personal", 20),
        ("payments_total", "result", "succeeded", 1),
    ] {
        let line = format!("{name}{{{label}=\"{value}\"}} {increments}");
        assert!(page.contains(&line), "{line}\n{page}");
        let points: Vec<_> = metrics[0]
            .resources
            .iter()
            .flat_map(|of| &of.scopes)
            .flat_map(|of| &of.metrics)
            .filter(|metric| metric.name == name)
            .flat_map(|metric| &metric.sum)
            .flat_map(|sum| &sum.points)
            .filter(|point| point.attributes.iter().any(|pair| pair.is(label, value)))
            .collect();
        let sum: i64 = points.iter().map(|point| point.whole).sum();
        assert_eq!((points.len(), sum), (1, increments), "{name}");
    }
}
