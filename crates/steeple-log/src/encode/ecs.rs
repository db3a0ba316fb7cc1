//! JSON with the names of the Elastic Common Schema: dotted keys at the top level, as shippers expect them.

use std::{borrow::Cow, fmt::Write};

use steeple_core::VisibleAddress;
use steeple_scrub::Scrubbed;
use tracing::Level;

use super::{
    Access, Context, Field, Line, MAX_FIELDS, Service, Value, escape,
    json::{
        self, Plain, configured, error_type, hex, ip_address, key, name, number, optional, plain, text, text_key,
        user_agent, visible_address,
    },
    level_name,
    record::borrowed,
    time::rfc3339_micros,
};

/// The version of the schema whose names these are.
const ECS_VERSION: &str = "8.11.0";

pub(super) fn constants(service: &Service) -> Vec<u8> {
    let mut out = Vec::new();
    plain(&mut out, text_key!("ecs.version"), ECS_VERSION);
    configured(&mut out, text_key!("service.name"), service.name.as_deref());
    configured(&mut out, text_key!("service.version"), service.version.as_deref());
    configured(&mut out, text_key!("service.environment"), service.environment.as_deref());
    configured(&mut out, text_key!("cloud.region"), service.region.as_deref());
    configured(&mut out, text_key!("event.dataset"), service.name.as_deref());
    out
}

pub(super) fn access(out: &mut Vec<u8>, constants: &[u8], access: &Access<'_>) {
    start(out, access.at, access.level);
    out.extend_from_slice(text_key!("message").as_bytes());
    json::message(out, access);
    out.push(b'"');
    out.extend_from_slice(constants);
    plain(out, text_key!("log.logger"), crate::event::ACCESS);
    kind(out, access);
    ids(out, &access.context);
    plain(out, text_key!("http.request.method"), access.method);
    if let Some(bytes) = access.end.request_body_bytes {
        number(out, key!("http.request.body.bytes"), bytes);
    }
    if let Some(status) = access.end.status {
        number(out, key!("http.response.status_code"), status.as_u16());
    }
    number(out, key!("http.response.body.bytes"), access.end.response_body_bytes);
    plain(out, text_key!("http.version"), access.version);
    text(out, text_key!("url.path"), access.path.as_deref());
    optional(out, text_key!("url.query"), borrowed(access.query.as_ref()));
    user_agent(out, text_key!("user_agent.original"), access.user_agent.as_ref());
    if let Some(address) = &access.address {
        client(out, address);
    }
    if let Some(class) = access.end.error_class() {
        error_type(out, text_key!("error.type"), class);
    }
    optional(out, text_key!("error.message"), borrowed(access.error.as_ref()));
    optional(out, text_key!("labels.client_request_id"), borrowed(access.client_request_id.as_ref()));
    optional(out, text_key!("labels.rpc_method"), borrowed(access.rpc_method.as_ref()));
    if let Some(status) = access.end.grpc_status {
        plain(out, text_key!("labels.rpc_response_status_code"), status.as_str());
    }
    plain(out, text_key!("labels.outcome"), access.end.outcome.as_str());
    if let Some(head_after) = access.end.head_after {
        out.extend_from_slice(text_key!("labels.response_head_ms").as_bytes());
        super::millis(out, head_after);
        out.push(b'"');
    }
    labels(out, "attributes_", &access.attributes);
    out.push(b'}');
}

pub(super) fn line(out: &mut Vec<u8>, constants: &[u8], line: &Line<'_>) {
    start(out, line.at, line.level);
    text(out, text_key!("message"), line.message.as_deref());
    out.extend_from_slice(constants);
    text(out, text_key!("log.logger"), line.target);
    if let Some(context) = &line.context {
        ids(out, context);
    }
    for (named, key) in [("error.type", text_key!("error.type")), ("error.message", text_key!("error.message"))] {
        let value = line.fields.iter().find(|field| field.key == named);
        if let Some(Field { value: Value::Text(value), .. }) = value {
            text(out, key, value.as_deref());
        }
    }
    optional(out, text_key!("error.stack_trace"), borrowed(line.stacktrace.as_ref()));
    optional(out, text_key!("labels.span_name"), line.span.map(Scrubbed::from_static));
    labels(out, "", &line.fields);
    out.push(b'}');
}

