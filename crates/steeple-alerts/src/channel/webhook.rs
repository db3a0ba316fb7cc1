use std::{net::IpAddr, time::SystemTime};

use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use steeple_core::{RequestId, date::rfc3339};
use steeple_export::{
    Answer, Endpoint, HttpOptions, Protocol, Reason, Request, Response,
    protocol::webhook::{ID, Keys},
};
use steeple_scrub::{Scrubbed, Scrubber};

use super::{
    Channel, ChannelContext, IntoChannel,
    http::{options, reached, start},
    labels::{annotations, fingerprint, labels},
};
use crate::{
    BuildError, Severity,
    message::{Notification, Status},
};

/// What a [`Webhook`] posts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// Our own: `{"type": "alert.firing", "timestamp": …, "data": {…}}`. The default.
    #[default]
    Steeple,
    /// That of Alertmanager's webhooks, version 4, for a receiver that was written for it. One alert is a group. It is signed all
    /// the same, which such a receiver may ignore. What a [cooldown](Status::KeptBack) kept back has no such payload, and is not sent.
    ///
    /// # Source
    /// Alertmanager, `notify/webhook/webhook.go` and `template/template.go`.
    Alertmanager,
}

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
    payload: Payload,
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
        Self {
            url: url.into(),
            secret: secret.into(),
            payload: Payload::default(),
            at_least: Severity::Low,
            http: options(),
        }
    }
}

impl Webhook {
    /// The payload that is posted. Default: [`Payload::Steeple`].
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }
}

reached!(Webhook, "the receiver");

impl IntoChannel for Webhook {
    fn into_channel(self: Box<Self>, context: &ChannelContext) -> Result<Channel, BuildError> {
        let endpoint = Endpoint::parse(&self.url).map_err(|_unusable| BuildError::setting("webhook.url", "a URL"))?;
        if endpoint.uri().host().is_some_and(is_never_a_receiver) {
            let expected = "a URL whose host is neither link-local nor one that a cloud answers for itself";
            return Err(BuildError::setting("webhook.url", expected));
        }
        let keys = Keys::parse(&self.secret)
            .map_err(|_invalid| BuildError::setting("webhook.secret", "`whsec_` and base64 of 24 to 64 bytes"))?;
        let (target, scrubber, payload) = (endpoint.clone(), context.scrubber.clone(), self.payload);
        // One alert is one message.
        let pipeline = start(self.http, context, "webhook_alerts", &endpoint, 1, move || Messages {
            endpoint: target.clone(),
            scrubber: scrubber.clone(),
            keys: keys.clone(),
            payload,
        })?;
        Ok(match self.payload {
            Payload::Steeple => Channel::new(pipeline, self.at_least),
            // Its receivers know which alerts fire and which are over.
            Payload::Alertmanager => Channel::of_alerts(pipeline, self.at_least),
        })
    }
}

pub(super) struct Messages {
    pub(super) endpoint: Endpoint,
    pub(super) scrubber: Scrubber,
    pub(super) keys: Keys,
    pub(super) payload: Payload,
}

/// Addresses that are refused as receivers: a cloud's metadata service, link-local, unspecified,
/// multicast and broadcast addresses.
///
/// A URL on this machine or in a private network is what many teams have; it is in the service's own configuration.
fn is_never_a_receiver(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if matches!(host, "metadata.google.internal" | "metadata.goog" | "instance-data") {
        return true;
    }
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(v4)) => {
            v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()
                // Metadata at Alibaba.
                || v4.octets() == [100, 100, 100, 200]
        }
        Ok(IpAddr::V6(v6)) => {
            v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast()
                // Metadata at AWS.
                || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
        Err(_not_an_address) => false,
    }
}

/// As Alertmanager posts a group of this one alert.
fn of_alertmanager(alert: &Notification) -> Value {
    let (labels, annotations) = (labels(alert), annotations(alert));
    let name = serde_json::to_string(&alert.rule).unwrap_or_default();
    let end = match alert.status {
        Status::Firing | Status::Reminder => "0001-01-01T00:00:00Z".to_owned(),
        Status::Resolved | Status::KeptBack => rfc3339(alert.at),
    };
    let link = alert.link.as_deref().unwrap_or_default();
    json!({
        "version": "4",
        "receiver": "steeple",
        "status": alert.status.as_str(),
        "groupKey": format!("{{}}:{{alertname={name}}}"),
        "groupLabels": {"alertname": alert.rule},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": link.split('#').next(),
        "truncatedAlerts": 0,
        "alerts": [{
            "status": alert.status.as_str(),
            "labels": labels,
            "annotations": annotations,
            "startsAt": rfc3339(alert.since),
            "endsAt": end,
            "generatorURL": link,
            "fingerprint": fingerprint(&labels),
        }],
    })
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
        let body = match self.payload {
            Payload::Steeple => json!({
                "type": format!("alert.{}", alert.status.as_str()),
                "timestamp": rfc3339(alert.at),
                "data": alert.webhook_data(),
            }),
            Payload::Alertmanager => of_alertmanager(alert),
        };
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
