use http::StatusCode;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::service::{Service, read, text};

#[tokio::test]
async fn a_day_at_the_board_works_over_both_protocols() {
    let service = Service::start().await;
    for (number, client) in [&service.http1, &service.http2].into_iter().enumerate() {
        let ask = |method, path: String, token: Option<String>, body| {
            let service = &service;
            async move { service.json(client, method, &path, token.as_deref(), body).await }
        };
        let email = format!("Ada-{number}@Example.com");
        let user = json!({ "email": email, "name": "Ada", "source": "invite" });
        let (status, user) = ask("POST", "/api/users".into(), None, Some(user)).await;
        assert_eq!((status, &user["source"]), (StatusCode::CREATED, &json!("invite")));
        assert_eq!(user["email"], format!("ada-{number}@example.com"));

        let session = json!({ "email": email, "method": "sso" });
        let (status, session) = ask("POST", "/api/sessions".into(), None, Some(session)).await;
        assert_eq!((status, &session["user_id"]), (StatusCode::CREATED, &user["id"]));
        let token = session["token"].as_str().map(str::to_owned);

        let project = json!({ "name": "Steeple", "type": "team" });
        let (status, project) = ask("POST", "/api/projects".into(), token.clone(), Some(project)).await;
        assert_eq!((status, &project["type"]), (StatusCode::CREATED, &json!("team")));
        assert_eq!(project["owner_id"], user["id"]);
        let address = format!("/api/projects/{}", project["id"]);

        let task = json!({ "title": "Ring the bell" });
        let (status, task) = ask("POST", format!("{address}/tasks"), token.clone(), Some(task)).await;
        assert_eq!((status, &task["project_id"]), (StatusCode::CREATED, &project["id"]));
        assert_eq!(task.get("completed_at"), None);
        // Read twice, so that the second answer is the cache's.
        for _ in 0..2 {
            let (_, project) = ask("GET", address.clone(), None, None).await;
            assert_eq!((&project["open_tasks"], &project["completed_tasks"]), (&json!(1), &json!(0)));
        }

        let complete = format!("/api/tasks/{}/complete", task["id"]);
        let (status, done) = ask("POST", complete.clone(), token.clone(), None).await;
        assert_eq!(status, StatusCode::OK);
        assert!(done["completed_at"].as_str() >= done["created_at"].as_str(), "{done}");
        assert!(done["open_seconds"].as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{done}");
        let (status, error) = ask("POST", complete, token, None).await;
        assert_eq!((status, &error["error"]["code"]), (StatusCode::CONFLICT, &json!("conflict")));

        let (_, project) = ask("GET", address, None, None).await;
        assert_eq!((&project["open_tasks"], &project["completed_tasks"]), (&json!(0), &json!(1)), "not the old one");
        let (status, summary) = ask("GET", format!("/admin/users/{}", user["id"]), None, None).await;
        assert_eq!((status, &summary["projects"]), (StatusCode::OK, &json!(1)));
        assert_eq!(summary.get("email"), None);
    }
    service.stop().await;
}

#[tokio::test]
async fn an_export_sends_every_task_once_in_order_and_in_pages() {
    let service = Service::start().await;
    let (id, _) = service.project(250).await;
    let response = service.get(&format!("/api/projects/{id}/export")).await;
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    assert_eq!(response.headers().get("content-length"), None);
    let text = text(response).await;
    let titles: Vec<_> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["title"].clone()).collect();
    let want: Vec<_> = (1..=250).map(|number| json!(format!("Task {number}"))).collect();
    assert_eq!(titles, want);
    service.stop().await;
}

