//! `POST /api/projects`, `GET /api/projects/{id}`, `GET /api/projects/{id}/export`

use axum::{
    Json,
    body::{Body as ResponseBody, Bytes},
    extract::{Path, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use futures_util::stream;
use serde::Deserialize;
use steeple::events::preset::{FeatureUsed, JourneyStep, ProjectCreated};

use super::{
    super::{App, cache::Lookup, session::SignedIn, store::Project},
    ApiError,
    input::{self, Body, Id},
};

const TYPES: &[&str] = &["personal", "team", "business", "client", "internal", "public", "private", "open_source"];

/// Tasks per frame of an export.
const PAGE: u32 = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Input {
    name: String,
    #[serde(rename = "type", default = "personal")]
    kind: String,
}

fn personal() -> String {
    "personal".to_owned()
}

pub(super) async fn create(
    State(app): State<App>,
    signed_in: SignedIn,
    body: Body<Input>,
) -> Result<(StatusCode, Json<Project>), ApiError> {
    let Json(input) = body?;
    let name = input::text("name", &input.name, 100)?;
    let kind = input::choice("type", &input.kind, TYPES)?;
    let project = app.store().insert_project(signed_in.user, name, kind).await?;
    let events = app.events();
    events.track(ProjectCreated { kind });
    events.track(JourneyStep { journey: "onboarding", step: "project_created" });
    tracing::info!(project.id = project.id, project.type = kind, "project created");
    Ok((StatusCode::CREATED, Json(project)))
}

pub(super) async fn show(State(app): State<App>, id: Id) -> Result<Json<Project>, ApiError> {
    let Path(id) = id?;
    Ok(Json(find(&app, id).await?))
}

/// The project from the cache, else from the database.
pub(in super::super) async fn find(app: &App, id: i64) -> Result<Project, ApiError> {
    let ticket = match app.projects().get(id) {
        Lookup::Hit(project) => return Ok(project),
        Lookup::Miss(ticket) => ticket,
    };
    let project =
        app.store().project(id).await?.ok_or_else(|| ApiError::not_found(format!("there is no project {id}")))?;
    app.projects().keep(&ticket, project.clone());
    Ok(project)
}

/// One JSON line per task, read from the database while the client reads, so that a large project costs no memory.
pub(super) async fn export(State(app): State<App>, id: Id) -> Result<impl IntoResponse, ApiError> {
    let Path(id) = id?;
    let project = find(&app, id).await?;
    // Once the client has all of it.
    app.events().on_success(FeatureUsed { feature: "export" });
    tracing::info!(project.id = id, tasks = project.open_tasks.saturating_add(project.completed_tasks), "export began");
    let pages = stream::try_unfold((app, 0), move |(app, after)| async move {
        let tasks = app.store().tasks_after(id, after, PAGE).await?;
        let Some(last) = tasks.last().map(|task| task.id) else { return Ok(None) };
        let mut lines = Vec::new();
        for task in &tasks {
            serde_json::to_writer(&mut lines, task)?;
            lines.push(b'\n');
        }
        Ok::<_, axum::BoxError>(Some((Bytes::from(lines), (app, last))))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"project-{id}.jsonl\"")),
    ];
    Ok((headers, ResponseBody::from_stream(pages)))
}
