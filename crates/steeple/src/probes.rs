//! Probes of gRPC that go well are neither logged, measured nor traced, as those over HTTP are not.

use http::request;
use steeple_core::{End, Exchange, GrpcStatus, Observer, Signal};

/// The method that probes of gRPC call.
const CHECK: &str = "grpc.health.v1.Health/Check";

/// Leaves probes out. Stands first: the others look at what is left out when they end.
#[derive(Clone, Copy, Debug)]
#[expect(unnameable_types, reason = "part of the state of an opaque observer")]
pub struct Probes;

impl Observer for Probes {
    type State = ();

    fn on_request(&self, exchange: &Exchange, _request: &mut request::Parts) -> Option<()> {
        if exchange.rpc_method() != Some(CHECK) {
            return None;
        }
        // Before there is a span. Why a probe failed is in its line.
        exchange.skip(Signal::Traces);
        Some(())
    }

    fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
        if end.grpc_status == Some(GrpcStatus::OK) {
            for signal in [Signal::Log, Signal::Metrics, Signal::Errors] {
                exchange.skip(signal);
            }
        }
    }
}
