//! Extractors for Axum.

use std::{convert::Infallible, fmt, net::IpAddr, ops::Deref};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use steeple_core::{Exchange, User};

/// The user behind the request, whole: what the application knows, not what sinks see.
///
/// Required, it answers 401 where no user is known; `Option<CurrentUser>` answers nothing. It does **not** authenticate:
/// it hands on what an authentication, a gateway or a function has [set](crate::Users) on the exchange. Where no layer
/// observes, the user is unknown.
///
/// # Examples
/// ```
/// use steeple_user::CurrentUser;
///
/// async fn profile(user: CurrentUser) -> String {
///     format!("you are {}", user.id().unwrap_or("unknown"))
/// }
///
/// async fn home(user: Option<CurrentUser>) -> &'static str {
///     if user.is_some() { "welcome back" } else { "welcome" }
/// }
/// # let _app: axum::Router = axum::Router::new()
/// #     .route("/profile", axum::routing::get(profile)).route("/", axum::routing::get(home));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentUser(pub User);

impl Deref for CurrentUser {
    type Target = User;

    fn deref(&self) -> &User {
        &self.0
    }
}

/// The request has no known user. As a response: 401 with no challenge, as only the authentication knows
/// which one to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoUser;

impl fmt::Display for NoUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("authentication required")
    }
}

impl std::error::Error for NoUser {}

impl IntoResponse for NoUser {
    fn into_response(self) -> Response {
        (StatusCode::UNAUTHORIZED, self.to_string()).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = NoUser;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, NoUser> {
        current_user(parts).ok_or(NoUser)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for CurrentUser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Infallible> {
        Ok(current_user(parts))
    }
}

fn current_user(parts: &Parts) -> Option<CurrentUser> {
    parts.extensions.get::<Exchange>()?.user().map(CurrentUser)
}

/// The client's address behind trusted proxies, whole. Never rejects: `None` where it is unknown, or no layer observes.
///
/// # Examples
/// ```
/// use steeple_user::ClientAddress;
///
/// async fn whoami(ClientAddress(address): ClientAddress) -> String {
///     address.map_or_else(|| "somewhere".to_owned(), |address| address.to_string())
/// }
/// # let _app: axum::Router = axum::Router::new().route("/", axum::routing::get(whoami));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Exchange>().and_then(Exchange::client_address)))
    }
}
