use std::time::SystemTime;

use http::{HeaderValue, StatusCode};
use serde_json::json;
use steeple_core::{RequestId, date::rfc3339};
use steeple_export::{
    Answer, Endpoint, HttpOptions, Protocol, Reason, Request, Response,
    protocol::webhook::{ID, Keys},
};
use steeple_scrub::{Scrubbed, Scrubber};

use super::{
    Channel, ChannelContext, IntoChannel,
    http::{options, reached, start},
};
use crate::{BuildError, Severity, message::Notification};

/// Posts each alert to a URL, signed by Standard Webhooks:
/// `{"type": "alert.firing", "timestamp": "…", "data": {"status": "firing", "rule": "…", "severity": "…", "value": …,
/// "threshold": …, "since": "…", …}}`.
///
/// # Source
/// Standard Webhooks 1.0.
#[derive(Clone)]
#[must_use = "a channel does nothing until alerts are built with it"]
pub struct Webhook {
    url: String,
    secret: String,
    at_least: Severity,
    http: HttpOptions,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("at_least", &self.at_least).finish_non_exhaustive()
    }
}

impl Webhook {
    /// The URL, and the secret that signs: `whsec_` and base64 of 24 to 64 bytes.
    pub fn new(url: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { url: url.into(), secret: secret.into(), at_least: Severity::Low, http: options() }
    }
}

reached!(Webhook, "the receiver");

impl IntoChannel for Webhook {
    fn into_channel(self: Box<Self>, context: &ChannelContext) -> Result<Channel, BuildError> {
        let endpoint = Endpoint::parse(&self.url).map_err(|_unusable| BuildError::setting("webhook.url", "a URL"))?;
        let keys = Keys::parse(&self.secret)
            .map_err(|_invalid| BuildError::setting("webhook.secret", "`whsec_` and base64 of 24 to 64 bytes"))?;
        let (target, scrubber) = (endpoint.clone(), context.scrubber.clone());
        // One alert is one message.
        let pipeline = start(self.http, context, "webhook_alerts", &endpoint, 1, move || Messages {
            endpoint: target.clone(),
            scrubber: scrubber.clone(),
            keys: keys.clone(),
        })?;
        Ok(Channel::new(pipeline, self.at_least))
    }
}

pub(super) struct Messages {
    pub(super) endpoint: Endpoint,
    pub(super) scrubber: Scrubber,
    pub(super) keys: Keys,
}

impl Protocol for Messages {
    type Item = Notification;
    type Ready = Notification;

    fn size(item: &Notification) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Notification) -> Scrubbed<Notification> {
        item.scrub(&self.scrubber)
    }

    fn encode(&mut self, batch: &[Scrubbed<Notification>]) -> Result<Request, Reason> {
        let [alert] = batch else { return Err(Reason::from("one alert a message")) };
        let body = json!({
            "type": format!("alert.{}", alert.status.as_str()),
            "timestamp": rfc3339(alert.at),
            "data": alert.webhook_data(),
        });
        let body = serde_json::to_vec(&body).map_err(|_error| Reason::from("the message is not JSON"))?;
        let id = HeaderValue::from_str(RequestId::new().as_str()).map_err(|error| Reason::of_error(&error))?;
        Ok(Request::post(&self.endpoint).content_type("application/json").header(ID, id).body(body))
    }

    fn sign(&mut self, request: &mut Request, now: SystemTime) -> Result<(), Reason> {
        let id = request.headers().get(ID).and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        self.keys.sign(request, &id, now)
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Notification>]) -> Answer {
        match response.status {
            StatusCode::GONE => Answer::Disabled(response.reason()),
            _ => Answer::of(response),
        }
    }
}
