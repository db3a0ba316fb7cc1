//! JSON with OpenTelemetry's names.

use std::{fmt::Write, net::IpAddr, ops::Range};

use http::StatusCode;
use steeple_core::{ErrorClass, Hex, Outcome, VisibleAddress};
use steeple_scrub::Scrubbed;
use tracing::Level;

use super::{
    Access, Context, Field, Line, Service, UserAgent, Value, escape, level_name, millis, record::borrowed,
    time::rfc3339_micros,
};

/// `,"key":`, put together by the compiler.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use key;

/// `,"key":"`: the same with the quote that begins a text.
macro_rules! text_key {
    ($name:literal) => {
        concat!(",\"", $name, "\":\"")
    };
}
pub(super) use text_key;

/// `","key":"`: the same behind a text, with its last quote.
macro_rules! next_key {
    ($name:literal) => {
        concat!("\",\"", $name, "\":\"")
    };
}

/// Keys that we write ourselves on lines that are logged. A field of the same name goes under `fields.`.
const RESERVED: [&str; 15] = [
    "timestamp",
    "level",
    "message",
    "target",
    "service.name",
    "service.version",
    "deployment.environment.name",
    "cloud.region",
    "span.name",
    "request_id",
    "trace_id",
    "span_id",
    "transaction.name",
    "http.route",
    "user.id",
];

/// How many of them are there on an exchange's own line that comes as a `tracing` event, ids and names among its fields.
const RESERVED_ON_ACCESS: usize = 9;

pub(super) fn constants(service: &Service) -> Vec<u8> {
    let mut out = Vec::new();
    configured(&mut out, text_key!("service.name"), service.name.as_deref());
    configured(&mut out, text_key!("service.version"), service.version.as_deref());
    configured(&mut out, text_key!("deployment.environment.name"), service.environment.as_deref());
    configured(&mut out, text_key!("cloud.region"), service.region.as_deref());
    out
}

/// What follows the message of an exchange's line, up to the last quote: that is the next key's.
pub(super) fn access_constants(constants: &[u8]) -> Vec<u8> {
    let mut out = [b"\",\"target\":\"steeple::access\"", constants].concat();
    out.pop();
    out
}

pub(super) fn access(out: &mut Vec<u8>, constants: &[u8], access: &Access<'_>) {
    out.extend_from_slice(b"{\"timestamp\":\"");
    rfc3339_micros(out, access.at);
    if access.level == Level::INFO {
        out.extend_from_slice(b"\",\"level\":\"info\",\"message\":\"");
    } else {
        next(out, next_key!("level"), level_name(access.level));
        out.extend_from_slice(next_key!("message").as_bytes());
    }
    let name = message(out, access);
    // Up to the status there are texts only. Each key begins with the quote that ends the text before it.
    out.extend_from_slice(constants);
    next_ids(out, &access.context);
    next_text(out, next_key!("client_request_id"), borrowed(access.client_request_id.as_ref()));
    out.extend_from_slice(next_key!("transaction.name").as_bytes());
    out.extend_from_within(name.whole());
    next(out, next_key!("http.request.method"), access.method);
    if access.context.is_named_after_route() {
        out.extend_from_slice(next_key!("http.route").as_bytes());
        out.extend_from_within(name.target());
    } else {
        next_text(out, next_key!("http.route"), access.context.route());
    }
    out.extend_from_slice(next_key!("url.path").as_bytes());
    escape::json(out, access.path.as_deref());
    next_text(out, next_key!("url.query"), borrowed(access.query.as_ref()));
    if let Some(status) = access.end.status {
        out.extend_from_slice(b"\",\"http.response.status_code\":");
        digits(out, status);
    } else {
        out.push(b'"');
    }
    optional(out, text_key!("rpc.method"), borrowed(access.rpc_method.as_ref()));
    if let Some(status) = access.end.grpc_status {
        plain(out, text_key!("rpc.response.status_code"), status.as_str());
    }
    if access.end.outcome == Outcome::Completed {
        out.extend_from_slice(b",\"outcome\":\"completed\",\"duration_ms\":");
    } else {
        plain(out, text_key!("outcome"), access.end.outcome.as_str());
        out.extend_from_slice(key!("duration_ms").as_bytes());
    }
    millis(out, access.end.duration);
    if let Some(head_after) = access.end.head_after {
        out.extend_from_slice(key!("response_head_ms").as_bytes());
        millis(out, head_after);
    }
    if let Some(bytes) = access.end.request_body_bytes {
        number(out, key!("http.request.body.size"), bytes);
    }
    number(out, key!("http.response.body.size"), access.end.response_body_bytes);
    plain(out, text_key!("network.protocol.version"), access.version);
    user_agent(out, text_key!("user_agent.original"), access.user_agent.as_ref());
    if let Some(address) = &access.address {
        visible_address(out, text_key!("client.address"), address);
    }
    optional(out, text_key!("user.id"), access.context.user());
    if let Some(class) = access.end.error_class() {
        error_type(out, text_key!("error.type"), class);
    }
    optional(out, text_key!("error.message"), borrowed(access.error.as_ref()));
    if !access.attributes.is_empty() {
        fields(out, "attributes.", &[], &access.attributes);
    }
    out.push(b'}');
}

