//! `/healthz` and `/readyz`, for as long as nobody else brings them.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};

use super::App;

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// `/healthz` says that the process lives, `/readyz` that its database answers.
pub fn routes(app: App) -> Router {
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready)).with_state(app)
}

async fn ready(State(app): State<App>) -> Response {
    match tokio::time::timeout(PATIENCE, app.ready()).await {
        Ok(Ok(())) => "ready\n".into_response(),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
        Err(_elapsed) => {
            tracing::warn!(patience_seconds = PATIENCE.as_secs(), "not ready: the database takes too long");
            (StatusCode::SERVICE_UNAVAILABLE, "the database takes too long\n").into_response()
        }
    }
}
