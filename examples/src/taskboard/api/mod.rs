//! The REST API.

mod error;
mod feedback;
mod input;
mod measured;
mod payments;
mod projects;
mod sessions;
mod tasks;
mod users;

use axum::{
    Router,
    routing::{get, post},
};
use steeple::events::{AtTimeout, HoldResponseLayer};
use tower::util::option_layer;

pub(super) use self::{error::ApiError, projects::find};
use super::App;

pub(super) fn routes() -> Router<App> {
    let bound = |options| option_layer(measured::layer(options));
    Router::new()
        .route("/users", post(users::create).route_layer(held()))
        .route("/sessions", post(sessions::create))
        .route("/projects", post(projects::create))
        .route("/projects/{id}", get(projects::show).route_layer(bound(measured::projects())))
        .route("/projects/{id}/tasks", post(tasks::create))
        .route("/projects/{id}/export", get(projects::export).route_layer(bound(measured::exports())))
        .route("/payments", post(payments::create).route_layer(held()))
        .route("/feedback", post(feedback::create))
        .route("/tasks/{id}/complete", post(tasks::complete).route_layer(bound(measured::completions())))
}

/// What these answer was done for good: who registers or pays is told so once the event is stored, or gets 503.
fn held() -> HoldResponseLayer {
    HoldResponseLayer::new().at_timeout(AtTimeout::Unavailable)
}
