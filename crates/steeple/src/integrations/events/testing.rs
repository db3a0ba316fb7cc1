//! What a recorder keeps of events.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Instant,
};

use http::request;
use steeple_events::{BuildError, Events, IntoOutlet, Outgoing, Outlet, SinkContext, Takes, Tracked};
use steeple_export::{Answer, Exporter, Pipeline};
use steeple_scrub::{Scrubbed, Scrubber};

use crate::testing::{
    Recorder,
    capture::{Memory, lock},
};

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

/// The events of a recording.
#[derive(Default)]
pub(super) struct RecordedEvents {
    events: Mutex<Vec<RecordedEvent>>,
    /// What the extractor finds in the exchanges of this recorder.
    pub(super) tracker: OnceLock<Events>,
}

impl Memory for RecordedEvents {
    fn clear(&self) {
        lock(&self.events).clear();
    }

    fn on_request(&self, request: &mut request::Parts) {
        if let Some(events) = self.tracker.get() {
            request.extensions.insert(events.clone());
        }
    }
}

impl Recorder {
    /// The events that were tracked, scrubbed, in their order.
    pub fn events(&self) -> Vec<RecordedEvent> {
        lock(&self.memory::<RecordedEvents>().events).clone()
    }
}

/// The sink of a recording.
pub(super) struct Kept(pub(super) Arc<RecordedEvents>);

impl IntoOutlet for Kept {
    fn into_outlet(self: Box<Self>, context: &SinkContext) -> Result<Outlet, BuildError> {
        let (scrubber, recorded) = (context.scrubber.clone(), self.0);
        let pipeline = Pipeline::builder("recorder")
            .build(move || Ok(InMemory { scrubber: scrubber.clone(), recorded: Arc::clone(&recorded) }))
            .map_err(|error| BuildError::sink("recorder", error))?;
        Ok(Outlet::new(pipeline, Takes::All))
    }
}

struct InMemory {
    scrubber: Scrubber,
    recorded: Arc<RecordedEvents>,
}

impl Exporter for InMemory {
    type Item = Tracked;
    type Ready = Outgoing;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    async fn export(&mut self, batch: &[Scrubbed<Outgoing>], _deadline: Instant) -> Answer {
        lock(&self.recorded.events).extend(batch.iter().map(|event| RecordedEvent::of(event)));
        Answer::Accepted
    }
}