#[tokio::test]
async fn changes_without_a_session_are_refused() {
    let service = Service::start().await;
    for path in ["/api/projects", "/api/projects/1/tasks", "/api/tasks/1/complete"] {
        for authorization in ["", "Bearer", "Bearer 0123", "Basic YTpi"] {
            let mut request = service.request("POST", path);
            request.headers_mut().insert("authorization", authorization.parse().unwrap());
            let response = service.http1.request(request).await.unwrap();
            assert_eq!(response.status(), 401, "{path} {authorization}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            let error: Value = serde_json::from_slice(&read(response).await).unwrap();
            assert_eq!(error["error"]["code"], "unauthorized");
        }
    }
    let (status, _) = service.post("/api/sessions", None, json!({ "email": "who@example.com" })).await;
    assert_eq!(status, 401);
    service.stop().await;
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_the_field_and_what_it_may_be() {
    let service = Service::start().await;
    let (project, token) = service.project(0).await;
    let check = async |path: &str, body: Value, status: u16, field: &str, says: &str| {
        let (got, error) = service.post(path, Some(&token), body.clone()).await;
        let message = error["error"]["message"].as_str().unwrap();
        assert_eq!(got.as_u16(), status, "{path} {body}: {message}");
        assert_eq!(error["error"]["field"].as_str().unwrap_or_default(), field, "{path} {body}: {message}");
        assert!(message.contains(says), "{path} {body}: {message}");
    };
    check("/api/users", json!({ "email": "ada", "name": "Ada" }), 422, "email", "ada@example.com").await;
    check("/api/users", json!({ "email": "a@b.cd", "name": " " }), 422, "name", "1 to 100").await;
    check("/api/users", json!({ "email": "a@b.cd", "name": "A", "source": "?" }), 422, "source", "web, mobile").await;
    check("/api/users", json!({ "email": "a@b.cd" }), 422, "", "missing field `name`").await;
    check("/api/users", json!({ "email": "ADA@example.com", "name": "Ada" }), 409, "", "taken").await;
    check("/api/sessions", json!({ "email": "a@b.cd", "method": "luck" }), 422, "method", "password").await;
    check("/api/projects", json!({ "name": "x".repeat(101) }), 422, "name", "1 to 100").await;
    check("/api/projects", json!({ "name": "x", "type": "odd" }), 422, "type", "personal, team").await;
    let tasks = format!("/api/projects/{project}/tasks");
    check(&tasks, json!({ "title": "two\nlines" }), 422, "title", "1 to 200").await;
    check("/api/projects/999/tasks", json!({ "title": "t" }), 404, "", "no project 999").await;
    check("/api/projects/x/tasks", json!({ "title": "t" }), 400, "", "Invalid URL").await;
    check("/api/tasks/999/complete", json!({}), 404, "", "no task 999").await;
    service.stop().await;
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused_by_kind() {
    let service = Service::start().await;
    let check = async |kind: Option<&'static str>, body: String, status: u16| {
        let mut request = service.request("POST", "/api/users");
        if let Some(kind) = kind {
            request.headers_mut().insert("content-type", kind.parse().unwrap());
        }
        *request.body_mut() = body.into();
        let response = service.http1.request(request).await.unwrap();
        assert_eq!(response.status(), status);
        let error: Value = serde_json::from_slice(&read(response).await).unwrap();
        assert_eq!(error["error"]["code"], "invalid_body");
    };
    check(Some("application/json"), "{\"email\":".to_owned(), 400).await;
    check(None, "{}".to_owned(), 415).await;
    check(Some("text/plain"), "{}".to_owned(), 415).await;
    check(Some("application/json"), format!("\"{}\"", "x".repeat(3 << 20)), 413).await;
    service.stop().await;
}

#[tokio::test]
async fn addresses_and_methods_that_do_not_exist_answer_in_json() {
    let service = Service::start().await;
    for (method, path, want) in [
        ("GET", "/", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/admin/nothing", 404),
        ("GET", "/admin/users/999", 404),
        ("GET", "/api/projects/999", 404),
        ("GET", "/api/projects/999/export", 404),
        ("GET", "/api/projects/first", 400),
        ("DELETE", "/api/projects/1", 405),
        ("BREW", "/admin/users/1", 405),
    ] {
        let (status, error) = service.json(&service.http1, method, path, None, None).await;
        assert_eq!(status, want, "{method} {path}: {error}");
        assert!(error["error"]["message"].is_string(), "{method} {path}: {error}");
    }
    service.stop().await;
}

#[tokio::test]
async fn a_head_request_gets_the_length_and_no_body() {
    let service = Service::start().await;
    let (id, _) = service.project(0).await;
    let path = format!("/api/projects/{id}");
    let length = read(service.get(&path).await).await.len();
    for client in [&service.http1, &service.http2] {
        let response = client.request(service.request("HEAD", &path)).await.unwrap();
        assert_eq!(response.headers()["content-length"], length.to_string());
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
    service.stop().await;
}

#[tokio::test]
async fn a_database_outlives_its_service_and_holds_no_token() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("board.db");
    let service = Service::start_with(Some(&path), |router| router).await;
    let (id, token) = service.project(1).await;
    service.stop().await;

    let service = Service::start_with(Some(&path), |router| router).await;
    let (_, project) = service.json(&service.http1, "GET", &format!("/api/projects/{id}"), None, None).await;
    assert_eq!(project["open_tasks"], 1);
    let (status, _) = service.post("/api/projects", Some(&token), json!({ "name": "The session lives on" })).await;
    assert_eq!(status, 201);
    service.stop().await;

    for file in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()));
    }
}

#[tokio::test]
async fn readiness_goes_with_the_database() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("board.db");
    let service = Service::start_with(Some(&path), |router| router).await;
    assert_eq!(service.get("/readyz").await.status(), 200);
    rusqlite::Connection::open(&path).unwrap().execute("ALTER TABLE users RENAME TO gone", []).unwrap();
    assert_eq!(service.get("/readyz").await.status(), 503);
    assert_eq!(service.get("/healthz").await.status(), 200);
    let (status, error) = service.post("/api/users", None, json!({ "email": "a@b.cd", "name": "A" })).await;
    assert_eq!((status.as_u16(), &error["error"]["code"]), (500, &json!("internal")));
    assert!(!error.to_string().contains("table"), "the client learns nothing of the inside: {error}");
    service.stop().await;
}
