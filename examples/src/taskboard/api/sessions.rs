//! `POST /api/sessions`: who a user is was settled elsewhere (`method`); this service takes their word for it.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use steeple::events::preset::UserLogin;

use super::{
    super::{App, session},
    ApiError,
    input::{self, Body},
};

/// How users prove who they are.
const METHODS: &[&str] = &["password", "magic_link", "passkey", "sso", "google", "github", "api_key"];

#[derive(Debug, Deserialize)]
pub(super) struct Input {
    email: String,
    #[serde(default = "password")]
    method: String,
}

fn password() -> String {
    "password".to_owned()
}

/// No `Debug`: it holds a token.
#[derive(Serialize)]
struct Output {
    token: String,
    user_id: i64,
    expires_at: String,
}

pub(super) async fn create(State(app): State<App>, body: Body<Input>) -> Result<impl IntoResponse, ApiError> {
    let Json(input) = body?;
    let email = input::email(&input.email)?;
    let method = input::choice("method", &input.method, METHODS)?;
    let Some(user_id) = app.store().user_by_email(email).await? else {
        tracing::warn!(method, "sign-in refused: no such user");
        return Err(ApiError::unauthorized("nobody with this e-mail address has registered"));
    };
    session::tell(user_id);
    let (token, hash) = session::new_token().map_err(ApiError::failed)?;
    app.store().delete_ended_sessions().await?;
    let expires_at = app.store().insert_session(hash, user_id, method).await?;
    app.events().track(UserLogin { method });
    tracing::info!(method, "signed in");
    let output = Json(Output { token, user_id, expires_at });
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], output))
}
