//! How satisfied users are with the time that requests take.

use std::{sync::Arc, time::Duration};

use crate::{End, Exchange, RouteSettings};

/// Apdex: from how long on a request is tolerated (T), and frustrates (four times T), for the service and for single routes.
///
/// A request that failed for a reason on the server's side frustrates, however fast it was. The score of a service is the share of
/// satisfied requests, and half of the tolerated ones: `(satisfied + tolerating / 2) / all`.
///
/// # Source
/// The Apdex Alliance's technical specification 1.1, with New Relic's rule that failures frustrate.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_core::Apdex;
///
/// let apdex = Apdex::new(Duration::from_millis(500)).route("POST /exports", Duration::from_secs(5));
/// # let _unused = apdex;
/// ```
#[derive(Clone, Debug)]
#[must_use = "thresholds do nothing until a builder gets them"]
#[doc(alias = "apdex_t")]
pub struct Apdex {
    general: Option<Duration>,
    set: Vec<(String, Duration)>,
    routes: Arc<RouteSettings<Duration>>,
}

/// How a user takes the time of one request. See [`Apdex`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApdexZone {
    /// Answered within T.
    Satisfied,
    /// Answered within four times T.
    Tolerating,
    /// Took longer, or failed.
    Frustrated,
}

impl Apdex {
    /// T of the service.
    pub fn new(threshold: Duration) -> Self {
        Self { general: Some(threshold), ..Self::of_routes() }
    }

    /// For the routes alone that get a threshold by [`route`](Self::route).
    pub fn of_routes() -> Self {
        Self { general: None, set: Vec::new(), routes: Arc::default() }
    }

    /// T of one route, in place of that of the service: `/exports/{id}`, or `GET /exports/{id}` for one method, or
    /// `pkg.Service/Method`. Of two for the same, the first counts.
    pub fn route(mut self, route: impl Into<String>, threshold: Duration) -> Self {
        self.set.push((route.into(), threshold));
        self.routes = Arc::new(RouteSettings::new(self.set.iter().map(|(route, threshold)| (route, *threshold))));
        self
    }

    /// T of an exchange. `None`: neither its route nor the service has one.
    pub fn threshold(&self, exchange: &Exchange) -> Option<Duration> {
        self.routes.of(exchange).copied().or(self.general)
    }

    /// The zone of an exchange that is over. `None`: it has no threshold.
    pub fn zone(&self, exchange: &Exchange, end: &End) -> Option<ApdexZone> {
        Some(ApdexZone::of(end, self.threshold(exchange)?))
    }
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

    #[test]
    fn a_route_with_its_own_threshold_has_no_other() {
        let (fast, slow) = (Duration::from_millis(1), Duration::from_secs(1));
        let of = |apdex: &Apdex, route| {
            let exchange = Exchange::detached();
            exchange.report_route(route);
            apdex.threshold(&exchange)
        };
        let apdex = Apdex::new(fast).route("/exports", slow).route("/exports", fast);
        assert_eq!((of(&apdex, "/exports"), of(&apdex, "/other")), (Some(slow), Some(fast)));
        assert_eq!(of(&Apdex::of_routes().route("/exports", slow), "/other"), None);
    }
}
