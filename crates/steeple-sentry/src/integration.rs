use sentry_core::{ClientOptions, Integration, protocol::Event};
use steeple_scrub::Scrubber;

use crate::{ScrubSentry, scrub};

/// Removes secrets from the events, breadcrumbs, logs and metrics that a client captures, wherever in the process: one line in the
/// options of `sentry::init`, for those who add nothing else.
///
/// It is an integration, so it comes after those before it and in front of the application's `before_send`; what that adds is its
/// own. The SDK shows transactions to no integration: put [`ScrubSentry::transport`] around the transport, or requests behind
/// `ScrubbedSentryLayer` (feature `sentry-tower`).
///
/// # Examples
/// ```
/// use sentry_core::ClientOptions;
/// use steeple_scrub::Scrubber;
/// use steeple_sentry::ScrubIntegration;
///
/// let options = ClientOptions::new().add_integration(ScrubIntegration::new(Scrubber::default()));
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "an integration does nothing until a client gets it"]
pub struct ScrubIntegration(Scrubber);

impl ScrubIntegration {
    /// With this scrubber.
    pub fn new(scrubber: Scrubber) -> Self {
        Self(scrubber)
    }
}

impl Integration for ScrubIntegration {
    fn name(&self) -> &'static str {
        "steeple-scrub"
    }

    fn setup(&self, options: &mut ClientOptions) {
        // Each goes before what the application has, like the events.
        let (logs, before) = (self.0.before_send_log(), options.before_send_log.take());
        options.before_send_log = Some(std::sync::Arc::new(move |log| {
            let log = logs(log)?;
            match &before {
                Some(before) => before(log),
                None => Some(log),
            }
        }));
        let (crumbs, before) = (self.0.before_breadcrumb(), options.before_breadcrumb.take());
        options.before_breadcrumb = Some(std::sync::Arc::new(move |crumb| {
            let crumb = crumbs(crumb)?;
            match &before {
                Some(before) => before(crumb),
                None => Some(crumb),
            }
        }));
        let (scrubber, before) = (self.0.clone(), options.before_send_metric.take());
        options.before_send_metric = Some(std::sync::Arc::new(move |mut metric| {
            scrub::metric(&scrubber, &mut metric);
            match &before {
                Some(before) => before(metric),
                None => Some(metric),
            }
        }));
    }

    fn process_event(&self, mut event: Event<'static>, _options: &ClientOptions) -> Option<Event<'static>> {
        self.0.scrub_event(&mut event);
        Some(event)
    }
}
