use std::time::Duration;

use http::{HeaderMap, HeaderName, request, response};
use steeple_core::{ApdexZone, End, Exchange, Identity, Observer, Outcome, RouteId, RoutePolicy, Signal, TraceContext};

use crate::{
    Measure, Metrics,
    app::users::ActiveUsers,
    core::Core,
    http::{Ended, Open, Verb},
    route::{Measured, OfRoute},
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
                request.extensions.get().cloned()
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
        if exchange.has_user()
            && let Some(users) = &core.users
        {
            seen(users, exchange, end);
        }
        #[cfg(feature = "connection")]
        if end.outcome == Outcome::Upgraded
            && let Some(connection) = &state.connection
        {
            connection.hold(OpenUpgrade::new(core));
        }
        if exchange.is_skipped(Signal::Metrics) {
            return;
        }
        if !core.routes.is_empty() || RoutePolicy::is_in_use() {
            return core.count_as_set(&state, exchange, end);
        }
        if core.measure == Measure::Everything {
            core.count(&state, (None, core.apdex), exchange, end);
        }
    }
}

impl Core {
    /// Counts an exchange that is over, where something is set for its route perhaps.
    #[inline(never)]
    fn count_as_set(&self, state: &MetricsState, exchange: &Exchange, end: &End) {
        let of_route = self.routes.of(exchange);
        let of_exchange = RoutePolicy::of(exchange).map(|applied| OfRoute::of(&applied).or(of_route));
        let none = OfRoute::default();
        let OfRoute { is_measured, apdex, measured } = of_exchange.as_ref().or(of_route).unwrap_or(&none);
        if is_measured.unwrap_or(self.measure == Measure::Everything) {
            self.count(state, (measured.as_ref(), apdex.or(self.apdex)), exchange, end);
        }
    }

    /// Counts an exchange that is over.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "one copy is for where nothing is set for the route")]
    fn count(
        &self,
        state: &MetricsState,
        (options, apdex): (Option<&Measured>, Option<Duration>),
        exchange: &Exchange,
        end: &End,
    ) {
        let trace = exchange.trace().filter(|trace| trace.is_sampled());
        if exchange.is_grpc() {
            return self.count_call(state, trace, exchange, end);
        }
        let timed = !state.sse && end.outcome != Outcome::Upgraded;
        let ended = Ended {
            verb: state.verb,
            route_id: match exchange.rule_name() {
                Some(rule) => RouteId::of(rule),
                None => exchange.route_id(),
            },
            timed,
            apdex: apdex.filter(|_| timed).map(|threshold| ApdexZone::of(end, threshold)),
            options,
            trace,
            exchange,
            end,
        };
        #[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "only the SDK uses it"))]
        let counted_as = self.http.ended(&ended);
        #[cfg(feature = "otel")]
        if let Some(otel) = &self.otel {
            let (method, version) = (self.http.verb_name(ended.verb), exchange.version_str());
            otel.http(method, self.http.scheme(), counted_as.route(), version, timed, end);
        }
    }

    /// Counts a gRPC call that is over.
    #[inline(never)]
    fn count_call(&self, state: &MetricsState, trace: Option<&TraceContext>, exchange: &Exchange, end: &End) {
        let Some(method) = exchange.rpc_method() else { return };
        #[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "only the SDK uses it"))]
        let counted_as = self.grpc.ended(method, state.grpc_started, trace, end);
        #[cfg(feature = "otel")]
        if let Some(otel) = &self.otel {
            otel.rpc(counted_as, end);
        }
    }
}

/// The exchange's user is active.
#[inline(never)]
fn seen(users: &ActiveUsers, exchange: &Exchange, end: &End) {
    if let Some(user) = exchange.user()
        && let Some(id) = user.id()
        && let Some(at) = exchange.started().checked_add(end.duration)
    {
        users.seen(id, at);
    }
}

/// Whether the caller's `traceparent` may have the flag for sampled: the last of its digits is odd, or it is not where it
/// is written everywhere. Only then is it read.
fn may_be_sampled(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(&TRACEPARENT).map(http::HeaderValue::as_bytes) else { return false };
    !matches!(value, [.., b'0' | b'2' | b'4' | b'6' | b'8' | b'a' | b'c' | b'e'] if value.len() == 55)
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
