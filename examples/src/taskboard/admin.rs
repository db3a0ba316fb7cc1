//! `/admin`: a separate router, as a service. Without a token: an operator reaches it from inside only.

use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    routing::get,
};
use steeple::transaction::ReportRouteLayer;

use super::{App, api::ApiError, app::not_found, store::UserSummary};

pub(super) fn routes(app: App) -> Router {
    Router::new()
        .route("/users/{id}", get(user))
        .fallback(not_found)
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        // To the routers around it, `/admin` is one service: they would know no more than `/admin/{*rest}`.
        .layer(ReportRouteLayer::matched_path())
        .with_state(app)
}

async fn user(State(app): State<App>, id: Result<Path<i64>, PathRejection>) -> Result<Json<UserSummary>, ApiError> {
    let Path(id) = id?;
    let user = app.store().user_summary(id).await?;
    user.map(Json).ok_or_else(|| ApiError::not_found(format!("there is no user {id}")))
}
