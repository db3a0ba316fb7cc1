use std::{sync::Arc, time::SystemTime};

use http::HeaderValue;
use steeple_export::{
    Endpoint, HttpOptions, Protocol, Reason, Request,
    protocol::webhook::{ID, Keys},
};
use steeple_scrub::{Scrubbed, Scrubber};

use super::{
    envelope::envelope,
    http::{endpoint, reached, start},
};
use crate::{BuildError, IntoOutlet, Outgoing, Outlet, Service, SinkContext, Takes, Tracked};

/// Posts each event to a URL, signed by Standard Webhooks.
///
/// # Source
/// Standard Webhooks 1.0.
#[derive(Clone)]
#[must_use = "a sink does nothing until events are built with it"]
pub struct Webhook {
    url: String,
    secret: String,
    http: HttpOptions,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL of a webhook is often its password.
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

impl Webhook {
    /// The URL, and the secret that signs: `whsec_` and base64 of 24 to 64 bytes.
    pub fn new(url: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { url: url.into(), secret: secret.into(), http: HttpOptions::new() }
    }
}

reached!(Webhook, "the receiver");

impl IntoOutlet for Webhook {
    fn into_outlet(self: Box<Self>, context: &SinkContext) -> Result<Outlet, BuildError> {
        let keys = Keys::parse(&self.secret)
            .map_err(|_invalid| BuildError::setting("webhook.secret", "`whsec_` and base64 of 24 to 64 bytes"))?;
        let url = endpoint("webhook.url", &self.url)?;
        let (sink, endpoint) = (context.clone(), url.clone());
        // One event is one message.
        let pipeline = start(self.http, context, "webhook_events", &url, (1, usize::MAX), move || Messages {
            scrubber: sink.scrubber.clone(),
            service: Arc::clone(&sink.service),
            endpoint: endpoint.clone(),
            keys: keys.clone(),
        })?;
        Ok(Outlet::new(pipeline, Takes::All))
    }
}

pub(super) struct Messages {
    pub(super) scrubber: Scrubber,
    pub(super) service: Arc<Service>,
    pub(super) endpoint: Endpoint,
    pub(super) keys: Keys,
}

impl Protocol for Messages {
    type Item = Tracked;
    type Ready = Outgoing;
    const IN_FLIGHT: usize = 4;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    fn encode(&mut self, batch: &[Scrubbed<Outgoing>]) -> Result<Request, Reason> {
        let [event] = batch else { return Err(Reason::from("one event a message")) };
        let body = serde_json::to_vec(&envelope(event, &self.service))
            .map_err(|_error| Reason::from("the event is not JSON"))?;
        let id = HeaderValue::from_str(event.id()).map_err(|error| Reason::of_error(&error))?;
        Ok(Request::post(&self.endpoint)
            .content_type("application/json")
            // The same for each try: the receiver knows a second one by it.
            .header(ID, id)
            .body(body))
    }

    fn sign(&mut self, request: &mut Request, now: SystemTime) -> Result<(), Reason> {
        let id = request.headers().get(ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        self.keys.sign(request, &id, now)
    }
}
