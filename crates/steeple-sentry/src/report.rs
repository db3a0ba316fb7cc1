use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use sentry_core::{Hub, Level, protocol::Event, types::Uuid};

use crate::{Sentry, bound};

/// A message about the service and not about a request, such as an alert: grouped by what it is about and not by its text.
///
/// # Examples
/// ```
/// use steeple_sentry::{Level, Report, Sentry};
///
/// # fn report(sentry: &Sentry) {
/// let report = Report::new("12 % of the requests failed", ["alert", "high_error_rate"])
///     .level(Level::Error)
///     .tag("rule", "high_error_rate")
///     .extra("threshold", "5 %");
/// sentry.capture_report(report);
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is sent by `Sentry::capture_report`"]
pub struct Report(Event<'static>);

impl Report {
    /// A text, and what it is grouped by: reports with the same fingerprint are one issue. Level: [`Level::Warning`].
    pub fn new<T: Into<String>>(text: impl Into<String>, fingerprint: impl IntoIterator<Item = T>) -> Self {
        let fingerprint: Vec<_> = fingerprint.into_iter().map(|part| Cow::Owned(part.into())).collect();
        Self(Event {
            message: Some(text.into()),
            fingerprint: Cow::Owned(fingerprint),
            level: Level::Warning,
            ..Event::default()
        })
    }

    /// How much it matters.
    pub fn level(mut self, level: Level) -> Self {
        self.0.level = level;
        self
    }

    /// A tag: short, searchable, one of few values.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.tags.insert(key.into(), value.into());
        self
    }

    /// Anything that helps whoever reads it.
    pub fn extra(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.extra.insert(key.into(), value.into().into());
        self
    }

    /// What is on it so far.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.0.tags
    }
}

impl Sentry {
    /// Sends a report, scrubbed as every event is. It belongs to no request, also where it is sent within one.
    pub fn capture_report(&self, report: Report) -> Uuid {
        let hub = Arc::new(Hub::new(Some(Arc::clone(self.client())), Arc::default()));
        let _bound = Bound::new(Arc::clone(&hub));
        hub.capture_event(report.0)
    }
}

/// A hub without an exchange, bound to this thread.
struct Bound;

impl Bound {
    fn new(hub: Arc<Hub>) -> Self {
        // On a thread that is ending, it is not bound.
        let _no_link = bound::enter(hub, None, false);
        Self
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _no_link = bound::exit();
    }
}
