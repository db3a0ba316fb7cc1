//! Which signals an exchange is left out of: those that its route skips; and probes of gRPC that go well are neither logged,
//! measured nor traced, as those over HTTP are not.

use std::sync::Arc;

use http::request;
use steeple_core::{End, Exchange, GrpcStatus, Observer, RouteError, RouteOptions, RoutePolicy, RouteSettings, Signal};

/// The method that probes of gRPC call.
const CHECK: &str = "grpc.health.v1.Health/Check";
const SIGNALS: [Signal; 4] = [Signal::Log, Signal::Metrics, Signal::Traces, Signal::Errors];

/// Leaves exchanges out of signals. It is the first observer: the others check at the end which signals are skipped.
#[derive(Clone, Debug)]
#[expect(unnameable_types, reason = "part of the state of an opaque observer")]
pub struct Skips(Arc<RouteSettings<RoutePolicy>>);

impl Skips {
    pub(crate) fn new(routes: &[(String, RouteOptions)]) -> Result<Self, RouteError> {
        let routes = routes.iter().map(|(route, options)| Ok((route, options.clone().build()?)));
        Ok(Self(Arc::new(RouteSettings::new(routes.collect::<Result<Vec<_>, _>>()?))))
    }
}

impl Observer for Skips {
    /// Whether it is a probe of gRPC.
    type State = bool;

    fn on_request(&self, exchange: &Exchange, _request: &mut request::Parts) -> Option<bool> {
        let is_probe = exchange.rpc_method() == Some(CHECK);
        if is_probe {
            // Before there is a span. Why a probe failed is in its line.
            exchange.skip(Signal::Traces);
        }
        (is_probe || !self.0.is_empty()).then_some(is_probe)
    }

    fn on_end(&self, is_probe: bool, exchange: &Exchange, end: &End) {
        if is_probe && end.grpc_status == Some(GrpcStatus::OK) {
            for signal in [Signal::Log, Signal::Metrics, Signal::Errors] {
                exchange.skip(signal);
            }
        }
        if let Some(route) = self.0.of(exchange) {
            for signal in SIGNALS.into_iter().filter(|signal| route.skips(*signal)) {
                exchange.skip(signal);
            }
        }
    }
}
