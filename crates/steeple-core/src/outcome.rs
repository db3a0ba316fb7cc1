use std::{fmt, time::Duration};

use http::StatusCode;

use crate::GrpcStatus;

/// How an exchange ended.
///
/// Every exchange ends exactly once, with one of these. A response with a 5xx status that was delivered to its last
/// byte has [`Completed`](Self::Completed): the status shows that the request failed, the outcome that the
/// exchange did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The last byte of the response body was handed over, or there was none to hand over.
    Completed,
    /// The exchange became something else: `101 Switching Protocols`, or a `CONNECT` that was accepted.
    #[doc(alias = "websocket")]
    Upgraded,
    /// The service returned an error instead of a response.
    ServiceError,
    /// The response body failed after its head was sent.
    BodyError,
    /// The service or its response body panicked.
    Panicked,
    /// Dropped before there was a response head, as servers do when the client goes away.
    Cancelled,
    /// Dropped after the response head and before the last byte of the body.
    CancelledInBody,
}

impl Outcome {
    /// Every outcome, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Completed,
        Self::Upgraded,
        Self::ServiceError,
        Self::BodyError,
        Self::Panicked,
        Self::Cancelled,
        Self::CancelledInBody,
    ];

    /// The name in labels and log lines, in snake case: `cancelled_in_body`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Upgraded => "upgraded",
            Self::ServiceError => "service_error",
            Self::BodyError => "body_error",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
            Self::CancelledInBody => "cancelled_in_body",
        }
    }

    /// Whether the server is to blame: a service error, a body error or a panic.
    #[inline]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::ServiceError | Self::BodyError | Self::Panicked => true,
            Self::Completed | Self::Upgraded | Self::Cancelled | Self::CancelledInBody => false,
        }
    }

    /// Whether someone went away before the end: before the response head or in the body.
    #[inline]
    pub const fn is_cancelled(self) -> bool {
        match self {
            Self::Cancelled | Self::CancelledInBody => true,
            Self::Completed | Self::Upgraded | Self::ServiceError | Self::BodyError | Self::Panicked => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The facts about an exchange that has ended. Handed to [`Observer::on_end`](crate::Observer::on_end).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct End {
    /// How it ended.
    pub outcome: Outcome,
    /// From the request head to the last byte of the response body (or to what ended it before that).
    pub duration: Duration,
    /// From the request head to the response head. `None` without a response head.
    #[doc(alias = "ttfb")]
    pub head_after: Option<Duration>,
    /// What of it was not the service's: [`Exchange::add_wait`](crate::Exchange::add_wait).
    pub waited: Duration,
    /// The status that the service answered with. `None` without a response head.
    pub status: Option<StatusCode>,
    /// The gRPC status: of the trailers, the head or the last frame of gRPC-Web; of a call that was answered in plain HTTP,
    /// what its caller takes that for ([`GrpcStatus::from_http`]). `None` when the exchange is not gRPC.
    pub grpc_status: Option<GrpcStatus>,
    /// Whether a gRPC call was answered in plain HTTP, by something that does not speak gRPC.
    pub is_plain_answer: bool,
    /// Bytes of the request body: as many as it declares, or as the service has read where they are
    /// [counted](crate::CountRequestBodyLayer). `None` for a body of undeclared length that is not counted.
    pub request_body_bytes: Option<u64>,
    /// Bytes of the response body that were handed over.
    pub response_body_bytes: u64,
    /// Messages of a gRPC request that the service has read whole. `None` where request bodies are not
    /// [counted](crate::CountRequestBodyLayer), or the exchange is not gRPC.
    pub request_messages: Option<u64>,
    /// Messages of a gRPC response that were handed over whole. 0 when the exchange is not gRPC.
    pub response_messages: u64,
}

impl End {
    /// How long the service took: the [duration](Self::duration) without [waits](Self::waited). For latency histograms.
    #[inline]
    pub const fn latency(&self) -> Duration {
        self.duration.saturating_sub(self.waited)
    }

    /// From the request head to the response head, without [waits](Self::waited).
    #[inline]
    pub fn head_latency(&self) -> Option<Duration> {
        self.head_after.map(|head| head.saturating_sub(self.waited))
    }

    /// The status for places that need one: what was answered, else `499` (cancelled), `500` (failed), or `200` for a job
    /// that went well.
    ///
    /// The 499 of a client that went away is nginx's; no response carries it.
    #[inline]
    pub fn status_code(&self) -> u16 {
        match (self.status, self.outcome) {
            (Some(status), _) => status.as_u16(),
            (None, Outcome::Cancelled | Outcome::CancelledInBody) => 499,
            // Work that is not a request: a request that completes has a response head.
            (None, Outcome::Completed | Outcome::Upgraded) => 200,
            (None, Outcome::ServiceError | Outcome::BodyError | Outcome::Panicked) => 500,
        }
    }

    /// Whether the exchange failed for a reason on the server's side: a failed [outcome](Outcome::is_failure), a 5xx
    /// status, or a gRPC status that OpenTelemetry counts as a server error.
    #[inline]
    pub fn is_server_error(&self) -> bool {
        self.outcome.is_failure()
            || self.status.is_some_and(|status| status.is_server_error())
            || (!self.outcome.is_cancelled() && self.grpc_failure().is_some())
    }

    /// The gRPC status that the server is to blame for. Any client can claim to speak gRPC to a route that does not: where
    /// the answer blames the client (4xx), so does this.
    #[inline]
    fn grpc_failure(&self) -> Option<GrpcStatus> {
        let blames_client = self.is_plain_answer && self.status.is_some_and(|status| status.is_client_error());
        self.grpc_status.filter(|status| status.is_server_error() && !blames_client)
    }

    /// Whether a gRPC call asked for a method that is not there, which is to gRPC what a 404 is to HTTP.
    ///
    /// OpenTelemetry counts it as the server's error, and so does [`is_server_error`](Self::is_server_error). But any client
    /// can bring it about: where a client must not be able to fill an alert or an error log, ask this first.
    pub fn is_unknown_method(&self) -> bool {
        !self.outcome.is_failure() && self.grpc_status == Some(GrpcStatus::UNIMPLEMENTED)
    }

    /// The class of the failure, from a bounded set: the outcome's name, the gRPC code's name or the status code.
    /// `None` when nothing failed on the server's side and the client stayed.
    ///
    /// # Source
    /// OpenTelemetry semantic conventions, `error.type`.
    #[inline]
    pub fn error_class(&self) -> Option<ErrorClass> {
        if self.outcome.is_failure() || self.outcome.is_cancelled() {
            Some(ErrorClass::Outcome(self.outcome))
        } else if let Some(status) = self.grpc_failure() {
            Some(ErrorClass::Grpc(status))
        } else {
            self.status.filter(StatusCode::is_server_error).map(ErrorClass::Status)
        }
    }
}

/// A bounded class of failure, see [`End::error_class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The exchange itself failed or was cancelled.
    Outcome(Outcome),
    /// The call ended with this gRPC status.
    Grpc(GrpcStatus),
    /// The response had this status.
    Status(StatusCode),
}

impl ErrorClass {
    /// The value for `error.type`: `panicked`, `UNAVAILABLE`, `503`.
    pub fn with_str<T>(self, f: impl FnOnce(&str) -> T) -> T {
        match self {
            Self::Outcome(outcome) => f(outcome.as_str()),
            Self::Grpc(status) => f(status.as_str()),
            Self::Status(status) => f(status.as_str()),
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_str(|class| f.write_str(class))
    }
}

const _: () = assert!(size_of::<Outcome>() == 1, "passed by value on every request");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_name() {
        let mut names: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Outcome::ALL.len());
    }
}
