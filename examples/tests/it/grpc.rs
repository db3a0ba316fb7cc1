use std::time::Duration;

use axum::body::Body;
use serde_json::json;
use steeple_examples::taskboard::proto::{GetTaskRequest, WatchTasksRequest, watch_tasks_response::Kind};
use tonic::Code;

use crate::service::{Service, read};

#[tokio::test]
async fn a_task_written_over_rest_is_read_over_grpc_on_the_same_port() {
    let service = Service::start().await;
    let (project, _) = service.project(1).await;
    let answer = service.grpc().get_task(GetTaskRequest { id: 1, end_with_code: None }).await.unwrap();
    let task = answer.into_inner().task.unwrap();
    assert_eq!((task.project_id, task.title.as_str(), task.completed_at), (project, "Task 1", None));
    let error = service.grpc().get_task(GetTaskRequest { id: 9, end_with_code: None }).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::NotFound, "there is no task 9"));
    service.stop().await;
}

#[tokio::test]
async fn calls_end_with_any_status_that_they_are_asked_for() {
    let service = Service::start().await;
    service.project(2).await;
    let mut client = service.grpc();
    for code in 0..=16 {
        let unary = client.get_task(GetTaskRequest { id: 1, end_with_code: Some(code) }).await;
        assert_eq!(unary.map_or_else(|status| status.code(), |_| Code::Ok), Code::from_i32(code));
        for end_after in [0, 1, 3] {
            let request = WatchTasksRequest { project_id: 1, end_after, end_with_code: Some(code), heartbeat_ms: 1 };
            let mut seen = 0;
            let status = match client.watch_tasks(request).await {
                Err(status) => status.code(),
                Ok(stream) => {
                    let mut stream = stream.into_inner();
                    loop {
                        match stream.message().await {
                            Ok(Some(_)) => seen += 1,
                            Ok(None) => break Code::Ok,
                            Err(status) => break status.code(),
                        }
                    }
                }
            };
            assert_eq!((status, seen), (Code::from_i32(code), end_after));
        }
    }
    service.stop().await;
}

#[tokio::test]
async fn a_watcher_sees_what_is_there_then_what_changes_then_heartbeats() {
    let service = Service::start().await;
    let (project_id, token) = service.project(1).await;
    let request = WatchTasksRequest { project_id, end_after: 0, end_with_code: None, heartbeat_ms: 200 };
    let mut stream = service.grpc().watch_tasks(request).await.unwrap().into_inner();
    let mut next = async || {
        let message = stream.message().await.unwrap().unwrap();
        (message.kind(), message.task.map(|task| task.id))
    };
    assert_eq!(next().await, (Kind::Existing, Some(1)));
    let (_, other) = service.post("/api/projects", Some(&token), json!({ "name": "Another" })).await;
    for project in [&other["id"], &json!(project_id)] {
        service.post(&format!("/api/projects/{project}/tasks"), Some(&token), json!({ "title": "New" })).await;
    }
    let mut seen = Vec::new();
    service.post("/api/tasks/1/complete", Some(&token), json!({})).await;
    while seen.len() < 3 {
        let message = next().await;
        // A slow machine may put a heartbeat anywhere, but nothing else.
        if message.0 != Kind::Heartbeat || seen.len() == 2 {
            seen.push(message);
        }
    }
    assert_eq!(seen, [(Kind::Created, Some(3)), (Kind::Completed, Some(1)), (Kind::Heartbeat, None)]);
    service.stop().await;
}

#[tokio::test]
async fn endless_streams_end_when_the_service_does() {
    let service = Service::start().await;
    let request = WatchTasksRequest { project_id: 0, end_after: 0, end_with_code: None, heartbeat_ms: 60_000 };
    let mut stream = service.grpc().watch_tasks(request).await.unwrap().into_inner();
    let ends = tokio::spawn(async move { stream.message().await });
    tokio::time::timeout(Duration::from_secs(4), service.stop()).await.expect("before the grace period is over");
    assert_eq!(ends.await.unwrap().unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn requests_out_of_bounds_are_refused() {
    let service = Service::start().await;
    let mut client = service.grpc();
    let request = |project_id, end_with_code, heartbeat_ms| WatchTasksRequest {
        project_id,
        end_after: 1,
        end_with_code,
        heartbeat_ms,
    };
    for (request, want) in [
        (request(0, Some(17), 0), Code::InvalidArgument),
        (request(0, Some(-1), 0), Code::InvalidArgument),
        (request(0, None, 60_001), Code::InvalidArgument),
        (request(9, None, 0), Code::NotFound),
    ] {
        assert_eq!(client.watch_tasks(request).await.unwrap_err().code(), want, "{request:?}");
    }
    service.stop().await;
}

#[tokio::test]
async fn unknown_services_and_methods_are_unimplemented() {
    let service = Service::start().await;
    for path in ["/taskboard.v1.TaskBoard/Nothing", "/nothing.v1.Nothing/Nothing", "/x"] {
        let mut request = service.request("POST", path);
        request.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
        *request.body_mut() = Body::from(&b"\0\0\0\0\0"[..]);
        let response = service.http2.request(request).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["grpc-status"]), (200, &"12".parse().unwrap()));
        assert!(read(response).await.is_empty());
    }
    service.stop().await;
}
