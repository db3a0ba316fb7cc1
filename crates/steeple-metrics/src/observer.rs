use http::{HeaderMap, HeaderName, header, request, response};
use steeple_core::{End, Exchange, Identity, NameSource, Observer, Outcome, Signal, Text};

use crate::{
    Measure, Metrics,
    http::{Ended, Open},
    route::RouteMetrics,
};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What [`Metrics`] remembers of an exchange while it lasts.
#[derive(Debug)]
pub struct MetricsState {
    /// Whether its gRPC method was counted as started.
    grpc_started: bool,
    /// Whether the response is a stream of events.
    sse: bool,
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
        core.http.started(exchange.method());
        // For exemplars, where nobody before us has looked for the caller's trace.
        if exchange.trace().is_none() && says_sampled(&request.headers) {
            exchange.trace_or_continue(&request.headers);
        }
        Some(MetricsState {
            grpc_started: exchange.rpc_method().is_some_and(|method| core.grpc.started(method)),
            sse: false,
            #[cfg(feature = "connection")]
            connection: if exchange.method() == "CONNECT" || request.headers.contains_key(header::UPGRADE) {
                request.extensions.get().cloned()
            } else {
                None
            },
        })
    }

    fn on_response(&self, state: &mut MetricsState, _exchange: &Exchange, response: &mut response::Parts) {
        let kind = response.headers.get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| is_event_stream(kind.as_bytes())) {
            state.sse = true;
            self.0.core.http.opened(Open::Sse);
        }
    }

    fn on_end(&self, state: MetricsState, exchange: &Exchange, end: &End) {
        let core = &self.0.core;
        core.http.left_flight(exchange.method());
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
        let options = RouteMetrics::of(exchange);
        let measured = match options.as_ref().and_then(RouteMetrics::is_measured) {
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
            #[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "only the SDK is told"))]
            let counted_as = core.grpc.ended(method, state.grpc_started, trace, end);
            #[cfg(feature = "otel")]
            if let Some(otel) = &core.otel {
                otel.rpc(counted_as, end);
            }
            return;
        }
        let route = route_of(exchange);
        let ended = Ended {
            method: exchange.method(),
            route: route.as_ref().map(Text::as_str),
            route_is_fixed: route.as_ref().is_some_and(Text::is_fixed),
            version: exchange.version_str(),
            timed: !state.sse && end.outcome != Outcome::Upgraded,
            options,
            trace,
            end,
        };
        #[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "only the SDK is told"))]
        let counted_as = core.http.ended(&ended);
        #[cfg(feature = "otel")]
        if let Some(otel) = &core.otel {
            otel.http(ended.method, core.http.scheme(), counted_as, ended.version, ended.timed, end);
        }
    }
}

/// Whether the caller's `traceparent` has the flag for sampled: the last of its digits is odd. The rest is read only then.
fn says_sampled(headers: &HeaderMap) -> bool {
    const LAST_DIGIT: usize = 54;
    let value = headers.get(&TRACEPARENT).map(|value| value.as_bytes().trim_ascii());
    value.and_then(|value| value.get(LAST_DIGIT)).is_some_and(|digit| b"13579bdf".contains(digit))
}

/// A rule's name, else the route's template. What a handler called the exchange is no label: it may be anything.
fn route_of(exchange: &Exchange) -> Option<Text> {
    let name = exchange.name();
    match name.source() {
        NameSource::Unmatched => None,
        NameSource::Rule | NameSource::Route => Some(name.target_text().clone()),
        NameSource::Custom | NameSource::Rpc => exchange.rule_name().or_else(|| exchange.route()),
    }
}

fn is_event_stream(content_type: &[u8]) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    content_type.get(..EVENT_STREAM.len()).is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
        && matches!(content_type.get(EVENT_STREAM.len()), None | Some(b';' | b' '))
}

/// An upgraded connection that is open.
#[cfg(feature = "connection")]
struct OpenUpgrade(std::sync::Arc<crate::metrics::Core>);

#[cfg(feature = "connection")]
impl OpenUpgrade {
    fn new(core: &std::sync::Arc<crate::metrics::Core>) -> Self {
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
