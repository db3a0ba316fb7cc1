use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, request};
use opentelemetry::{Array, Key, KeyValue, StringValue, Value, trace::Status};
use steeple_core::{AttributeValue, End, Exchange, NameSource, NoticedError, VisibleAddress, truncate_address};
use steeple_scrub::{HeaderVerdict, HideReason, Scrubbed, Scrubber};

use super::{MAX_TEXT, Target, key};
use crate::scrub::cut;

/// Longest value of an attribute that the application sets, in bytes.
const MAX_STATUS: usize = 256;

/// Which headers a span carries. None by default: someone has to name them, and the scrubber may still refuse.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture {
    pub(crate) request: Vec<HeaderName>,
    pub(crate) response: Vec<HeaderName>,
}

/// What is known of the request when its span starts and needed when it ends.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) original_method: Option<Box<str>>,
    pub(crate) peer: Option<SocketAddr>,
}

/// How a header is called on a span.
pub(crate) fn headers<'h>(
    grpc: bool,
    response: bool,
    names: &'h [HeaderName],
    map: &'h HeaderMap,
    scrubber: &'h Scrubber,
) -> impl Iterator<Item = KeyValue> + 'h {
    let prefix = match (grpc, response) {
        (false, false) => "http.request.header.",
        (false, true) => "http.response.header.",
        (true, false) => "rpc.request.metadata.",
        (true, true) => "rpc.response.metadata.",
    };
    names.iter().filter(|name| map.contains_key(*name)).filter_map(move |name| {
        let values: Vec<StringValue> =
            map.get_all(name).iter().filter_map(|value| shown(name, value, scrubber)).collect();
        (!values.is_empty()).then(|| KeyValue::new(format!("{prefix}{name}"), Value::Array(Array::String(values))))
    })
}

/// A header that was named for spans counts as allowed. What is denied or marked sensitive stays hidden.
fn shown(name: &HeaderName, value: &HeaderValue, scrubber: &Scrubber) -> Option<StringValue> {
    let value = match scrubber.header(name, value) {
        HeaderVerdict::Shown(value) => value,
        HeaderVerdict::Hidden(HideReason::NotAllowed) => scrubber.field(name.as_str(), value.to_str().ok()?),
        HeaderVerdict::Hidden(_) => return None,
    };
    Some(cut(&value, MAX_TEXT).to_owned().into())
}

/// Attributes that samplers may look at: all that the request head tells.
pub(crate) fn at_start(
    exchange: &Exchange,
    request: &request::Parts,
    target: Target<'_>,
    scrubber: &Scrubber,
) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(16);
    if exchange.is_grpc() {
        // The method waits for the end: only then it is known whether the service has it.
        attributes.push(KeyValue::new(key::RPC_SYSTEM, "grpc"));
    } else {
        attributes.push(KeyValue::new(key::HTTP_METHOD, exchange.method()));
        attributes.push(KeyValue::new(key::URL_PATH, bounded(scrubber.path(request.uri.path()))));
        attributes.push(KeyValue::new(key::URL_SCHEME, scheme(target.scheme)));
        if let Some(query) = request.uri.query() {
            attributes.push(KeyValue::new(key::URL_QUERY, bounded(scrubber.query(query))));
        }
        attributes.push(KeyValue::new(key::PROTOCOL_VERSION, exchange.version_str()));
        if let Some(agent) = request.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok()) {
            attributes.push(KeyValue::new(key::USER_AGENT, bounded(scrubber.text(agent))));
        }
    }
    if let Some(host) = target.host {
        attributes.push(KeyValue::new(key::SERVER_ADDRESS, host.to_owned()));
        if let Some(port) = target.port {
            attributes.push(KeyValue::new(key::SERVER_PORT, i64::from(port)));
        }
    }
    attributes
}