pub(super) fn line(out: &mut Vec<u8>, constants: &[u8], line: &Line<'_>) {
    out.extend_from_slice(b"{\"timestamp\":\"");
    rfc3339_micros(out, line.at);
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(level_name(line.level).as_bytes());
    out.push(b'"');
    text(out, text_key!("message"), line.message.as_deref());
    text(out, text_key!("target"), line.target);
    out.extend_from_slice(constants);
    if let Some(context) = &line.context {
        ids(out, context);
        out.extend_from_slice(text_key!("transaction.name").as_bytes());
        name(out, context);
        out.push(b'"');
        optional(out, text_key!("http.route"), context.route());
        optional(out, text_key!("user.id"), context.user());
    }
    optional(out, text_key!("span.name"), line.span.map(Scrubbed::from_static));
    let reserved = if line.is_access { RESERVED.get(..RESERVED_ON_ACCESS).unwrap_or(&RESERVED) } else { &RESERVED };
    fields(out, "", reserved, &line.fields);
    optional(out, text_key!("exception.stacktrace"), borrowed(line.stacktrace.as_ref()));
    out.push(b'}');
}

/// Where a name was written, to be copied from there: a line shows it three times.
pub(super) struct Written {
    start: usize,
    target: usize,
    end: usize,
}

impl Written {
    pub(super) fn whole(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Without the method.
    fn target(&self) -> Range<usize> {
        self.target..self.end
    }
}

/// The message of an exchange: its name, its status, and its outcome unless it simply completed.
pub(super) fn message(out: &mut Vec<u8>, access: &Access<'_>) -> Written {
    let name = name(out, &access.context);
    if let Some(status) = access.end.grpc_status {
        out.push(b' ');
        out.extend_from_slice(status.as_str().as_bytes());
    } else if let Some(status) = access.end.status {
        out.push(b' ');
        digits(out, status);
    }
    if let Some(oddity) = access.oddity() {
        out.push(b' ');
        out.extend_from_slice(oddity.as_bytes());
    }
    name
}

/// The inside of a string: `GET /users/{id}`.
pub(super) fn name(out: &mut Vec<u8>, context: &Context<'_>) -> Written {
    let start = out.len();
    let (method, target) = context.name();
    if let Some(method) = method {
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
    }
    let written = out.len();
    escape::json(out, target);
    Written { start, target: written, end: out.len() }
}

fn ids(out: &mut Vec<u8>, context: &Context<'_>) {
    if let Some(id) = context.request_id {
        out.extend_from_slice(text_key!("request_id").as_bytes());
        out.extend_from_slice(id.as_bytes());
        out.push(b'"');
    }
    if let Some(trace) = context.trace {
        hex(out, text_key!("trace_id"), trace.trace_id());
        hex(out, text_key!("span_id"), trace.span_id());
    }
}

/// The three digits of a status.
fn digits(out: &mut Vec<u8>, status: StatusCode) {
    if let Some(digits) = status.as_str().as_bytes().first_chunk::<3>() {
        out.extend_from_slice(digits);
    }
}

/// The same as [`ids`], behind a text without its last quote, and without that itself.
fn next_ids(out: &mut Vec<u8>, context: &Context<'_>) {
    if let Some(id) = context.request_id {
        out.extend_from_slice(next_key!("request_id").as_bytes());
        out.extend_from_slice(id.as_bytes());
    }
    if let Some(trace) = context.trace {
        out.extend_from_slice(next_key!("trace_id").as_bytes());
        trace.trace_id().write_to(out);
        out.extend_from_slice(next_key!("span_id").as_bytes());
        trace.span_id().write_to(out);
    }
}

/// The same as [`optional`], behind a text without its last quote, and without that itself.
fn next_text(out: &mut Vec<u8>, key: &str, value: Option<Scrubbed<&str>>) {
    if let Some(value) = value {
        out.extend_from_slice(key.as_bytes());
        escape::json(out, value);
    }
}

/// The same as [`plain`], behind a text without its last quote, and without that itself.
#[inline]
fn next(out: &mut Vec<u8>, key: &str, value: &'static str) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(value.as_bytes());
}

pub(super) fn user_agent(out: &mut Vec<u8>, key: &str, value: Option<&UserAgent<'_>>) {
    let Some(value) = value else { return };
    out.extend_from_slice(key.as_bytes());
    match value {
        UserAgent::Recalled(recalled) => escape::recalled(out, recalled),
        UserAgent::Other(text) => escape::json(out, text.as_deref()),
    }
    out.push(b'"');
}

/// One of our own words: it needs neither scrubber nor escapes.
pub(super) fn plain(out: &mut Vec<u8>, key: &str, value: &'static str) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// The one way of a text into a line.
pub(super) fn text(out: &mut Vec<u8>, key: &str, value: Scrubbed<&str>) {
    out.extend_from_slice(key.as_bytes());
    escape::json(out, value);
    out.push(b'"');
}

pub(super) fn optional(out: &mut Vec<u8>, key: &str, value: Option<Scrubbed<&str>>) {
    if let Some(value) = value {
        text(out, key, value);
    }
}

/// What the operator configured for the service.
pub(super) fn configured(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    optional(out, key, value.map(Scrubbed::from_application));
}

pub(super) fn number(out: &mut Vec<u8>, key: &str, value: impl itoa::Integer) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(super) fn hex<const N: usize>(out: &mut Vec<u8>, key: &str, id: Hex<N>) {
    out.extend_from_slice(key.as_bytes());
    id.write_to(out);
    out.push(b'"');
}

pub(super) fn visible_address(out: &mut Vec<u8>, key: &str, address: &VisibleAddress) {
    match address {
        VisibleAddress::Ip(ip) => ip_address(out, key, *ip),
        VisibleAddress::Pseudonym(pseudonym) => text(out, key, Scrubbed::from_application(pseudonym)),
    }
}

pub(super) fn ip_address(out: &mut Vec<u8>, key: &str, address: IpAddr) {
    out.extend_from_slice(key.as_bytes());
    match address {
        // `Display` takes longer for these few digits than all that is around them.
        IpAddr::V4(v4) => {
            for (place, octet) in v4.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(v6) => {
            let _infallible = write!(Plain(out), "{v6}");
        }
    }
    out.push(b'"');
}

pub(super) fn error_type(out: &mut Vec<u8>, key: &str, class: ErrorClass) {
    out.extend_from_slice(key.as_bytes());
    class.with_str(|class| out.extend_from_slice(class.as_bytes()));
    out.push(b'"');
}

/// Writes fields, each key once: of two with the same key the first. A key that is `reserved` goes under `fields.`.
fn fields(out: &mut Vec<u8>, prefix: &str, reserved: &[&str], fields: &[Field<'_>]) {
    for (place, field) in fields.iter().enumerate() {
        let before = fields.get(..place).unwrap_or_default();
        let moved = if reserved.contains(&&**field.key) { "fields." } else { prefix };
        if before.iter().any(|other| is_same_key(other, field, reserved)) {
            continue;
        }
        out.extend_from_slice(b",\"");
        out.extend_from_slice(moved.as_bytes());
        escape::json(out, field.key.as_deref());
        out.extend_from_slice(b"\":");
        value(out, &field.value);
    }
}

pub(super) fn object(out: &mut Vec<u8>, all: &[Field<'_>]) {
    let start = out.len();
    fields(out, "", &[], all);
    // The comma before the first one makes room for the brace.
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// Whether two fields end up under one key: `level` is written as `fields.level`, which may be there as well.
fn is_same_key(one: &Field<'_>, other: &Field<'_>, reserved: &[&str]) -> bool {
    let bare = |key: &str| match key.strip_prefix("fields.") {
        Some(rest) if reserved.contains(&rest) => rest.to_owned(),
        _ => key.to_owned(),
    };
    one.key == other.key || (!reserved.is_empty() && bare(&one.key) == bare(&other.key))
}

fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => {
            out.push(b'"');
            escape::json(out, text.as_deref());
            out.push(b'"');
        }
        Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        Value::Uint(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        // JSON knows no infinity; null keeps the column a number.
        Value::Float(number) if !number.is_finite() => out.extend_from_slice(b"null"),
        Value::Float(number) => {
            let _infallible = write!(Plain(out), "{number:?}");
        }
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
    }
}

/// For numbers and addresses, which have nothing to escape.
pub(super) struct Plain<'a>(pub(super) &'a mut Vec<u8>);

impl Write for Plain<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
