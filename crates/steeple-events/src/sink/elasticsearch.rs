use std::sync::Arc;

use http::{HeaderValue, header::AUTHORIZATION};
use serde_json::{Map, Value, json};
use steeple_core::date::rfc3339_millis;
use steeple_export::{
    Answer, Endpoint, HttpOptions, Protocol, Reason, Request, Response,
    protocol::bulk::{self, Body},
};
use steeple_scrub::{Scrubbed, Scrubber};

use super::{
    erasures::{self, Erasures},
    http::{endpoint, reached, secret, start, start_exporter},
};
use crate::{BuildError, IntoOutlet, Outgoing, Outlet, Service, SinkContext, Takes, Tracked};

/// Sends events to Elasticsearch or `OpenSearch`: `_bulk` with `create` into a data stream, each with its own `_id`, so
/// that one that comes twice is stored once. [`Events::erase`](crate::Events::erase) deletes a user's documents by query.
///
/// # Source
/// Elasticsearch, "Bulk API" and "Data streams"; Elastic Common Schema 9.
#[derive(Clone)]
#[must_use = "a sink does nothing until events are built with it"]
pub struct Elasticsearch {
    url: String,
    stream: String,
    api_key: Option<String>,
    http: HttpOptions,
}

impl std::fmt::Debug for Elasticsearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elasticsearch").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// Elasticsearch advises 5 to 15 MB a request.
const BATCH: (usize, usize) = (1_000, 5_000_000);

impl Elasticsearch {
    /// A cluster, and the data stream that gets the events: `logs-events-production`.
    pub fn new(url: impl Into<String>, stream: impl Into<String>) -> Self {
        Self { url: url.into(), stream: stream.into(), api_key: None, http: HttpOptions::new() }
    }

    /// The API key, as Elasticsearch shows it encoded. Default: none.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }
}

reached!(Elasticsearch, "Elasticsearch");

impl IntoOutlet for Elasticsearch {
    fn into_outlet(self: Box<Self>, context: &SinkContext) -> Result<Outlet, BuildError> {
        if !bulk::is_stream_name(&self.stream) {
            return Err(BuildError::setting(
                "elasticsearch.stream",
                "the name of a data stream in lower case, such as `logs-events-production`",
            ));
        }
        let server = endpoint("elasticsearch.url", &self.url)?;
        let url = bulk::endpoint(&server).map_err(|error| BuildError::sink("elasticsearch_events", error))?;
        let (refresh, delete) = erasures::endpoints(&server, &self.stream)
            .map_err(|error| BuildError::sink("elasticsearch_erasures", error))?;
        let api_key = match &self.api_key {
            Some(key) => Some(secret("elasticsearch.api_key", &format!("ApiKey {key}"))?),
            None => None,
        };
        let (sink, key, to) = (context.clone(), api_key.clone(), delete.clone());
        let batch = erasures::BATCH;
        let forget =
            start_exporter(self.http.clone(), context, "elasticsearch_erasures", &to, batch, move |client| Erasures {
                client,
                scrubber: sink.scrubber.clone(),
                refresh: refresh.clone(),
                delete: delete.clone(),
                api_key: key.clone(),
            })?;
        let (sink, endpoint, stream) = (context.clone(), url.clone(), self.stream);
        let pipeline = start(self.http, context, "elasticsearch_events", &url, BATCH, move || Documents {
            scrubber: sink.scrubber.clone(),
            service: Arc::clone(&sink.service),
            endpoint: endpoint.clone(),
            stream: stream.clone(),
            api_key: api_key.clone(),
        })?;
        Ok(Outlet::new(pipeline, Takes::All).beside(Outlet::new(forget, Takes::Erasures)))
    }
}

pub(super) struct Documents {
    pub(super) scrubber: Scrubber,
    pub(super) service: Arc<Service>,
    pub(super) endpoint: Endpoint,
    pub(super) stream: String,
    pub(super) api_key: Option<HeaderValue>,
}

impl Protocol for Documents {
    type Item = Tracked;
    type Ready = Outgoing;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    fn encode(&mut self, batch: &[Scrubbed<Outgoing>]) -> Result<Request, Reason> {
        let mut body = Body::new();
        for event in batch {
            body.create(Some(&self.stream), Some(event.id()), &document(event, &self.service))?;
        }
        let request = body.into_request(&self.endpoint);
        Ok(match &self.api_key {
            Some(key) => request.header(AUTHORIZATION, key.clone()),
            None => request,
        })
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Outgoing>]) -> Answer {
        bulk::judge(response)
    }
}

/// An event in the words of the Elastic Common Schema. Properties are below `steeple`, so that no event's property
/// decides the type of a field that others use.
fn document(event: &Outgoing, service: &Service) -> Value {
    let mut out = json!({
        "@timestamp": rfc3339_millis(event.time()),
        "ecs": {"version": "9.0.0"},
        "message": event.name(),
        "event": {"id": event.id(), "action": event.name(), "kind": "event"},
        "steeple": {"class": event.class().as_str(), "properties": event.properties()},
    });
    let Some(fields) = out.as_object_mut() else { return out };
    let mut own = Map::new();
    for (key, value) in [("name", &service.name), ("version", &service.version), ("environment", &service.environment)]
    {
        if let Some(value) = value {
            own.insert(key.to_owned(), value.as_str().into());
        }
    }
    if !own.is_empty() {
        fields.insert("service".to_owned(), Value::Object(own));
    }
    if let Some(region) = &service.region {
        fields.insert("cloud".to_owned(), json!({"region": region}));
    }
    if let Some(user) = event.user() {
        fields.insert("user".to_owned(), json!({"id": user}));
    }
    if let Some(id) = event.request_id() {
        fields.insert("http".to_owned(), json!({"request": {"id": id}}));
    }
    if let Some(trace) = event.trace() {
        fields.insert("trace".to_owned(), json!({"id": trace.trace_id().to_string()}));
        fields.insert("span".to_owned(), json!({"id": trace.span_id().to_string()}));
    }
    if let (Some(route), Some(steeple)) = (event.route(), fields.get_mut("steeple").and_then(Value::as_object_mut)) {
        steeple.insert("route".to_owned(), route.into());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test_support::{outgoing, service};

    #[test]
    fn an_event_is_an_ecs_document() {
        let event = outgoing("sign_up", &json!({"plan": "pro"}), Some("u-1"));
        let document = document(&event, &service());
        assert_eq!(document["event"], json!({"id": event.id(), "action": "sign_up", "kind": "event"}));
        assert_eq!((&document["user"]["id"], &document["service"]["name"]), (&json!("u-1"), &json!("shop")));
        assert_eq!(document["steeple"]["properties"], json!({"plan": "pro"}));
        assert!(document["@timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
