//! Extractors for Axum. They never reject: without a layer they hand out a detached exchange.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::{Exchange, RequestId, TransactionName};

impl<S: Sync> FromRequestParts<S> for Exchange {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get_or_insert_with(Self::detached).clone())
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(*parts.extensions.get_or_insert_with(Exchange::detached).request_id())
    }
}

/// The name as it is by now: what the handler says later is not in it.
impl<S: Sync> FromRequestParts<S> for TransactionName {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get_or_insert_with(Exchange::detached).name())
    }
}
