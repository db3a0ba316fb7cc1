use http::{HeaderMap, HeaderName, request, response};
use steeple_core::{ApdexZone, End, Exchange, Identity, Observer, Outcome, RouteId, RoutePolicy, Signal};

use crate::{
    Measure, Metrics,
    http::{Ended, Open, Verb},
    route::OfRoute,
};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What [`Metrics`] remembers of an exchange while it lasts.
#[derive(Debug)]
pub struct MetricsState {
    verb: Verb,
    /// Whether its gRPC method was counted as started.
    grpc_started: bool,
    /// Whether a stream of events was counted as open.
    sse: bool,
    /// Whether it has left the requests in flight before its end: a stream that the metrics leave out.
    left: bool,
    /// Where the exchange may become an upgraded connection. To look for `upgrade` among the headers would cost more.
    #[cfg(feature = "connection")]
    connection: Option<steeple_core::connection::Connection>,
}

impl Observer for Metrics {
    type State = MetricsState;

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(&*self.0.core))
    }

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<MetricsState> {
        let core = &*self.0.core;
        let verb = core.http.started(exchange.method());
        // For exemplars, unless an earlier observer has read the caller's trace.
        if exchange.trace().is_none() && may_be_sampled(&request.headers) {
            exchange.trace_or_continue(&request.headers);
        }
        Some(MetricsState {
            verb,
            grpc_started: exchange.rpc_method().is_some_and(|method| core.grpc.started(method)),
            sse: false,
            left: false,
            #[cfg(feature = "connection")]
            connection: if exchange.method() == "CONNECT" || exchange.version() <= http::Version::HTTP_11 {
                let connection: Option<steeple_core::connection::Connection> = request.extensions.get().cloned();
                connection.inspect(steeple_core::connection::Connection::observe)
            } else {
                None
            },
        })
    }

    fn on_response(&self, state: &mut MetricsState, exchange: &Exchange, _response: &mut response::Parts) {
        if exchange.is_event_stream() {
            // A stream that is left out would be in flight for as long as somebody looks.
            if exchange.is_skipped(Signal::Metrics) {
                state.left = true;
                self.0.core.http.left_flight(state.verb);
                return;
            }
            state.sse = true;
            self.0.core.http.opened(Open::Sse);
        }
    }

    fn on_end(&self, state: MetricsState, exchange: &Exchange, end: &End) {
        let core = &self.0.core;
        if !state.left {
            core.http.left_flight(state.verb);
        }
        if state.sse {
            core.http.closed(Open::Sse);
        }
        if let Some(users) = &core.users
            && let Some(user) = exchange.user()
            && let Some(id) = user.id()
            && let Some(at) = exchange.started().checked_add(end.duration)
        {
            users.seen(id, at);
        }
        let of_route = core.routes.of(exchange);
        let OfRoute { is_measured, apdex, measured: options } = match RoutePolicy::of(exchange) {
            Some(applied) => OfRoute::of(&applied).or(of_route),
            None => of_route.cloned().unwrap_or_default(),
        };
        let measured = match is_measured {
            Some(measured) => measured,
            None => core.measure == Measure::Everything,
        };
        let measured = measured && !exchange.is_skipped(Signal::Metrics);
        #[cfg(feature = "connection")]
        if end.outcome == Outcome::Upgraded
            && let Some(connection) = &state.connection
        {
            connection.hold(OpenUpgrade::new(core));
        }
        if !measured {
            return;
        }
        let trace = exchange.trace().filter(|trace| trace.is_sampled());
        if let Some(method) = exchange.rpc_method() {
            #[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "only the SDK uses it"))]
            let counted_as = core.grpc.ended(method, state.grpc_started, trace, end);
            #[cfg(feature = "otel")]
            if let Some(otel) = &core.otel {
                otel.rpc(counted_as, end);
            }
            return;
        }
        // A rule's name, else the route's template. The name that a handler sets is not a label: it may be anything.
        let (route, route_id) = match exchange.rule_name() {
            Some(rule) => (Some(rule), RouteId::of(rule)),
            None => (exchange.route(), exchange.route_id()),
        };
        let timed = !state.sse && end.outcome != Outcome::Upgraded;
        let threshold = apdex.or(core.apdex).filter(|_| timed);
        let ended = Ended {
            verb: state.verb,
            route,
            route_id,
            version: exchange.version_str(),
            timed,
            apdex: threshold.map(|threshold| ApdexZone::of(end, threshold)),
            options,
            trace,
            exchange,
            end,
        };
        #[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "only the SDK uses it"))]
        let counted_as = core.http.ended(&ended);
        #[cfg(feature = "otel")]
        if let Some(otel) = &core.otel {
            otel.http(core.http.verb_name(ended.verb), core.http.scheme(), counted_as, ended.version, ended.timed, end);
        }
    }
}

/// Whether the caller's `traceparent` may have the flag for sampled: the last of its digits is odd, or it is not where it
/// is written everywhere. Only then is it read.
fn may_be_sampled(headers: &HeaderMap) -> bool {
    const UNSAMPLED: &[u8] = b"02468ace";
    let value = headers.get(&TRACEPARENT).map(http::HeaderValue::as_bytes);
    value.is_some_and(|value| !matches!(value, [.., last] if value.len() == 55 && UNSAMPLED.contains(last)))
}

/// An upgraded connection that is open.
#[cfg(feature = "connection")]
struct OpenUpgrade(std::sync::Arc<crate::core::Core>);

#[cfg(feature = "connection")]
impl OpenUpgrade {
    fn new(core: &std::sync::Arc<crate::core::Core>) -> Self {
        core.http.opened(Open::Upgrade);
        Self(std::sync::Arc::clone(core))
    }
}

#[cfg(feature = "connection")]
impl Drop for OpenUpgrade {
    fn drop(&mut self) {
        self.0.http.closed(Open::Upgrade);
    }
}
