//! The gRPC service.

use std::{collections::VecDeque, time::Duration};

use axum::{body::Body, http::HeaderMap, response::Response};
use futures_util::stream::{self, BoxStream, StreamExt};
use steeple::{Exchange, metrics::GrpcType};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Interval, MissedTickBehavior},
};
use tonic::{Code, Request, Status};

use super::{App, StoreError, app::Change, store};
use proto::{
    GetTaskRequest, GetTaskResponse, Task, WatchTasksRequest, WatchTasksResponse,
    task_board_server::{TaskBoard, TaskBoardServer},
    watch_tasks_response::Kind,
};

/// What the compiler of protocols made: messages, client, server. A test makes it again and compares.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::pedantic,
    reason = "generated code"
)]
pub mod proto {
    include!("../generated/taskboard.v1.rs");
}

/// Where the service is.
pub(super) const PATH: &str = "/taskboard.v1.TaskBoard/{*method}";

/// What it has.
pub(super) const METHODS: [(&str, GrpcType); 2] = [
    ("taskboard.v1.TaskBoard/GetTask", GrpcType::Unary),
    ("taskboard.v1.TaskBoard/WatchTasks", GrpcType::ServerStream),
];

const DEFAULT_HEARTBEAT_MS: u32 = 1_000;
const MAX_HEARTBEAT_MS: u32 = 60_000;
/// Tasks that a watcher gets when the stream begins.
const SNAPSHOT: u32 = 100;

pub(super) fn service(app: App) -> TaskBoardServer<Board> {
    TaskBoardServer::new(Board(app))
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The answer to a method of a service that is not there.
pub(super) fn unimplemented() -> Response {
    Status::unimplemented("no such service").into_http::<Body>()
}

#[derive(Clone, Debug)]
pub(super) struct Board(App);

#[tonic::async_trait]
impl TaskBoard for Board {
    type WatchTasksStream = BoxStream<'static, Result<WatchTasksResponse, Status>>;

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<tonic::Response<GetTaskResponse>, Status> {
        let request = request.into_inner();
        match ending(request.end_with_code)? {
            Some(Code::Ok) | None => (),
            Some(code) => return Err(asked_for(code)),
        }
        let task = self.0.store().task(request.id).await.map_err(|error| failed(&error))?;
        let task = task.ok_or_else(|| Status::not_found(format!("there is no task {}", request.id)))?;
        tracing::info!(task.id = task.id, "task read");
        Ok(tonic::Response::new(GetTaskResponse { task: Some(task.into()) }))
    }

    async fn watch_tasks(
        &self,
        request: Request<WatchTasksRequest>,
    ) -> Result<tonic::Response<Self::WatchTasksStream>, Status> {
        let request = request.into_inner();
        let code = ending(request.end_with_code)?;
        let left = match (request.end_after, code) {
            (0, None) => None,
            // Nothing at all, and a failure: the status is in the response head.
            (0, Some(code)) if code != Code::Ok => return Err(asked_for(code)),
            (count, _) => Some(count),
        };
        let watch = Watch::start(self.0.clone(), &request, left, code.unwrap_or(Code::Ok)).await?;
        tracing::info!(project.id = request.project_id, "watch began");
        Ok(tonic::Response::new(stream::unfold(Some(watch), Watch::next).boxed()))
    }
}

/// One open stream.
#[derive(Debug)]
struct Watch {
    app: App,
    /// 0: every project.
    project: i64,
    snapshot: VecDeque<store::Task>,
    changes: broadcast::Receiver<Change>,
    heartbeat: Interval,
    /// Messages to go. `None`: without an end.
    left: Option<u32>,
    ending: Code,
}

impl Watch {
    async fn start(app: App, request: &WatchTasksRequest, left: Option<u32>, ending: Code) -> Result<Self, Status> {
        let project = request.project_id;
        let period = match request.heartbeat_ms {
            0 => DEFAULT_HEARTBEAT_MS,
            ms if ms <= MAX_HEARTBEAT_MS => ms,
            ms => {
                let message = format!("heartbeat_ms must be 0 to {MAX_HEARTBEAT_MS}, not {ms}");
                return Err(Status::invalid_argument(message));
            }
        };
        // Changes first: a task that is created in between comes twice rather than never.
        let changes = app.changes();
        let mut snapshot = VecDeque::new();
        if project != 0 {
            if app.store().project(project).await.map_err(|error| failed(&error))?.is_none() {
                return Err(Status::not_found(format!("there is no project {project}")));
            }
            snapshot = app.store().tasks_after(project, 0, SNAPSHOT).await.map_err(|error| failed(&error))?.into();
        }
        let mut heartbeat = tokio::time::interval(Duration::from_millis(period.into()));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        Ok(Self { app, project, snapshot, changes, heartbeat, left, ending })
    }

    /// The next message and what remains of the stream. A status is the last item.
    async fn next(watch: Option<Self>) -> Option<(Result<WatchTasksResponse, Status>, Option<Self>)> {
        let mut watch = watch?;
        match &mut watch.left {
            Some(0) if watch.ending == Code::Ok => return None,
            Some(0) => return Some((Err(asked_for(watch.ending)), None)),
            Some(left) => *left = left.saturating_sub(1),
            None => (),
        }
        match watch.message().await {
            Some(message) => Some((Ok(message), Some(watch))),
            None => Some((Err(Status::unavailable("the service is shutting down")), None)),
        }
    }

    /// `None`: the service is shutting down.
    async fn message(&mut self) -> Option<WatchTasksResponse> {
        if let Some(task) = self.snapshot.pop_front() {
            return Some(message(Kind::Existing, Some(task)));
        }
        loop {
            tokio::select! {
                () = self.app.shutdown().begun() => return None,
                _ = self.heartbeat.tick() => return Some(message(Kind::Heartbeat, None)),
                change = self.changes.recv() => match change {
                    Ok(Change::Created(task)) if self.watches(&task) => {
                        return Some(message(Kind::Created, Some(task)));
                    }
                    Ok(Change::Completed(task)) if self.watches(&task) => {
                        return Some(message(Kind::Completed, Some(task)));
                    }
                    Ok(Change::Created(_) | Change::Completed(_)) => (),
                    Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "a watcher is too slow"),
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    fn watches(&self, task: &store::Task) -> bool {
        self.project == 0 || self.project == task.project_id
    }
}

fn message(kind: Kind, task: Option<store::Task>) -> WatchTasksResponse {
    WatchTasksResponse { kind: kind.into(), task: task.map(Into::into) }
}

impl From<store::Task> for Task {
    fn from(task: store::Task) -> Self {
        Self {
            id: task.id,
            project_id: task.project_id,
            title: task.title,
            created_at: task.created_at,
            completed_at: task.completed_at,
        }
    }
}

/// The code that the client wants to see at the end.
fn ending(code: Option<i32>) -> Result<Option<Code>, Status> {
    match code {
        None => Ok(None),
        Some(code) if (0..=16).contains(&code) => Ok(Some(Code::from_i32(code))),
        Some(code) => Err(Status::invalid_argument(format!("end_with_code must be 0 to 16, not {code}"))),
    }
}

fn asked_for(code: Code) -> Status {
    Status::new(code, "the client asked for this status")
}

fn failed(error: &StoreError) -> Status {
    if let Some(exchange) = Exchange::current() {
        exchange.record_error(error);
    }
    Status::internal("something went wrong on our side")
}
