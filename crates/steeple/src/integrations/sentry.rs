//! Failures as Sentry events.

use steeple_sentry::{DropReason, JobFailures, Sentry, SentryBuilder};

use super::{Integration, NoCalls, Setting, Setup, Started};
use crate::{
    ConfigError, Steeple, SteepleBuilder,
    env::{Lookup, Service},
    own_metrics::OwnMetrics,
};

pub(crate) type Options = SentryBuilder;
pub(crate) type Observer = Option<Sentry>;

/// What reports failures of jobs.
pub(crate) type JobObserver = Option<JobFailures>;

/// The observer of jobs.
pub(crate) fn job_observer(handle: Option<&Sentry>) -> JobObserver {
    handle.map(Sentry::jobs)
}

const DSN: &str = "SENTRY_DSN";

impl SteepleBuilder {
    /// Changes the options for Sentry. What the environment has set stays, unless this sets the same.
    ///
    /// Off without a DSN, which `SENTRY_DSN` or [`SentryBuilder::dsn`] sets. Where the process has called `sentry::init` before,
    /// that client is used, with its hooks, release and options. Where the options have no environment or no
    /// release, those of the service are used: `production`, `shop@1.2.3`.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// use http::StatusCode;
    ///
    /// let builder = steeple::Steeple::builder_from_env()?.sentry(|sentry| sentry.expect_status(StatusCode::BAD_GATEWAY));
    /// # let _unused = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sentry(mut self, change: impl FnOnce(SentryBuilder) -> SentryBuilder) -> Self {
        self.integrations.sentry.change(change);
        self
    }
}

impl Steeple {
    /// What sends failures to Sentry. `None` without a DSN.
    pub fn sentry(&self) -> Option<&Sentry> {
        self.running().sentry.as_ref()
    }
}

impl Integration for SentryBuilder {
    type Handle = Sentry;
    type Observer = Observer;
    type CallObserver = NoCalls;

    fn from_env(env: &dyn Lookup) -> Result<Setting<Self>, ConfigError> {
        let read = super::lookups(env, |lookup| Self::default().with_lookup(lookup))?;
        let options = read.map_err(|error| match error.variable_name() {
            Some(DSN) => ConfigError::secret_value(DSN, "`https://<key>@<host>/<project>`"),
            Some(name) => ConfigError::rejected(name, &error),
            None => ConfigError::part("Sentry", &error),
        })?;
        let variable = options.has_dsn().then_some(DSN);
        Ok(Setting { options, variable })
    }

    fn start(self, setup: &mut Setup<'_>) -> Result<Option<Started<Sentry>>, ConfigError> {
        // A recorder is one of many in its process.
        let own = if setup.recording.is_some() { None } else { Sentry::client_of_process() };
        if own.is_none() && !self.has_dsn() {
            return Ok(None);
        }
        if own.is_some() && self.has_dsn() {
            setup.warnings.push(
                "the DSN for Steeple has no effect: the process has called `sentry::init`, and its client is used"
                    .to_owned(),
            );
        }
        let is_own = own.is_some();
        let routed = setup.routes.iter().fold(self, |sentry, (route, options)| sentry.route(route, options.clone()));
        let options =
            with_service(routed, setup.service).scrubber(setup.scrubber.clone()).http(|http| http.or(&setup.http));
        let sentry = match own {
            Some(client) => Sentry::with_client(client, options),
            None => options.build().map(Sentry::install),
        };
        let sentry = sentry.map_err(|error| ConfigError::part("Sentry", &error))?;
        count(&mut setup.own, &sentry);
        if let Some(sink) = sentry.sink() {
            setup.add_sink(sink);
        }
        let mut to = sentry.client().options().dsn.as_ref().map_or_else(String::new, |dsn| dsn.host().to_owned());
        if is_own {
            to.push_str(" by the process's own client");
        }
        Ok(Some(Started { handle: sentry, to }))
    }

    fn observer(handle: Option<&Sentry>) -> Option<Sentry> {
        handle.cloned()
    }
}

/// Sets what the service is, where the options do not.
fn with_service(mut options: SentryBuilder, service: &Service) -> SentryBuilder {
    if let Some(environment) = &service.environment {
        options = options.environment_or(environment.clone());
    }
    if let Some(region) = &service.region {
        options = options.region_or(region.clone());
    }
    match (&service.name, &service.version) {
        (Some(name), Some(version)) => options.release_or(format!("{name}@{version}")),
        (None, Some(version)) => options.release_or(version.clone()),
        (_, None) => options,
    }
}

fn count(own: &mut OwnMetrics, sentry: &Sentry) {
    let counts = sentry.clone();
    own.add_by("steeple_sentry_sent_total", "Items that Sentry accepted.", "item", move || {
        let counts = counts.counts();
        vec![("event".to_owned(), counts.events), ("transaction".to_owned(), counts.transactions)]
    });
    let sentry = sentry.clone();
    own.add_by("steeple_sentry_dropped_total", "Items that did not reach Sentry.", "reason", move || {
        let counts = sentry.counts();
        DropReason::ALL.iter().map(|loss| (loss.as_str().to_owned(), counts.dropped(*loss))).collect()
    });
}
