//! Nothing is pushed: the Cargo feature `push` is off.

#![expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "the same signatures as with the feature")]

use steeple_metrics::{Metrics, MetricsBuilder};

use crate::{
    ConfigError,
    env::{Lookup, Service},
    integrations::Setup,
    summary::Integrations,
};

/// No pushes.
#[derive(Debug, Default)]
pub(crate) struct Pushes(());

impl Pushes {
    pub(crate) fn from_env(_env: &dyn Lookup) -> Result<Self, ConfigError> {
        Ok(Self(()))
    }

    pub(crate) fn of_metrics(&self, options: MetricsBuilder) -> MetricsBuilder {
        options
    }

    pub(crate) fn start(
        self,
        _service: &Service,
        _metrics: &Metrics,
        _setup: &mut Setup<'_>,
        _summary: &mut Integrations,
    ) -> Result<(), ConfigError> {
        Ok(())
    }
}
