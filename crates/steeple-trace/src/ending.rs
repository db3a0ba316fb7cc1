use std::borrow::Cow;

use steeple_scrub::Scrubbed;

use crate::attributes::Attributes;

/// What a span gets at its end.
pub(crate) struct Ending {
    pub(crate) name: Scrubbed<Cow<'static, str>>,
    /// What went wrong; empty where its class is enough. `None`: nothing.
    pub(crate) failure: Option<Scrubbed<Cow<'static, str>>>,
    pub(crate) attributes: Attributes,
    /// True if the exchange did not fail, false if its route has no spans.
    ///
    /// `tracing-opentelemetry` sets the status of a span to failed for each event at `error`, and the SDK does not allow to
    /// reset it; nor does it take a span back.
    pub(crate) verdict: Option<bool>,
}

impl Ending {
    pub(crate) fn new(
        name: Scrubbed<Cow<'static, str>>,
        failure: Option<Scrubbed<Cow<'static, str>>>,
        attributes: Attributes,
    ) -> Self {
        Self { name, failure, attributes, verdict: None }
    }
}
