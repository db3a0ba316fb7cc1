//! `POST /api/users`

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use steeple::events::preset::{JourneyStep, UserRegistration};

use super::{
    super::{
        App, session,
        store::{NewUser, User},
    },
    ApiError,
    input::{self, Body},
};

/// Where users come from.
const SOURCES: &[&str] =
    &["direct", "web", "mobile", "api", "invite", "import", "referral", "email", "google", "github"];

#[derive(Debug, Deserialize)]
pub(super) struct Input {
    email: String,
    name: String,
    #[serde(default = "direct")]
    source: String,
}

fn direct() -> String {
    "direct".to_owned()
}

pub(super) async fn create(State(app): State<App>, body: Body<Input>) -> Result<(StatusCode, Json<User>), ApiError> {
    let Json(input) = body?;
    let new = NewUser {
        email: input::email(&input.email)?,
        name: input::text("name", &input.name, 100)?,
        source: input::choice("source", &input.source, SOURCES)?,
    };
    let user = app.store().insert_user(new).await.map_err(|error| {
        if error.is_taken() { ApiError::conflict("this e-mail address is taken") } else { error.into() }
    })?;
    session::tell(user.id);
    let events = app.events();
    events.track(UserRegistration { source: &user.source });
    events.track(JourneyStep { journey: "onboarding", step: "registered" });
    tracing::info!(source = user.source, "user registered");
    Ok((StatusCode::CREATED, Json(user)))
}
