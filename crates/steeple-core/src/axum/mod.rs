//! The route that Axum matched, and extractors. They never reject: outside of a layer they begin the request's exchange, which the layer then
//! takes over.

#[cfg(feature = "connect-info")]
mod connect_info;

use std::convert::Infallible;

use axum::extract::{FromRequestParts, MatchedPath};
use http::{Extensions, request::Parts};

use crate::{Exchange, RequestId, Text, TransactionName};

impl Text {
    /// The template of the route that Axum has matched, from a request's extensions. Never allocates.
    pub fn of_matched_route(extensions: &Extensions) -> Option<Self> {
        extensions.get::<MatchedPath>().cloned().map(Self::matched)
    }
}

impl<S: Sync> FromRequestParts<S> for Exchange {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(exchange_of(parts))
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(*exchange_of(parts).request_id())
    }
}

/// The name at this moment: a name that the handler sets later is not in it.
impl<S: Sync> FromRequestParts<S> for TransactionName {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(exchange_of(parts).name())
    }
}

fn exchange_of(parts: &mut Parts) -> Exchange {
    if let Some(exchange) = parts.extensions.get::<Exchange>() {
        return exchange.clone();
    }
    Exchange::of_request(parts).0
}
