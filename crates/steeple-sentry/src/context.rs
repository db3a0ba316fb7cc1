use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::StatusCode;
use steeple_core::{Exchange, GrpcStatus, RecordedError, RoutePolicy, RouteSettings, Signal};
use steeple_scrub::Scrubber;

use crate::{counts::Counters, head::Allowed, sampling::Sampler, session::Sessions};

/// What is looked at and counted while requests run.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) scrubber: Scrubber,
    pub(crate) headers: Allowed,
    pub(crate) expected_statuses: Vec<StatusCode>,
    pub(crate) expected_grpc: Vec<GrpcStatus>,
    pub(crate) expected_errors: Vec<Cow<'static, str>>,
    pub(crate) client_address: bool,
    /// `cloud.region` on every event and transaction.
    pub(crate) region: Option<String>,
    /// Attributes that are tags.
    pub(crate) tags: Vec<Cow<'static, str>>,
    pub(crate) sampler: Option<Arc<Sampler>>,
    pub(crate) routes: Arc<RouteSettings<RoutePolicy>>,
    pub(crate) sessions: Option<Arc<Sessions>>,
    pub(crate) counters: Arc<Counters>,
    /// Whether captured events go through a gate of ours. Otherwise the client is the team's own.
    pub(crate) has_gate: bool,
    /// Which state of the main scope hubs begin with.
    pub(crate) generation: AtomicUsize,
}

/// Tells the hubs of one `Sentry` and one state of the main scope from all others.
static GENERATIONS: AtomicUsize = AtomicUsize::new(1);

impl Context {
    /// Whether an exchange or its route is left out of a signal.
    pub(crate) fn skips(&self, exchange: &Exchange, signal: Signal) -> bool {
        exchange.is_skipped(signal) || self.routes.of(exchange).is_some_and(|route| route.skips(signal))
    }

    /// Whether an error is expected, by the whole name of its type or by the last part of it.
    pub(crate) fn expects_error(&self, error: &RecordedError) -> bool {
        let name = error.type_name();
        let last = name.rsplit("::").next().unwrap_or(name);
        self.expected_errors.iter().any(|expected| *expected == name || *expected == last)
    }

    pub(crate) fn generation(&self) -> usize {
        self.generation.load(Ordering::Relaxed)
    }

    /// Makes the hubs from now on begin with the main scope as it is now.
    pub(crate) fn renew(&self) {
        self.generation.store(next_generation(), Ordering::Relaxed);
    }
}

pub(crate) fn first_generation() -> AtomicUsize {
    AtomicUsize::new(next_generation())
}

fn next_generation() -> usize {
    GENERATIONS.fetch_add(1, Ordering::Relaxed)
}
