//! `POST /api/projects/{id}/tasks`, `POST /api/tasks/{id}/complete`

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use steeple::{
    Exchange,
    events::preset::{JourneyStep, TaskCompleted},
};

use super::{
    super::{App, app::Change, session::SignedIn, store::Task},
    ApiError,
    input::{self, Body, Id},
    projects,
};

#[derive(Debug, Deserialize)]
pub(super) struct Input {
    title: String,
}

pub(super) async fn create(
    State(app): State<App>,
    signed_in: SignedIn,
    id: Id,
    body: Body<Input>,
) -> Result<(StatusCode, Json<Task>), ApiError> {
    let Path(project) = id?;
    let Json(input) = body?;
    let title = input::text("title", &input.title, 200)?;
    let project = projects::find(&app, project).await?;
    let announcer = app.clone();
    let committed = move |task: &Task| announcer.announce(Change::Created(task.clone()));
    let task = app.store().insert_task(project.id, signed_in.user, title, committed).await?;
    app.events().track(JourneyStep { journey: "onboarding", step: "task_created" });
    tracing::info!(task.id = task.id, project.id = project.id, "task created");
    Ok((StatusCode::CREATED, Json(task)))
}

pub(super) async fn complete(State(app): State<App>, _signed_in: SignedIn, id: Id) -> Result<Json<Task>, ApiError> {
    let Path(id) = id?;
    let announcer = app.clone();
    let exchange = Exchange::current().unwrap_or_else(Exchange::detached);
    let committed = move |task: &Task| {
        // Tracked where it happens, so that a client that hangs up changes nothing; in the request's name.
        let duration = task.open_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        exchange.in_scope(|| announcer.events().track(TaskCompleted { duration }));
        announcer.announce(Change::Completed(task.clone()));
    };
    let Some(task) = app.store().complete_task(id, committed).await? else {
        return Err(match app.store().task(id).await? {
            Some(_) => ApiError::conflict(format!("task {id} was completed before")),
            None => ApiError::not_found(format!("there is no task {id}")),
        });
    };
    tracing::info!(task.id = task.id, project.id = task.project_id, open_seconds = task.open_seconds, "task completed");
    Ok(Json(task))
}
