//! What a sample is made of.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{mean::Mean, requests::Requests, simulated::Simulated};
use crate::{
    Metrics,
    indicator::{definition::Scope, families::FamilyReading, latency::Sum, reading::CacheReading},
    layout::Layout,
};

/// All that there is at the moment of a sample, cumulative.
pub(super) struct Now<'a> {
    pub(super) metrics: &'a Metrics,
    /// A service that is made up, in place of the metrics.
    pub(super) simulated: Option<&'a Simulated>,
    /// Since the first sample.
    pub(super) elapsed: Duration,
    /// Since the sample before.
    pub(super) step: Duration,
    pub(super) all: Requests,
    pub(super) in_flight: u64,
    pub(super) means: Means,
    pub(super) cache: CacheReading,
    /// Items that sinks lost. `None` where they are not counted this time.
    pub(super) dropped: Option<f64>,
    pub(super) families: Vec<FamilyReading>,
}

/// Levels over time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Means {
    pub(super) in_flight: Mean,
    pub(super) active_users: Mean,
    pub(super) cpu: Mean,
    pub(super) throttled: Mean,
    pub(super) memory: Mean,
    pub(super) disk: Mean,
    pub(super) connections: Mean,
}

impl Now<'_> {
    /// The cells of all requests' durations.
    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.metrics.0.core.grid.layout
    }

    pub(super) fn requests(&self, scope: &Scope) -> Cow<'_, Requests> {
        let core = &self.metrics.0.core;
        if let Some(simulated) = self.simulated {
            return Cow::Owned(simulated.requests(scope, &core.grid.layout));
        }
        match scope {
            Scope::All => Cow::Borrowed(&self.all),
            Scope::Route { method, route } => {
                let mut sum = Sum::new(&core.grid);
                let counts = if method.is_empty() {
                    core.grpc.read_route(route, &mut sum)
                } else {
                    core.http.read_route(method, route, &mut sum)
                };
                Cow::Owned(Requests::of(sum, counts.unwrap_or_default()))
            }
        }
    }

    pub(super) fn family(&self, name: &str) -> Option<&FamilyReading> {
        self.families.iter().find(|family| family.name == name)
    }
}
