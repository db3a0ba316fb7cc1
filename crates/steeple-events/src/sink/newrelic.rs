use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};
use steeple_core::{RequestId, X_REQUEST_ID};
use steeple_export::{Answer, DropReason, Endpoint, HttpOptions, Protocol, Reason, Request, Response};
use steeple_scrub::{Scrubbed, Scrubber};

use super::http::{endpoint, secret, start, vendor};
use crate::{BuildError, IntoOutlet, Outgoing, Outlet, Service, SinkContext, Takes, Tracked};

/// Sends events to New Relic as custom events, by the Event API.
///
/// New Relic keeps an event twice if it comes twice: each has its id as `event.id`, for `uniqueCount(event.id)`.
///
/// # Source
/// New Relic, "Introduction to the Event API", "Data requirements and limits for custom event data"; the telemetry SDKs'
/// specification, `communication.md`, for statuses and retries.
#[derive(Clone)]
#[must_use = "a sink does nothing until events are built with it"]
pub struct NewRelic {
    license_key: String,
    account_id: String,
    region: NewRelicRegion,
    endpoint: Option<String>,
    http: HttpOptions,
}

impl std::fmt::Debug for NewRelic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewRelic").field("account_id", &self.account_id).finish_non_exhaustive()
    }
}

/// Where a New Relic account's data lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewRelicRegion {
    /// `insights-collector.newrelic.com`. The default.
    #[default]
    Us,
    /// `insights-collector.eu01.nr-data.net`.
    Eu,
}

impl NewRelicRegion {
    const fn host(self) -> &'static str {
        match self {
            Self::Us => "https://insights-collector.newrelic.com",
            Self::Eu => "https://insights-collector.eu01.nr-data.net",
        }
    }
}

/// A request has 1 MB at most as it is sent. Events shrink to about a seventh; a request that is too large is split.
const BATCH: (usize, usize) = (2_000, 3_000_000);
/// Attributes of one event.
const MAX_ATTRIBUTES: usize = 254;
/// Older and younger events are not stored.
const MAX_AGE_MILLIS: u64 = 24 * 3_600_000;

impl NewRelic {
    /// An account, by its ingest license key and its number.
    pub fn new(license_key: impl Into<String>, account_id: impl Into<String>) -> Self {
        Self {
            license_key: license_key.into(),
            account_id: account_id.into(),
            region: NewRelicRegion::default(),
            endpoint: None,
            http: HttpOptions::new(),
        }
    }
}

vendor!(NewRelic, "New Relic", NewRelicRegion, "Us");

impl IntoOutlet for NewRelic {
    fn into_outlet(self: Box<Self>, context: &SinkContext) -> Result<Outlet, BuildError> {
        let key = secret("newrelic.license_key", &self.license_key)?;
        if key.is_empty() {
            return Err(BuildError::setting("newrelic.license_key", "an ingest license key: letters and digits"));
        }
        if self.account_id.is_empty() || !self.account_id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BuildError::setting("newrelic.account_id", "digits"));
        }
        let host = self.endpoint.as_deref().unwrap_or(self.region.host()).trim_end_matches('/');
        let url = endpoint("newrelic.endpoint", &format!("{host}/v1/accounts/{}/events", self.account_id))?;
        let (sink, endpoint) = (context.clone(), url.clone());
        let pipeline = start(self.http, context, "newrelic", &url, BATCH, move || EventApi {
            scrubber: sink.scrubber.clone(),
            service: Arc::clone(&sink.service),
            endpoint: endpoint.clone(),
            license_key: key.clone(),
        })?;
        Ok(Outlet::new(pipeline, Takes::All))
    }
}

pub(super) struct EventApi {
    pub(super) scrubber: Scrubber,
    pub(super) service: Arc<Service>,
    pub(super) endpoint: Endpoint,
    pub(super) license_key: HeaderValue,
}

impl Protocol for EventApi {
    type Item = Tracked;
    type Ready = Outgoing;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    fn admit(&mut self, event: &Outgoing) -> Result<(), DropReason> {
        super::in_window(event, |now, at| now.abs_diff(at) <= MAX_AGE_MILLIS)
    }

