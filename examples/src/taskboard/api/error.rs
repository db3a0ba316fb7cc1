//! Errors as the API tells them: `{"error":{"code":"invalid_field","message":"…","field":"email"}}`.

use std::{borrow::Cow, error::Error};

use axum::{
    Json,
    extract::rejection::{JsonRejection, PathRejection, QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use steeple::{Exchange, RecordedError};

use super::super::StoreError;

/// A request that is refused, or that failed.
#[derive(Debug)]
pub(in super::super) enum ApiError {
    Refused(Refusal),
    /// The client learns that it failed, and no more. The exchange learns why.
    Failed(RecordedError),
}

#[derive(Debug, Serialize)]
pub(in super::super) struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a Refusal,
}

impl ApiError {
    pub(in super::super) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(in super::super) fn method_not_allowed() -> Self {
        Self::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address has no such method")
    }

    pub(in super::super) fn unauthorized(message: &'static str) -> Self {
        Self::refused(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(in super::super) fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::CONFLICT, "conflict", message)
    }

    /// A field of the body that cannot be taken.
    pub(in super::super) fn field(field: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused(Refusal {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            code: "invalid_field",
            message: message.into(),
            field: Some(field),
        })
    }

    /// A parameter of the address that cannot be taken.
    pub(in super::super) fn parameter(name: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused(Refusal {
            status: StatusCode::BAD_REQUEST,
            code: "invalid_parameter",
            message: message.into(),
            field: Some(name),
        })
    }

    pub(in super::super) fn refused(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Refused(Refusal { status, code, message: message.into(), field: None })
    }

    pub(in super::super) fn failed(error: impl Error) -> Self {
        Self::Failed(RecordedError::of(&error))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => respond(&refusal),
            Self::Failed(cause) => {
                if let Some(exchange) = Exchange::current() {
                    exchange.record(cause);
                }
                respond(&Refusal {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    code: "internal",
                    message: "something went wrong on our side".into(),
                    field: None,
                })
            }
        }
    }
}

fn respond(refusal: &Refusal) -> Response {
    let mut response = (refusal.status, Json(Envelope { error: refusal })).into_response();
    if refusal.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::failed(error)
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::refused(rejection.status(), "invalid_body", rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::refused(rejection.status(), "invalid_path", rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::refused(rejection.status(), "invalid_query", rejection.body_text())
    }
}
