//! Alertmanager: every alert to every instance of it, again and again while it fires.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use steeple_core::date::rfc3339;
use steeple_export::{Answer, Endpoint, HttpOptions, Pipeline, Protocol, Reason, Request, Response, Retry};
use steeple_scrub::{Scrubbed, Scrubber};

use super::{
    ChannelContext,
    http::options,
    labels::{annotations, labels},
};
use crate::{
    BuildError,
    message::{Notification, Status},
};

/// Most alerts in one request.
pub(super) const MAX_ALERTS: usize = 100;

/// Sends alerts to Alertmanager (API v2): to each of its instances, which share what they have notified of and not what they
/// have received.
///
/// An alert is sent at once and every minute while it fires, with an end in four minutes, so that it ends when the process is
/// gone; its own end is sent for 15 minutes, or for
/// [`resolved_for`](Self::resolved_for). Its labels are `alertname`, `service`, `environment`, `severity` and `instance`, and
/// stay the same: without `instance`, the end of one replica's alert would end that of another, which would then fire again.
///
/// # Source
/// Alertmanager 0.25, `api/v2/openapi.yaml`; Prometheus, `rules/alerting.go` and `notifier`.
#[derive(Clone)]
#[must_use = "options do nothing until alerts are built with them"]
pub struct Alertmanager {
    urls: Vec<String>,
    every: Duration,
    pub(crate) resolved_for: Duration,
    http: HttpOptions,
}

impl std::fmt::Debug for Alertmanager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alertmanager").field("instances", &self.urls.len()).finish_non_exhaustive()
    }
}

impl Alertmanager {
    /// The instances: `http://alertmanager-0:9093`. Each is named, not a load balancer in front of them.
    pub fn new<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        let http = options()
            .batch_delay(Duration::ZERO)
            // Unsent alerts are sent again a minute later.
            .retry(Retry::default().max_attempts(10).max_age(Duration::from_secs(60)))
            // In a cluster, services speak without encryption.
            .allow_plain_http();
        let urls = urls.into_iter().map(Into::into).collect();
        Self { urls, every: Duration::from_secs(60), resolved_for: Duration::from_secs(900), http }
    }

    /// How often an alert is sent while it fires. It ends after four times this long without being sent. Default: 60 seconds.
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// For how long the end of an alert is sent. Default: 15 minutes, as Prometheus does.
    pub fn resolved_for(mut self, time: Duration) -> Self {
        self.resolved_for = time;
        self
    }

    /// Changes how the instances are reached. Plain HTTP is allowed.
    pub fn http(mut self, change: impl FnOnce(HttpOptions) -> HttpOptions) -> Self {
        self.http = change(self.http);
        self
    }

    /// Starts a pipeline for each instance. `alerts` returns the alerts to send, each time.
    pub(crate) fn start(
        self,
        context: &ChannelContext,
        alerts: impl Fn() -> Vec<Notification> + Clone + Send + Sync + 'static,
    ) -> Result<Vec<Pipeline<Notification>>, BuildError> {
        if self.every.is_zero() || self.urls.is_empty() {
            return Err(BuildError::setting("alertmanager", "at least one URL, and an interval above zero"));
        }
        let mut pipelines = Vec::new();
        for (number, url) in self.urls.iter().enumerate() {
            let target = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
            let endpoint = Endpoint::parse(&target).map_err(|_unusable| {
                BuildError::setting("alertmanager", "URLs such as `http://alertmanager-0:9093`")
            })?;
            let options = self.http.clone().http_or(context.http());
            let client = options.client_for(&endpoint).map_err(|error| BuildError::channel("alertmanager", error))?;
            let name = match number {
                0 => "alertmanager".to_owned(),
                number => format!("alertmanager_{}", number.saturating_add(1)),
            };
            let (every, scrubber, alerts) = (self.every, context.scrubber.clone(), alerts.clone());
            let make = move || {
                Ok(steeple_export::Http::new(
                    client.clone(),
                    Posts {
                        endpoint: endpoint.clone(),
                        scrubber: scrubber.clone(),
                        every,
                        alerts: Box::new(alerts.clone()),
                    },
                ))
            };
            let pipeline = options
                .pipeline(name)
                .batch_items(MAX_ALERTS)
                .tick(self.every)
                .build(make)
                .map_err(|error| BuildError::channel("alertmanager", error))?;
            pipelines.push(pipeline);
        }
        Ok(pipelines)
    }
}

