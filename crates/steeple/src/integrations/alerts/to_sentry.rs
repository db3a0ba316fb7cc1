//! Alerts as events of Sentry.

use steeple_alerts::{Severity, channel::Forward, message::Status};
use steeple_sentry::{Level, Report, Sentry};

use crate::{SteepleBuilder, integrations::Setup};

impl SteepleBuilder {
    /// Sends alerts of rules to Sentry as well, where Sentry is on: a firing one is an event, grouped by its rule, and its end is
    /// another of the level `info`, which resolves no issue. Groups of errors are not sent: Sentry has the errors themselves.
    /// `ALERTS_SENTRY=true` does the same. Default: no.
    pub fn alerts_to_sentry(mut self) -> Self {
        self.integrations.alerts.change(|mut options| {
            options.to_sentry = true;
            options
        });
        self
    }
}

/// What sends to Sentry. `None`: it is off.
pub(super) fn channel(setup: &Setup<'_>) -> Option<Forward> {
    let sentry = setup.started.get::<Sentry>()?.clone();
    let forward = Forward::new("sentry", move |alert| {
        let level = match (alert.status, alert.severity) {
            (Status::Resolved | Status::KeptBack, _) | (_, Severity::Low) => Level::Info,
            (_, Severity::Critical) => Level::Fatal,
            (_, Severity::High) => Level::Error,
            (_, _) => Level::Warning,
        };
        let report = Report::new(alert.subject(), ["steeple.alert", &*alert.rule])
            .level(level)
            .tag("alert.rule", &*alert.rule)
            .tag("alert.status", alert.status.as_str())
            .tag("alert.severity", alert.severity.as_str());
        let report = alert.facts().into_iter().fold(report, |report, (name, text)| report.extra(name, text));
        sentry.capture_report(report.extra("Summary", &*alert.summary));
    });
    Some(forward.rules_only())
}
