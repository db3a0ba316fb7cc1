//! Bearer tokens: made once, kept as a hash, required for every change.

use std::fmt::Write;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, header, request::Parts},
    middleware::Next,
    response::Response,
};
use sha2::{Digest, Sha256};
use steeple::{Exchange, User};

use super::{App, api::ApiError};

/// The user who sent the token. An extractor: without a session, the answer is 401.
#[derive(Clone, Copy, Debug)]
pub(super) struct SignedIn {
    pub(super) user: i64,
}

/// A new token of 256 random bits in hexadecimal digits, and what to keep of it.
pub(super) fn new_token() -> Result<(String, [u8; 32]), getrandom::Error> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let token = random.iter().fold(String::with_capacity(64), |mut digits, byte| {
        write!(digits, "{byte:02x}").ok();
        digits
    });
    let hash = hash(&token);
    Ok((token, hash))
}

/// Says who is behind the request that is being answered.
pub(super) fn tell(user: i64) {
    if let Some(exchange) = Exchange::current() {
        exchange.set_user(User::new(user.to_string()));
    }
}

/// Names the user behind a request that needs no session, if it has one. A middleware: it rejects no request.
pub(super) async fn tell_if_known(State(app): State<App>, request: Request, next: Next) -> Response {
    if let Some(token) = bearer(request.headers()).map(hash) {
        match app.store().session_user(token).await {
            Ok(Some(user)) => tell(user),
            Ok(None) => (),
            Err(error) => tracing::warn!(%error, "whose session it is remains unknown"),
        }
    }
    next.run(request).await
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            ApiError::unauthorized("send `authorization: Bearer <token>`; POST /api/sessions gives a token")
        })?;
        match app.store().session_user(hash(token)).await? {
            Some(user) => {
                tell(user);
                Ok(Self { user })
            }
            None => Err(ApiError::unauthorized("the session is unknown or has ended; sign in again")),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(value: &'static str, want: Option<&str>) {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
        assert_eq!(bearer(&headers), want, "{value:?}");
    }

    #[test]
    fn only_a_bearer_token_is_a_token() {
        check("Bearer abc", Some("abc"));
        check("bearer  abc ", Some("abc"));
        check("Bearer ", None);
        check("Bearer", None);
        check("Basic abc", None);
    }

    #[test]
    fn tokens_are_long_differ_and_hash_to_what_is_kept() {
        let ((one, kept), (other, _)) = (new_token().unwrap(), new_token().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
        assert_eq!(hash(&one), kept);
    }
}
