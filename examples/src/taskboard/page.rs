//! `GET /board/{id}`: a project as a page, for people.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, header},
    response::Html,
};
use steeple::events::preset::PageView;

use super::{App, api};

pub(super) async fn show(
    State(app): State<App>,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Result<Html<String>, api::ApiError> {
    let project = api::find(&app, id).await?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    // The route's template: no page of one user is in it.
    let location = format!("http://{host}/board/{{id}}");
    app.events().on_success(PageView { location: &location, title: Some("A project") });
    let name = project.name.replace('&', "&amp;").replace('<', "&lt;");
    let (open, completed) = (project.open_tasks, project.completed_tasks);
    Ok(Html(format!(
        "<!doctype html><meta charset=utf-8><title>{name}</title><h1>{name}</h1><p>{open} open, {completed} completed</p>"
    )))
}
