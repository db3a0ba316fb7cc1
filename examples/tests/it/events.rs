//! What users do is tracked by the handlers that do it.

use std::{collections::BTreeMap, fs};

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
