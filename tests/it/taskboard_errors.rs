//! The task board's failures, as a server that speaks Sentry's protocol has them.

use std::collections::BTreeMap;

use serde_json::Value;
use steeple::Steeple;
use steeple_examples::taskboard::proto::{GetTaskRequest, WatchTasksRequest};
use steeple_tests::{
    board::{Board, with_session},
    bugsink::Bugsink,
    process::ran_alone,
};
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_failure_of_the_task_board_is_one_event_with_its_route_and_its_user() {
    // What installs itself for a process stays out of the other tests' one.
    if ran_alone("taskboard_errors::each_failure_of_the_task_board_is_one_event_with_its_route_and_its_user") {
        return;
    }
    let Some(bugsink) = Bugsink::start().await else { return };
    let options = Steeple::builder()
        .without_log_setup()
        .sentry(|sentry| sentry.dsn(bugsink.dsn()).environment("test").release("taskboard@1.2.3"));
    let board = Board::start(options).await;
    let (user, token) = board.sign_in().await;

    assert_eq!(board.get("/lab/fail", &token).await.unwrap().0, 500);
    assert!(board.get("/lab/panic", &token).await.is_none());
    assert!(board.get("/lab/body-error", &token).await.is_none());
    let call = WatchTasksRequest { project_id: 0, end_after: 2, end_with_code: Some(13), heartbeat_ms: 1 };
    let mut stream = board.grpc().watch_tasks(with_session(call, &token)).await.unwrap().into_inner();
    let mut messages = 0;
    let status = loop {
        match stream.message().await {
            Ok(message) => messages += usize::from(message.is_some()),
            Err(status) => break status.code(),
        }
    };
    assert_eq!((messages, status), (2, Code::Internal));
    // None of these is a failure of the service.
    assert_eq!(board.get("/lab/status/404", &token).await.unwrap().0, 404);
    assert_eq!(board.get("/api/projects/1", "").await.unwrap().0, 404);

    let steeple = board.steeple().clone();
    board.stop().await;
    let counts = steeple.sentry().unwrap().counts();
    assert_eq!(counts.events, 4, "{counts:?}");

    let mut found = BTreeMap::new();
    for mut events in bugsink.issues(4).await {
        let event = events.remove(0);
        assert!(events.is_empty(), "one failure is one event");
        let name = event["transaction"].as_str().unwrap().to_owned();
        assert_eq!(event["user"]["id"], user, "{name}");
        assert_eq!((&event["release"], &event["environment"]), (&"taskboard@1.2.3".into(), &"test".into()));
        let sent = event.to_string();
        assert!(!sent.contains(&token) && !sent.contains("ada@example.com"), "{sent}");
        assert!(found.insert(name, event).is_none(), "two issues for one failure");
    }
    let types = |event: &Value| {
        let values = event["exception"]["values"].as_array().unwrap().iter();
        values.map(|exception| exception["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let told: Vec<_> = found.iter().map(|(name, event)| (name.as_str(), types(event).join(" < "))).collect();
    assert_eq!(
        told,
        [
            ("GET /lab/body-error", "Error".to_owned()),
            ("GET /lab/fail", "Error < Error < ReportError".to_owned()),
            ("GET /lab/panic", "panic".to_owned()),
            ("taskboard.v1.TaskBoard/WatchTasks", "INTERNAL".to_owned()),
        ]
    );
    let chain = found["GET /lab/fail"]["exception"]["values"].as_array().unwrap().iter();
    let chain: Vec<_> = chain.map(|exception| exception["value"].as_str().unwrap()).collect();
    assert_eq!(
        chain,
        ["no space left on the report disk", "page 3 could not be rendered", "the monthly report could not be written"]
    );
    assert_eq!(found["GET /lab/fail"]["transaction_info"]["source"], "route");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_fails_a_grpc_call_is_one_event_with_its_method_and_its_causes() {
    if ran_alone("taskboard_errors::a_database_that_fails_a_grpc_call_is_one_event_with_its_method_and_its_causes") {
        return;
    }
    let Some(bugsink) = Bugsink::start().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("board.db");
    let options = Steeple::builder().without_log_setup().sentry(|sentry| sentry.dsn(bugsink.dsn()));
    let board = Board::start_on(&database, options).await;
    let (user, token) = board.sign_in().await;
    board.task(&token).await;
    let call = || with_session(GetTaskRequest { id: 1, end_with_code: None }, &token);
    let mut client = board.grpc();
    assert!(client.get_task(call()).await.is_ok());

    // Somebody else's migration.
    rusqlite::Connection::open(&database).unwrap().execute_batch("ALTER TABLE tasks RENAME TO tasks_old").unwrap();
    let status = client.get_task(call()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, "something went wrong on our side"));

    let steeple = board.steeple().clone();
    drop(client);
    board.stop().await;
    let counts = steeple.sentry().unwrap().counts();
    assert_eq!(counts.events, 1, "{counts:?}");
    let event = bugsink.issues(1).await.remove(0).remove(0);
    assert_eq!(event["transaction"], "taskboard.v1.TaskBoard/GetTask");
    assert_eq!(event["transaction_info"]["source"], "route");
    assert_eq!(event["user"]["id"], user);
    let chain = event["exception"]["values"].as_array().unwrap().iter();
    let chain: Vec<_> = chain.map(|one| one["value"].as_str().unwrap()).collect();
    // The innermost cause comes first.
    assert_eq!(chain, ["Error code 1: SQL logic error", "no such table: tasks", "the database could not select tasks"]);
}
