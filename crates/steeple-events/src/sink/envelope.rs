use serde_json::{Map, Value, json};
use steeple_core::date::rfc3339_millis;

use crate::{Outgoing, Service};

/// An event as webhooks and NDJSON files have it: `{"type": "sign_up", "timestamp": "…", "data": {…}}`.
///
/// # Source
/// Standard Webhooks 1.0, "Payload structure".
pub(super) fn envelope(event: &Outgoing, service: &Service) -> Value {
    let mut data = Map::new();
    data.insert("id".to_owned(), event.id().into());
    data.insert("class".to_owned(), event.class().as_str().into());
    for (key, value) in [("user_id", event.user()), ("request_id", event.request_id()), ("route", event.route())] {
        if let Some(value) = value {
            data.insert(key.to_owned(), value.into());
        }
    }
    if let Some(trace) = event.trace() {
        data.insert("trace_id".to_owned(), trace.trace_id().to_string().into());
        data.insert("span_id".to_owned(), trace.span_id().to_string().into());
    }
    for (key, value) in service.attributes() {
        data.insert(key.replace('.', "_"), value.into());
    }
    data.insert("consent".to_owned(), event.consent().as_str().into());
    data.insert("properties".to_owned(), Value::Object(event.properties().clone()));
    json!({"type": event.name(), "timestamp": rfc3339_millis(event.time()), "data": data})
}
