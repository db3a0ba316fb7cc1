//! The stacks that are compared.

use axum::{Router, body::Body};
use http::Request;
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
        Row { name: "core", build: || app(router().layer(steeple_core::ObserveLayer::new(()))) },
    ];
    #[cfg(feature = "peers")]
    rows.extend(crate::peers::rows());
    rows
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
