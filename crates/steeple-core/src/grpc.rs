//! What gRPC adds to a message of HTTP.

use std::fmt;

use http::{HeaderMap, HeaderName, StatusCode};

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A gRPC status code. Values outside of 0 to 16 read as [`UNKNOWN`](Self::UNKNOWN).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrpcStatus(u8);

impl GrpcStatus {
    /// The call succeeded.
    pub const OK: Self = Self(0);
    /// The call was cancelled, typically by its caller.
    pub const CANCELLED: Self = Self(1);
    /// No status, or none that is known. An answer without any status is this, never `OK`.
    pub const UNKNOWN: Self = Self(2);
    /// The call took longer than its deadline allows.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// There is no such method.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// Nobody could be reached that would answer.
    pub const UNAVAILABLE: Self = Self(14);

    /// Every status that the protocol knows.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=16).map(Self)
    }

    /// Reads a code; what the protocol does not know is [`UNKNOWN`](Self::UNKNOWN).
    pub const fn from_code(code: u8) -> Self {
        if code <= 16 { Self(code) } else { Self::UNKNOWN }
    }

    /// Reads the `grpc-status` of a response head or of trailers. `None` when there is none.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Some(Self::from_digits(headers.get(&GRPC_STATUS)?.as_bytes()))
    }

    pub(crate) fn from_digits(text: &[u8]) -> Self {
        match text {
            [one @ b'0'..=b'9'] => Self::from_code(one.wrapping_sub(b'0')),
            [b'1', one @ b'0'..=b'6'] => Self::from_code(one.wrapping_sub(b'0').wrapping_add(10)),
            _ => Self::UNKNOWN,
        }
    }

    /// The number on the wire, 0 to 16.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The name in the specification: `DEADLINE_EXCEEDED`.
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            0 => "OK",
            1 => "CANCELLED",
            3 => "INVALID_ARGUMENT",
            4 => "DEADLINE_EXCEEDED",
            5 => "NOT_FOUND",
            6 => "ALREADY_EXISTS",
            7 => "PERMISSION_DENIED",
            8 => "RESOURCE_EXHAUSTED",
            9 => "FAILED_PRECONDITION",
            10 => "ABORTED",
            11 => "OUT_OF_RANGE",
            12 => "UNIMPLEMENTED",
            13 => "INTERNAL",
            14 => "UNAVAILABLE",
            15 => "DATA_LOSS",
            16 => "UNAUTHENTICATED",
            _ => "UNKNOWN",
        }
    }

    /// The name as gRPC's libraries for Go and Java spell it, and the metrics of theirs: `DeadlineExceeded`, `Canceled`.
    pub const fn camel_case(self) -> &'static str {
        match self.0 {
            0 => "OK",
            1 => "Canceled",
            3 => "InvalidArgument",
            4 => "DeadlineExceeded",
            5 => "NotFound",
            6 => "AlreadyExists",
            7 => "PermissionDenied",
            8 => "ResourceExhausted",
            9 => "FailedPrecondition",
            10 => "Aborted",
            11 => "OutOfRange",
            12 => "Unimplemented",
            13 => "Internal",
            14 => "Unavailable",
            15 => "DataLoss",
            16 => "Unauthenticated",
            _ => "Unknown",
        }
    }

    /// What a client takes an answer for that has an HTTP status and no gRPC status.
    ///
    /// # Source
    /// gRPC, "HTTP to gRPC Status Code Mapping".
    pub fn from_http(status: StatusCode) -> Self {
        Self(match status.as_u16() {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        })
    }

    /// Whether a server counts this as its own failure.
    ///
    /// # Source
    /// OpenTelemetry semantic conventions, gRPC: `UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`,
    /// `UNAVAILABLE`, `DATA_LOSS`.
    pub const fn is_server_error(self) -> bool {
        matches!(self.0, 2 | 4 | 12 | 13 | 14 | 15)
    }
}

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check_grpc(value: &'static str, want: Option<GrpcStatus>) {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static(value));
        assert_eq!(GrpcStatus::from_headers(&headers), want, "{value:?}");
    }

    #[test]
    fn grpc_status_reads_what_the_protocol_knows_and_nothing_else() {
        for status in GrpcStatus::all() {
            let text = status.code().to_string();
            check_grpc(Box::leak(text.into_boxed_str()), Some(status));
        }
        for odd in ["17", "00", "-1", "", "1 ", "99999999999", "ok"] {
            check_grpc(odd, Some(GrpcStatus::UNKNOWN));
        }
        assert_eq!(GrpcStatus::from_headers(&HeaderMap::new()), None);
    }
}
