//! How satisfied users are with the time that requests take.

use std::time::Duration;

use crate::End;

/// Apdex: how a user takes the time of one request, by a threshold T. What takes longer is tolerated, and what takes four times as
/// long frustrates.
///
/// A request that failed for a reason on the server's side frustrates, however fast it was. The score of a service is the share of
/// satisfied requests, and half of the tolerated ones: `(satisfied + tolerating / 2) / all`. A route has its own threshold by
/// [`RouteOptions::apdex`](crate::RouteOptions::apdex).
///
/// # Source
/// The Apdex Alliance's technical specification 1.1, with New Relic's rule that failures frustrate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApdexZone {
    /// Answered within T.
    Satisfied,
    /// Answered within four times T.
    Tolerating,
    /// Took longer, or failed.
    Frustrated,
}

impl ApdexZone {
    /// All zones.
    pub const ALL: [Self; 3] = [Self::Satisfied, Self::Tolerating, Self::Frustrated];

    /// The zone of an exchange that ended like this, with this T.
    pub fn of(end: &End, threshold: Duration) -> Self {
        let duration = end.latency();
        if end.is_server_error() || duration > threshold.saturating_mul(4) {
            Self::Frustrated
        } else if duration > threshold {
            Self::Tolerating
        } else {
            Self::Satisfied
        }
    }

    /// `satisfied`, `tolerating` or `frustrated`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Satisfied => "satisfied",
            Self::Tolerating => "tolerating",
            Self::Frustrated => "frustrated",
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::Outcome;

    fn end(millis: u64, status: StatusCode) -> End {
        End {
            outcome: Outcome::Completed,
            status: Some(status),
            grpc_status: None,
            is_plain_answer: false,
            duration: Duration::from_millis(millis),
            waited: Duration::ZERO,
            head_after: None,
            request_body_bytes: None,
            response_body_bytes: 0,
            request_messages: None,
            response_messages: 0,
        }
    }

    #[test]
    fn a_request_is_satisfied_within_t_tolerated_within_four_and_frustrates_beyond_or_when_it_fails() {
        let zone = |millis, status| ApdexZone::of(&end(millis, status), Duration::from_millis(100)).as_str();
        let ok = [0, 100, 101, 400, 401].map(|millis| zone(millis, StatusCode::OK));
        assert_eq!(ok, ["satisfied", "satisfied", "tolerating", "tolerating", "frustrated"]);
        assert_eq!(zone(0, StatusCode::INTERNAL_SERVER_ERROR), "frustrated");
        assert_eq!(zone(0, StatusCode::NOT_FOUND), "satisfied", "the caller's fault");
    }
}
