//! The stacks that are compared.

use axum::{Router, body::Body};
use http::Request;
use steeple_core::{Observer, RequestIds};
use steeple_transaction::Naming;
use steeple_user::Users;
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

use crate::{
    stacks::{
        self, Page, alerts, dashboard, errors, everything, log, metrics, otlp_metrics, sdk_metrics, trace_context,
        traces,
    },
    workload::{App, Sampled, router},
};

/// One stack.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its name on the command line and in the tables.
    pub name: &'static str,
    /// Puts it around a router.
    pub build: fn(Router) -> App,
    /// How many of its requests come from a caller that samples.
    pub sampled: Sampled,
}

impl Row {
    /// The stack around the service that all are compared with.
    pub fn app(&self) -> App {
        (self.build)(router())
    }

    pub(crate) const fn new(name: &'static str, build: fn(Router) -> App) -> Self {
        Self { name, build, sampled: Sampled::Never }
    }

    pub(crate) const fn sampled(mut self, sampled: Sampled) -> Self {
        self.sampled = sampled;
        self
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The service without any layer.
pub const BARE: &str = "bare";
/// A layer that does nothing: what Axum's boxing costs anybody.
pub const IDENTITY: &str = "identity";
/// One counter and histogram, and the names that they need.
pub const METRICS: &str = "metrics + naming";
/// The same with a dashboard mounted, without viewers.
pub const DASHBOARD: &str = "dashboard, mounted";
/// The same with a page of it open.
pub const WATCHED: &str = "dashboard, watched";
/// The same with rules that are evaluated, and groups of errors.
pub const ALERTS: &str = "alerts on";
/// The same, pushed by OTLP once a second.
pub const OTLP_METRICS: &str = "OTLP metrics, pushed";
/// The same, recorded through OpenTelemetry's SDK as well.
pub const SDK_METRICS: &str = "OTLP metrics, by OpenTelemetry's SDK";
/// What the second of the targets names.
pub const FIVE: &str = "log + metrics + naming + user + ids";
/// All that there is.
pub const EVERYTHING: &str = "everything";

/// A peer: metrics that a careful engineer writes by hand, until the response's head.
pub const BY_HAND: &str = "hand-prom";
/// A peer: the same until the last byte of the body.
pub const BY_HAND_TO_LAST_BYTE: &str = "hand-prom-to-last-byte";
/// A peer: what a team assembles today, each part as its README says.
pub const FULL: &str = "full";
/// A peer: the same by someone who knows every option.
pub const FULL_TUNED: &str = "full-tuned";

/// Every row, the bare service first.
pub fn rows() -> Vec<Row> {
    #[cfg_attr(not(feature = "peers"), expect(unused_mut, reason = "the peers' rows come after"))]
    let mut rows = vec![
        Row::new(BARE, app),
        Row::new(IDENTITY, |router| app(router.layer(Identity))),
        Row::new("core", |router| watched(router, ())),
        Row::new("request ids", |router| watched(router, RequestIds::new())),
        Row::new("naming", |router| watched(router, Naming::new())),
        Row::new("users", |router| watched(router, Users::new())),
        Row::new("errors", |router| watched(router, errors())),
        Row::new("trace context", |router| watched(router, trace_context())),
        Row::new("traces, unsampled", |router| watched(router, traces())),
        Row::new("traces, one in ten", |router| watched(router, traces())).sampled(Sampled::Tenth),
        Row::new("traces, all", |router| watched(router, traces())).sampled(Sampled::Always),
        Row::new(METRICS, |router| watched(router, (Naming::new(), metrics()))),
        Row::new(DASHBOARD, |router| watched(router, (Naming::new(), dashboard(Page::Mounted)))),
        Row::new(WATCHED, |router| watched(router, (Naming::new(), dashboard(Page::Watched)))),
        Row::new(ALERTS, |router| watched(router, (Naming::new(), alerts()))),
        Row::new(OTLP_METRICS, |router| watched(router, (Naming::new(), otlp_metrics()))),
        Row::new(SDK_METRICS, |router| watched(router, (Naming::new(), sdk_metrics()))),
        Row::new("log", |router| watched(router, log())),
        Row::new(FIVE, |router| watched(router, (RequestIds::new(), Naming::new(), Users::new(), log(), metrics()))),
        Row::new(EVERYTHING, |router| watched(router, everything())).sampled(Sampled::Tenth),
    ];
    #[cfg(feature = "peers")]
    rows.extend(crate::peers::rows());
    rows
}

/// The row of this name.
pub fn find(name: &str) -> Option<Row> {
    rows().into_iter().find(|row| row.name == name)
}

fn watched(router: Router, observer: impl Observer) -> App {
    app(stacks::watched(router, observer))
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