    fn encode(&mut self, batch: &[Scrubbed<Outgoing>]) -> Result<Request, Reason> {
        let events: Vec<_> = batch.iter().map(|event| document(event, &self.service)).collect();
        let body = serde_json::to_vec(&events).map_err(|_error| Reason::from("the events are not JSON"))?;
        let request_id = HeaderValue::from_str(RequestId::new().as_str()).map_err(|error| Reason::of_error(&error))?;
        Ok(Request::post(&self.endpoint)
            .content_type("application/json")
            .header(HeaderName::from_static("api-key"), self.license_key.clone())
            // The same for each try, so that New Relic can detect a second one.
            .header(X_REQUEST_ID, request_id)
            .body(body)
            .gzip())
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Outgoing>]) -> Answer {
        match response.status {
            // The answer does not name the event that it is about.
            StatusCode::BAD_REQUEST => Answer::Bisect(Reason::from("400")),
            _ => Answer::of(response),
        }
    }
}

pub(super) fn document(event: &Outgoing, service: &Service) -> Value {
    let mut out = Map::new();
    out.insert("eventType".to_owned(), event.new_relic_name().into());
    out.insert("timestamp".to_owned(), event.unix_millis().into());
    out.insert("event.id".to_owned(), event.id().into());
    for (key, value) in service.attributes() {
        out.insert(key.to_owned(), value.into());
    }
    for (key, value) in
        [("enduser.id", event.user()), ("request.id", event.request_id()), ("http.route", event.route())]
    {
        if let Some(value) = value {
            out.insert(key.to_owned(), value.into());
        }
    }
    if let Some(trace) = event.trace() {
        out.insert("trace.id".to_owned(), trace.trace_id().to_string().into());
        out.insert("span.id".to_owned(), trace.span_id().to_string().into());
    }
    for (key, value) in event.properties() {
        flatten(&attribute_name(key), value, &mut out);
    }
    Value::Object(out)
}

/// New Relic takes texts and numbers, and nothing that nests.
fn flatten(key: &str, value: &Value, out: &mut Map<String, Value>) {
    let flat = match value {
        Value::Null => return,
        Value::Bool(yes) => if *yes { "true" } else { "false" }.into(),
        Value::Number(_) | Value::String(_) => value.clone(),
        Value::Array(items) => Value::String(items.iter().map(plain).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&format!("{key}.{}", attribute_name(name)), value, out);
            }
            return;
        }
    };
    if out.len() < MAX_ATTRIBUTES && key.len() <= 255 && !out.contains_key(key) {
        out.insert(key.to_owned(), flat);
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Letters, digits, `:`, `.` and `_`; names that New Relic keeps for itself get a `_` behind them.
fn attribute_name(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || ":._".contains(c) { c } else { '_' };
    let mut name: String = name.chars().map(keep).collect();
    let reserved = ["accountId", "appId", "eventType", "timestamp", "entity.guid", "entity.name", "entity.type"];
    if reserved.contains(&name.as_str()) {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sink::test_support::{outgoing, service};

    #[test]
    fn an_event_is_flat_and_has_its_id() {
        let properties = json!({
            "plan": "pro", "ok": true, "none": null, "timestamp": 5, "a b": 1, "deep": {"x": {"y": 2}}, "list": [1, "b"]});
        let event = outgoing("sign_up", &properties, Some("u-1"));
        let document = document(&event, &service());
        assert_eq!((&document["eventType"], &document["timestamp"]), (&json!("sign_up"), &json!(event.unix_millis())));
        assert_eq!((&document["event.id"], &document["enduser.id"]), (&json!(event.id()), &json!("u-1")));
        assert_eq!((&document["plan"], &document["ok"], document.get("none")), (&json!("pro"), &json!("true"), None));
        assert_eq!((&document["timestamp_"], &document["a_b"]), (&json!(5), &json!(1)));
        assert_eq!((&document["deep.x.y"], &document["list"]), (&json!(2), &json!("1,b")));
        assert!(document.as_object().unwrap().values().all(|value| value.is_string() || value.is_number()));
    }
}
