//! The hot state: what a request's path touches, and how it was configured.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use steeple_core::RouteSettings;

use crate::{
    GrpcType, Names,
    app::users::ActiveUsers,
    collectors::CollectorPanics,
    folded::Folded,
    grpc::Grpc,
    http::Http,
    idle::Idle,
    indicator::{Grid, ResourceOptions},
    layout::Layout,
    route::OfRoute,
    series::Name,
};

/// What a request's path touches.
pub(crate) struct Core {
    pub(crate) http: Arc<Http>,
    pub(crate) grpc: Arc<Grpc>,
    pub(crate) measure: Measure,
    pub(crate) routes: RouteSettings<OfRoute>,
    /// T of Apdex, where the route has none.
    pub(crate) apdex: Option<Duration>,
    /// Where series expire.
    pub(crate) idle: Option<Arc<Idle>>,
    pub(crate) folded: Arc<Folded>,
    pub(crate) collector_panics: Arc<CollectorPanics>,
    pub(crate) users: Option<Arc<ActiveUsers>>,
    #[cfg(feature = "otel")]
    pub(crate) otel: Option<crate::opentelemetry::Otel>,
    /// The buckets of durations without buckets of their route.
    pub(crate) latency: Arc<Layout>,
    /// The cells that durations of all requests are added up in.
    pub(crate) grid: Grid,
    pub(crate) resources: Arc<ResourceOptions>,
    pub(crate) native: bool,
    pub(crate) started: Instant,
    pub(crate) max_family_series: usize,
    pub(crate) calls: CallOptions,
}

/// What the builder sets for outgoing calls.
#[derive(Clone, Debug)]
pub(crate) struct CallOptions {
    pub(crate) names: Names,
    pub(crate) sizes: Option<Arc<Layout>>,
    pub(crate) max_servers: usize,
    pub(crate) known_servers: Vec<Arc<str>>,
    pub(crate) max_grpc_methods: usize,
    pub(crate) grpc_methods: Vec<(Name, GrpcType)>,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            names: Names::Classic,
            sizes: None,
            max_servers: 100,
            known_servers: Vec::new(),
            max_grpc_methods: 0,
            grpc_methods: Vec::new(),
        }
    }
}

impl Core {
    /// Tells one suite of metrics from another.
    pub(crate) fn id(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }
}

/// Which routes are measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// All but those that [opted out](steeple_core::RouteOptions::skip).
    #[default]
    Everything,
    /// Those alone that [opted in](crate::RouteMetrics::measured).
    OptedIn,
}
