//! The extractor for Axum. It never rejects: where no events were installed, it hands out disabled ones.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::Events;

impl<S: Sync> FromRequestParts<S> for Events {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::current))
    }
}
