//! The stacks that are compared.

use std::sync::LazyLock;

use axum::{Router, body::Body};
use http::Request;
use steeple_core::{ObserveLayer, Observer, RequestIds};
use steeple_log::{Format, Log, LogGuard, Logging};
use steeple_metrics::Metrics;
use steeple_transaction::Naming;
use steeple_user::Users;
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

use crate::workload::{App, router};

/// One stack.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name on the command line and in the tables.
    pub name: &'static str,
    /// Builds it.
    pub build: fn() -> App,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Every row, the bare service first.
pub fn rows() -> Vec<Row> {
    #[cfg_attr(not(feature = "peers"), expect(unused_mut, reason = "the peers' rows come after"))]
    let mut rows = vec![
        Row { name: "bare", build: || app(router()) },
        Row { name: "identity", build: || app(router().layer(Identity)) },
        Row { name: "core", build: || watched(()) },
        Row { name: "request ids", build: || watched(RequestIds::new()) },
        Row { name: "naming", build: || watched(Naming::new()) },
        Row { name: "users", build: || watched(Users::new()) },
        Row { name: "metrics + naming", build: metrics },
        Row { name: "log", build: || watched(log()) },
        Row { name: "log + metrics + naming + user + ids", build: log_and_metrics },
    ];
    #[cfg(feature = "peers")]
    rows.extend(crate::peers::rows());
    rows
}

fn watched(observer: impl Observer) -> App {
    app(router().layer(ObserveLayer::new(observer)))
}

fn metrics() -> App {
    match Metrics::new() {
        Ok(metrics) => watched((Naming::new(), metrics)),
        Err(_) => app(router()),
    }
}

/// The line is written in full, its thread writes it into nothing.
fn log() -> Option<Log> {
    LOG.as_ref()?.log().build().ok()
}

static LOG: LazyLock<Option<LogGuard>> = LazyLock::new(|| {
    Logging::new().service_name("shop").without_console().writer(std::io::sink(), Format::Json).build().ok()
});

fn log_and_metrics() -> App {
    match Metrics::new() {
        Ok(metrics) => watched((RequestIds::new(), Naming::new(), Users::new(), log(), metrics)),
        Err(_) => app(router()),
    }
}

pub(crate) fn app(router: Router) -> App {
    // As `axum::serve` does: every handler is made into a route once, not at every request.
    BoxCloneSyncService::new(router.with_state(()).map_request(|request: Request<Body>| request))
}

/// A layer that does nothing: what boxing in Axum costs anybody.
#[derive(Clone, Debug)]
pub struct Identity;

impl<S> Layer<S> for Identity {
    type Service = IdentityService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdentityService(inner)
    }
}

/// The service of [`Identity`].
#[derive(Clone, Debug)]
pub struct IdentityService<S>(S);

impl<S: Service<R>, R> Service<R> for IdentityService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.0.call(request)
    }
}