/// Name, status and the attributes that only the end knows.
pub(crate) fn at_end(
    exchange: &Exchange,
    end: &End,
    noted: &Noted,
    scrubber: &Scrubber,
) -> (Cow<'static, str>, Status, Vec<KeyValue>) {
    let mut attributes = Vec::with_capacity(16);
    if let Some(rpc) = exchange.rpc_method() {
        attributes.push(KeyValue::new(key::RPC_METHOD, rpc.to_owned()));
        if let Some(original) = noted.original_method.as_deref().filter(|original| *original != rpc) {
            attributes.push(KeyValue::new(key::RPC_METHOD_ORIGINAL, bounded(scrubber.path(original))));
        }
        if let Some(status) = end.grpc_status {
            attributes.push(KeyValue::new(key::RPC_STATUS, status.as_str()));
        }
    } else {
        if let Some(route) = exchange.route() {
            attributes.push(KeyValue::new(key::HTTP_ROUTE, route.as_str().to_owned()));
        }
        if let Some(status) = end.status {
            attributes.push(KeyValue::new(key::HTTP_STATUS, i64::from(status.as_u16())));
        }
        if let Some(method) = &noted.original_method {
            attributes.push(KeyValue::new(key::HTTP_METHOD_ORIGINAL, bounded(scrubber.text(method))));
        }
        // Where nobody told who the client is, it is the peer.
        let client = match exchange.client_address() {
            Some(_) => exchange.visible_client_address(),
            None => noted.peer.and_then(|peer| visible_peer(exchange, peer)),
        };
        attributes.extend(client.map(|address| KeyValue::new(key::CLIENT_ADDRESS, address.to_string())));
    }
    if let Some(peer) = noted.peer
        && let Some(address) = visible_peer(exchange, peer)
    {
        attributes.push(KeyValue::new(key::PEER_ADDRESS, address.to_string()));
        attributes.push(KeyValue::new(key::PEER_PORT, i64::from(peer.port())));
    }
    if let Some(class) = end.error_class() {
        attributes.push(KeyValue::new(key::ERROR_TYPE, class.to_string()));
    }
    if let Some(user) = exchange.visible_user()
        && let Some(id) = user.id()
    {
        attributes.push(KeyValue::new(key::USER_ID, id.to_owned()));
    }
    for (name, value) in exchange.attributes() {
        attributes.extend(own(name.as_str(), &value, scrubber));
    }
    (span_name(exchange), status(exchange, end, scrubber), attributes)
}

/// An attribute of the application's.
fn own(name: &str, value: &AttributeValue, scrubber: &Scrubber) -> Option<KeyValue> {
    if name.is_empty() || key::OURS.iter().any(|ours| name.starts_with(ours)) {
        return None;
    }
    let value = match value {
        AttributeValue::Text(text) => bounded(scrubber.field(name, text.as_str())),
        AttributeValue::Int(number) => Value::I64(*number),
        AttributeValue::Float(number) => Value::F64(*number),
        AttributeValue::Bool(truth) => Value::Bool(*truth),
    };
    Some(KeyValue::new(Key::from(name.to_owned()), value))
}

/// `{method} {route}`; the method alone where no route is known, never the path; `HTTP` for unknown methods.
fn span_name(exchange: &Exchange) -> Cow<'static, str> {
    let name = exchange.name();
    let method = match name.method() {
        Some("_OTHER") => Some("HTTP"),
        other => other,
    };
    match (name.source(), method) {
        (NameSource::Rpc, _) if name.target() == "_OTHER" => "grpc".into(),
        (NameSource::Unmatched, Some(method)) => method.into(),
        (_, Some(method)) => format!("{method} {}", name.target()).into(),
        (_, None) => name.target().to_owned().into(),
    }
}

/// `Unset` for what went well and for what the client did wrong; an error for the rest.
fn status(exchange: &Exchange, end: &End, scrubber: &Scrubber) -> Status {
    let gone = end.outcome.is_cancelled() && !exchange.is_grpc();
    if !gone && !end.is_server_error() {
        return Status::Unset;
    }
    // A code explains itself. A failure without one says what it was.
    let description = match exchange.error() {
        Some(error) if end.outcome.is_failure() => {
            let text = error.to_string();
            cut(&scrubber.text(&text), MAX_STATUS).to_owned()
        }
        _ => String::new(),
    };
    Status::error(description)
}

/// The errors that were noticed, as the events that the convention calls `exception`.
pub(crate) fn exceptions(errors: &[Arc<NoticedError>], scrubber: &Scrubber) -> Vec<Vec<KeyValue>> {
    let event = |error: &Arc<NoticedError>| {
        let message = error.to_string();
        vec![
            KeyValue::new(key::EXCEPTION_TYPE, error.type_name()),
            KeyValue::new(key::EXCEPTION_MESSAGE, bounded(scrubber.text(&message))),
        ]
    };
    errors.iter().map(event).collect()
}

/// What may be seen of the other end of the socket: a proxy's address whole, a client's as the privacy policy says.
fn visible_peer(exchange: &Exchange, peer: SocketAddr) -> Option<VisibleAddress> {
    let ip = peer.ip().to_canonical();
    match exchange.client_address() {
        Some(client) if client.to_canonical() != ip => Some(VisibleAddress::Ip(ip)),
        Some(_) => exchange.visible_client_address(),
        None if ip.is_loopback() => Some(VisibleAddress::Ip(ip)),
        None => Some(VisibleAddress::Ip(truncate_address(ip))),
    }
}

fn scheme(scheme: &str) -> Value {
    match scheme {
        "http" => "http".into(),
        "https" => "https".into(),
        other => other.to_ascii_lowercase().into(),
    }
}

fn bounded(text: Scrubbed<Cow<'_, str>>) -> Value {
    if text.len() <= MAX_TEXT { text.into_inner().into_owned().into() } else { cut(&text, MAX_TEXT).to_owned().into() }
}
