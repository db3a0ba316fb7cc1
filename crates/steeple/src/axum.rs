use axum::{Router, routing::get};
use http::{HeaderMap, StatusCode};
use steeple_core::{Exchange, Signal};

use crate::Steeple;

impl Steeple {
    /// A router with three routes, to be merged into the service's own:
    ///
    /// - `GET /metrics`: what Prometheus scrapes.
    /// - `GET /healthz`: 200 as long as the process can answer at all.
    /// - `GET /readyz`: 200 when every [readiness check](crate::SteepleBuilder::readiness) passes and no shutdown has begun; else
    ///   503, with the names of what does not work.
    ///
    /// Probes and scrapes that go well leave no log line, no trace and no latency: they would be most of both. Those that
    /// fail do.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let (metrics, ready) = (self.metrics().clone(), self.clone());
        // What integrations serve.
        let more = self.inner().started.get::<Router>().cloned().unwrap_or_default();
        more.with_state(())
            .route(
                "/metrics",
                get(|exchange: Exchange, headers: HeaderMap| async move {
                    leave_out(&exchange);
                    metrics.respond(&headers)
                }),
            )
            .route(
                "/healthz",
                get(|exchange: Exchange| async move {
                    leave_out(&exchange);
                    "ok\n"
                }),
            )
            .route("/readyz", get(|exchange: Exchange| async move { ready.readiness(&exchange).await }))
    }

    async fn readiness(&self, exchange: &Exchange) -> (StatusCode, String) {
        if self.inner().shutdown.has_begun() {
            leave_out(exchange);
            return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n".to_owned());
        }
        let failing = self.inner().checks.failing().await;
        if failing.is_empty() {
            leave_out(exchange);
            return (StatusCode::OK, "ready\n".to_owned());
        }
        let mut names = String::from("not ready:");
        for (name, error) in failing {
            // Its message is for the log: an error can hold something that a stranger should not read.
            exchange.record(steeple_core::RecordedError::from_message("readiness", format_args!("{name}: {error}")));
            names.push(' ');
            names.push_str(name);
        }
        names.push('\n');
        (StatusCode::SERVICE_UNAVAILABLE, names)
    }
}

/// What an integration serves at [`Steeple::serve_admin`] as well.
#[derive(Clone, Copy)]
pub(crate) struct AdminRoutes(pub(crate) fn(&Steeple) -> Router);

fn leave_out(exchange: &Exchange) {
    for signal in [Signal::Log, Signal::Metrics, Signal::Traces, Signal::Errors] {
        exchange.skip(signal);
    }
}
