//! Events, in memory.

use std::time::Instant;

use steeple_events::{BuildError, IntoOutlet, Outgoing, Outlet, SinkContext, Takes, Tracked};
use steeple_export::{Answer, Exporter, Pipeline};
use steeple_scrub::{Scrubbed, Scrubber};

use super::Recording;

/// An event that was tracked, as a sink would get it: scrubbed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// Its name: `sign_up`.
    pub name: String,
    /// The id of the user, as far as sinks may see it.
    pub user: Option<String>,
    /// The route of the request that caused it.
    pub route: Option<String>,
    /// The id of the request that caused it.
    pub request_id: Option<String>,
    properties: serde_json::Map<String, serde_json::Value>,
}

impl RecordedEvent {
    /// A property with a text.
    pub fn text(&self, property: &str) -> Option<&str> {
        self.properties.get(property)?.as_str()
    }

    /// A property with a number.
    pub fn number(&self, property: &str) -> Option<f64> {
        self.properties.get(property)?.as_f64()
    }

    /// A property with a boolean.
    pub fn is(&self, property: &str) -> Option<bool> {
        self.properties.get(property)?.as_bool()
    }

    fn of(event: &Outgoing) -> Self {
        Self {
            name: event.name().to_owned(),
            user: event.user().map(str::to_owned),
            route: event.route().map(str::to_owned),
            request_id: event.request_id().map(str::to_owned),
            properties: event.properties().clone(),
        }
    }
}

/// The sink of a recording.
pub(crate) struct Kept(pub(crate) Recording);

impl IntoOutlet for Kept {
    fn into_outlet(self: Box<Self>, context: &SinkContext) -> Result<Outlet, BuildError> {
        let (scrubber, recording) = (context.scrubber.clone(), self.0);
        let pipeline = Pipeline::builder("recorder")
            .build(move || Ok(Memory { scrubber: scrubber.clone(), recording: recording.clone() }))
            .map_err(|error| BuildError::sink("recorder", error))?;
        Ok(Outlet::new(pipeline, Takes::All))
    }
}

struct Memory {
    scrubber: Scrubber,
    recording: Recording,
}

impl Exporter for Memory {
    type Item = Tracked;
    type Ready = Outgoing;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    async fn export(&mut self, batch: &[Scrubbed<Outgoing>], _deadline: Instant) -> Answer {
        self.recording.add_events(batch.iter().map(|event| RecordedEvent::of(event)));
        Answer::Accepted
    }
}
