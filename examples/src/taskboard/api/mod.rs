//! The REST API.

mod error;
mod input;
mod projects;
mod sessions;
mod tasks;
mod users;

use axum::{
    Router,
    routing::{get, post},
};

pub(super) use self::error::ApiError;
use super::App;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/users", post(users::create))
        .route("/sessions", post(sessions::create))
        .route("/projects", post(projects::create))
        .route("/projects/{id}", get(projects::show))
        .route("/projects/{id}/tasks", post(tasks::create))
        .route("/projects/{id}/export", get(projects::export))
        .route("/tasks/{id}/complete", post(tasks::complete))
}
