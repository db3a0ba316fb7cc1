use http::StatusCode;
use serde_json::json;
use steeple_export::{Answer, Endpoint, HttpOptions, Protocol, Reason, Request, Response};
use steeple_scrub::{Scrubbed, Scrubber};

use super::{
    Channel, ChannelContext, IntoChannel,
    http::{options, reached, start},
};
use crate::{BuildError, Severity, message::Notification};

/// Posts alerts to a Slack channel by an incoming webhook. Up to 20 alerts make one message.
///
/// # Source
/// Slack, "Sending messages using incoming webhooks" and "Rate limits".
#[derive(Clone)]
#[must_use = "a channel does nothing until alerts are built with it"]
pub struct Slack {
    url: String,
    at_least: Severity,
    http: HttpOptions,
}

impl std::fmt::Debug for Slack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL of an incoming webhook is its password.
        f.debug_struct("Slack").field("at_least", &self.at_least).finish_non_exhaustive()
    }
}

/// More attachments make a message that people do not read and that Slack may refuse.
pub(super) const MAX_ALERTS: usize = 20;

impl Slack {
    /// An incoming webhook: `https://hooks.slack.com/services/…`.
    pub fn new(webhook_url: impl Into<String>) -> Self {
        Self { url: webhook_url.into(), at_least: Severity::Low, http: options() }
    }
}

reached!(Slack, "Slack");

impl IntoChannel for Slack {
    fn into_channel(self: Box<Self>, context: &ChannelContext) -> Result<Channel, BuildError> {
        let endpoint = Endpoint::parse(&self.url)
            .map_err(|_unusable| BuildError::setting("slack.webhook_url", "a URL of an incoming webhook"))?;
        let (target, scrubber) = (endpoint.clone(), context.scrubber.clone());
        let pipeline = start(self.http, context, "slack", &endpoint, MAX_ALERTS, move || Messages {
            endpoint: target.clone(),
            scrubber: scrubber.clone(),
        })?;
        Ok(Channel::new(pipeline, self.at_least))
    }
}

pub(super) struct Messages {
    pub(super) endpoint: Endpoint,
    pub(super) scrubber: Scrubber,
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
        let attachments: Vec<_> = batch.iter().map(|alert| alert.slack_attachment()).collect();
        // The text that a phone shows, and that a screen reader reads.
        let text = match batch {
            [alert] => crate::message::escape_slack(&alert.subject()),
            alerts => format!("{} alerts", alerts.len()),
        };
        let body = serde_json::to_vec(&json!({"text": text, "attachments": attachments}))
            .map_err(|_error| Reason::from("the message is not JSON"))?;
        Ok(Request::post(&self.endpoint).content_type("application/json").body(body))
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Notification>]) -> Answer {
        judge(response)
    }
}

fn judge(response: &Response) -> Answer {
    match response.status {
        // The webhook, its channel or its app is gone. Posting on would disable the app.
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => Answer::Disabled(response.reason()),
        StatusCode::OK if &*response.body != b"ok" => Answer::rejected(response.reason()),
        _ => Answer::of(response),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_as_slack_documents_them() {
        let answer = |status: u16, body: &'static str| {
            judge(&Response::new(StatusCode::from_u16(status).unwrap()).with_body(body))
        };
        assert!(matches!(answer(200, "ok"), Answer::Accepted));
        assert!(matches!(answer(200, "no_text"), Answer::Rejected { .. }));
        assert!(matches!(answer(400, "invalid_payload"), Answer::Rejected { .. }));
        assert!(matches!(answer(403, "invalid_token"), Answer::Disabled(_)));
        assert!(matches!(answer(404, "no_service"), Answer::Disabled(_)));
        assert!(matches!(answer(410, "channel_is_archived"), Answer::Disabled(_)));
        assert!(matches!(answer(429, "rate_limited"), Answer::Retry { .. }));
        assert!(matches!(answer(500, "rollup_error"), Answer::Retry { .. }));
    }
}
