//! `POST /api/feedback`

use axum::Json;
use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use steeple::events::preset::Generic;

use super::{
    super::App,
    ApiError,
    input::{self, Body},
};

/// What users have an opinion of.
const TOPICS: &[&str] = &["board", "tasks", "export", "speed", "price"];

#[derive(Debug, Deserialize)]
pub(super) struct Input {
    topic: String,
    stars: u8,
}

pub(super) async fn create(State(app): State<App>, body: Body<Input>) -> Result<StatusCode, ApiError> {
    let Json(input) = body?;
    let topic = input::choice("topic", &input.topic, TOPICS)?;
    if !(1..=5).contains(&input.stars) {
        return Err(ApiError::field("stars", "`stars` must be 1 to 5"));
    }
    app.events().track(Generic {
        category: "feedback",
        action: "rated",
        label: Some(topic),
        value: Some(input.stars.into()),
    });
    Ok(StatusCode::ACCEPTED)
}