fn start(out: &mut Vec<u8>, at: std::time::Duration, level: Level) {
    out.extend_from_slice(b"{\"@timestamp\":\"");
    rfc3339_micros(out, at);
    out.push(b'"');
    plain(out, text_key!("log.level"), level_name(level));
}

/// What kind of event this is, and how long it took: in nanoseconds, as the schema has it.
fn kind(out: &mut Vec<u8>, access: &Access<'_>) {
    let failed = access.end.is_server_error();
    out.extend_from_slice(concat!(key!("event.kind"), "\"event\"", key!("event.category"), "[\"web\"]").as_bytes());
    out.extend_from_slice(key!("event.type").as_bytes());
    out.extend_from_slice(if failed { b"[\"access\",\"error\"]" } else { b"[\"access\"]" });
    let outcome = match (failed, access.end.outcome.is_cancelled()) {
        (true, _) => "failure",
        (false, true) => "unknown",
        (false, false) => "success",
    };
    plain(out, text_key!("event.outcome"), outcome);
    out.extend_from_slice(text_key!("event.start").as_bytes());
    rfc3339_micros(out, access.at.saturating_sub(access.end.duration));
    out.push(b'"');
    number(out, key!("event.duration"), u64::try_from(access.end.duration.as_nanos()).unwrap_or(u64::MAX));
}

fn ids(out: &mut Vec<u8>, context: &Context<'_>) {
    if let Some(id) = context.request_id {
        out.extend_from_slice(text_key!("http.request.id").as_bytes());
        out.extend_from_slice(id.as_bytes());
        out.push(b'"');
    }
    if let Some(trace) = context.trace {
        hex(out, text_key!("trace.id"), trace.trace_id());
        hex(out, text_key!("span.id"), trace.span_id());
        // The span of the exchange is the first of this service: what the schema calls the transaction.
        hex(out, text_key!("transaction.id"), trace.span_id());
    }
    optional(out, text_key!("user.id"), context.user());
    out.extend_from_slice(text_key!("labels.transaction_name").as_bytes());
    name(out, context);
    out.push(b'"');
    optional(out, text_key!("labels.http_route"), context.route());
}

/// Elasticsearch rejects the whole document for one invalid address, so a pseudonym is not written as `ip`.
fn client(out: &mut Vec<u8>, address: &VisibleAddress) {
    visible_address(out, text_key!("client.address"), address);
    if let VisibleAddress::Ip(ip) = address {
        ip_address(out, text_key!("client.ip"), *ip);
        ip_address(out, text_key!("source.ip"), *ip);
    }
}

/// Labels of our own, which a field must not repeat.
const RESERVED: [&str; 8] = [
    "transaction_name",
    "http_route",
    "client_request_id",
    "rpc_method",
    "rpc_response_status_code",
    "outcome",
    "response_head_ms",
    "span_name",
];

/// The fields of a logged line that have a name in the schema.
fn has_a_name(field: &Field<'_>) -> bool {
    matches!((&**field.key, &field.value), ("error.type" | "error.message", Value::Text(_)))
}

/// Whatever has no name in the schema: flat keys, text values.
fn labels(out: &mut Vec<u8>, prefix: &'static str, fields: &[Field<'_>]) {
    let mut written: Vec<String> = Vec::with_capacity(fields.len().min(MAX_FIELDS));
    for field in fields {
        if prefix.is_empty() && has_a_name(field) {
            continue;
        }
        let key = field.key.as_deref().map(label_key);
        let mut label = format!("{prefix}{key}");
        let moved = if RESERVED.contains(&&*label) { "fields_" } else { "" };
        label.insert_str(0, moved);
        if written.contains(&label) {
            continue;
        }
        out.extend_from_slice(b",\"labels.");
        out.extend_from_slice(moved.as_bytes());
        out.extend_from_slice(prefix.as_bytes());
        escape::json(out, key.as_deref());
        out.extend_from_slice(b"\":\"");
        match &field.value {
            Value::Text(text) => escape::json(out, text.as_deref()),
            Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Uint(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
            Value::Float(number) => {
                let _infallible = write!(Plain(out), "{number}");
            }
            Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        }
        out.push(b'"');
        written.push(label);
    }
}

/// The schema's rule: no dots, stars or backslashes in a label's name.
fn label_key(key: &str) -> Cow<'_, str> {
    if key.contains(['.', '*', '\\']) { Cow::Owned(key.replace(['.', '*', '\\'], "_")) } else { Cow::Borrowed(key) }
}