pub(super) type Current = dyn Fn() -> Vec<Notification> + Send + Sync;

pub(super) struct Posts {
    pub(super) endpoint: Endpoint,
    pub(super) scrubber: Scrubber,
    pub(super) every: Duration,
    pub(super) alerts: Box<Current>,
}

impl Protocol for Posts {
    type Item = Notification;
    type Ready = Notification;

    fn size(item: &Notification) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Notification) -> Scrubbed<Notification> {
        item.scrub(&self.scrubber)
    }

    fn encode(&mut self, batch: &[Scrubbed<Notification>]) -> Result<Request, Reason> {
        let alerts: Vec<_> = batch.iter().map(|alert| encode(alert, self.every)).collect();
        let body = serde_json::to_vec(&alerts).map_err(|_error| Reason::from("the alerts are not JSON"))?;
        Ok(Request::post(&self.endpoint).content_type("application/json").body(body))
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Notification>]) -> Answer {
        match response.status {
            // One alert that is refused does not take the others with it.
            StatusCode::BAD_REQUEST => Answer::Bisect(response.reason()),
            _ => Answer::of(response),
        }
    }

    fn tick(&mut self) -> Vec<Notification> {
        (self.alerts)()
    }
}

/// An alert as Alertmanager reads it.
pub(super) fn encode(alert: &Notification, every: Duration) -> Value {
    let end = match alert.status {
        Status::Firing | Status::Reminder => alert.at.saturating_add(every.saturating_mul(4)),
        Status::Resolved | Status::KeptBack => alert.at,
    };
    let mut encoded = json!({
        "labels": labels(alert),
        "annotations": annotations(alert),
        "startsAt": rfc3339(alert.since),
        "endsAt": rfc3339(end),
    });
    if let Some((fields, link)) = encoded.as_object_mut().zip(alert.link.as_ref()) {
        fields.insert("generatorURL".to_owned(), Value::from(link.as_str()));
    }
    encoded
}

#[cfg(test)]
mod tests {
    use steeple_metrics::indicator::Unit;

    use super::*;
    use crate::Severity;

    #[test]
    fn labels_stay_the_same_while_the_value_changes_and_the_end_is_ahead() {
        let alert = |value| Notification {
            service: Some("shop".to_owned()),
            instance: Some("a3f9".to_owned()),
            value: Some(value),
            since: Duration::from_secs(1_795_985_484),
            at: Duration::from_secs(1_795_985_724),
            ..Notification::new(Status::Firing, "high_cpu_usage", Severity::High, Unit::Ratio, 0.8)
        };
        let every = Duration::from_secs(60);
        let [one, other] = [0.9, 0.95].map(|value| encode(&alert(value), every));
        let labels = json!({
            "alertname": "high_cpu_usage", "service": "shop", "instance": "a3f9", "severity": "high",
        });
        assert_eq!((&one["labels"], &other["labels"]), (&labels, &labels));
        assert_ne!(one["annotations"], other["annotations"]);
        assert_eq!(one["startsAt"], "2026-11-29T20:51:24Z");
        assert_eq!(one["endsAt"], "2026-11-29T20:59:24Z", "four minutes after it was sent");
        let over = Notification { status: Status::Resolved, ..alert(0.1) };
        assert_eq!(encode(&over, every)["endsAt"], "2026-11-29T20:55:24Z");
    }
}
