use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, request};
use steeple_core::{End, Exchange, NameSource, RecordedError, Text, VisibleAddress, truncate_address};
use steeple_scrub::{HeaderVerdict, HideReason, Scrubbed, Scrubber};

use super::{Attributes, Target, Unscrubbed, key};
use crate::ending::Ending;

/// Longest description of a status, in bytes.
const MAX_STATUS: usize = 256;

/// Which headers a span carries. None by default: someone has to name them, and the scrubber may still refuse.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capture {
    pub(crate) request: Vec<HeaderName>,
    pub(crate) response: Vec<HeaderName>,
}

/// The facts about the request from its start that are needed at its end.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) original_method: Option<Box<str>>,
    pub(crate) peer: Option<SocketAddr>,
}

/// How a header is called on a span.
pub(crate) fn headers(
    attributes: &mut Attributes,
    (grpc, response): (bool, bool),
    names: &[HeaderName],
    map: &HeaderMap,
    scrubber: &Scrubber,
) {
    let prefix = match (grpc, response) {
        (false, false) => "http.request.header.",
        (false, true) => "http.response.header.",
        (true, false) => "rpc.request.metadata.",
        (true, true) => "rpc.response.metadata.",
    };
    for name in names.iter().filter(|name| map.contains_key(*name)) {
        let values = map.get_all(name).iter().filter_map(|value| shown(name, value, scrubber));
        attributes.texts(format!("{prefix}{name}"), values);
    }
}

/// A header that was named for spans counts as allowed. Denied and sensitive headers stay hidden.
fn shown<'v>(name: &HeaderName, value: &'v HeaderValue, scrubber: &Scrubber) -> Option<Scrubbed<Cow<'v, str>>> {
    match scrubber.header(name, value) {
        HeaderVerdict::Shown(value) => Some(value),
        HeaderVerdict::Hidden(HideReason::NotAllowed) => Some(scrubber.field(name.as_str(), value.to_str().ok()?)),
        HeaderVerdict::Hidden(_) => None,
    }
}

/// Everything known from the request head. `later`: the span goes to a queue of ours, behind which its texts are
/// [scrubbed](super::settle).
pub(crate) fn at_start(
    exchange: &Exchange,
    request: &request::Parts,
    target: Target<'_>,
    scrubber: &Scrubber,
    later: bool,
) -> Attributes {
    // Those of the end come behind them.
    let mut attributes = Attributes::with_capacity(16);
    let mut head = Unscrubbed { authority: target.authority, ..Unscrubbed::default() };
    if exchange.is_grpc() {
        // The method waits for the end: only then it is known whether the service has it.
        attributes.word(key::RPC_SYSTEM, "grpc");
    } else {
        attributes.word(key::HTTP_METHOD, exchange.method());
        match target.scheme {
            "http" => attributes.word(key::URL_SCHEME, "http"),
            "https" => attributes.word(key::URL_SCHEME, "https"),
            other => attributes.text(key::URL_SCHEME, scrubber.text(&other.to_ascii_lowercase())),
        }
        attributes.word(key::PROTOCOL_VERSION, exchange.version_str());
        head.path = Some(request.uri.path());
        head.query = request.uri.query();
        head.agent = request.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    }
    if !(later && head.put_off(&mut attributes)) {
        head.put(scrubber, &mut attributes);
    }
    attributes
}

/// Name, status and the attributes that only the end knows.
pub(crate) fn at_end(exchange: &Exchange, end: &End, noted: &Noted, scrubber: &Scrubber) -> Ending {
    let mut attributes = Attributes::with_capacity(8);
    if let Some(rpc) = exchange.rpc_method() {
        attributes.text(key::RPC_METHOD, scrubber.repeated_text(rpc));
        if let Some(original) = noted.original_method.as_deref().filter(|original| *original != rpc) {
            attributes.text(key::RPC_METHOD_ORIGINAL, scrubber.path(original));
        }
        if let Some(status) = end.grpc_status {
            attributes.word(key::RPC_STATUS, status.as_str());
        }
    } else {
        if let Some(route) = exchange.route() {
            attributes.text(key::HTTP_ROUTE, named(scrubber, route));
        }
        if let Some(status) = end.status {
            attributes.number(key::HTTP_STATUS, status.as_u16());
        }
        if let Some(method) = &noted.original_method {
            attributes.text(key::HTTP_METHOD_ORIGINAL, scrubber.text(method));
        }
        // Where nothing has set the client, it is the peer.
        let client = match exchange.client_address() {
            Some(_) => exchange.visible_client_address(),
            None => noted.peer.and_then(|peer| visible_peer(exchange, peer)),
        };
        if let Some(address) = client {
            attributes.address(key::CLIENT_ADDRESS, &address);
        }
    }
    if let Some(peer) = noted.peer
        && let Some(address) = visible_peer(exchange, peer)
    {
        attributes.address(key::PEER_ADDRESS, &address);
        attributes.number(key::PEER_PORT, peer.port());
    }
    if let Some(class) = end.error_class() {
        attributes.class(key::ERROR_TYPE, class);
    }
    with_whose(&mut attributes, exchange, scrubber);
    Ending::new(span_name(exchange, scrubber), failure(exchange, end, scrubber), attributes)
}

/// The same of work that is not a request. Where an error was recorded, its type is the class.
pub(crate) fn of_work(exchange: &Exchange, end: &End, scrubber: &Scrubber) -> Ending {
    let mut attributes = Attributes::default();
    match (exchange.error(), end.error_class()) {
        (Some(error), Some(_)) if !end.outcome.is_cancelled() => attributes.word(key::ERROR_TYPE, error.type_name()),
        (_, Some(class)) => attributes.class(key::ERROR_TYPE, class),
        (_, None) => (),
    }
    with_whose(&mut attributes, exchange, scrubber);
    Ending::new(span_name(exchange, scrubber), failure(exchange, end, scrubber), attributes)
}

/// The user and what the application sets.
fn with_whose(attributes: &mut Attributes, exchange: &Exchange, scrubber: &Scrubber) {
    if let Some(user) = exchange.visible_user()
        && let Some(id) = user.id()
    {
        attributes.text(key::USER_ID, scrubber.text(id));
    }
    for (name, value) in exchange.attributes() {
        let name = name.as_str();
        if !name.is_empty() && !key::OURS.iter().any(|ours| name.starts_with(ours)) {
            attributes.own(scrubber, name, &value);
        }
    }
}

/// A name. One that was there before any request is as the application wrote it.
fn named<'t>(scrubber: &Scrubber, name: &'t Text) -> Scrubbed<Cow<'t, str>> {
    if name.is_fixed() { Scrubbed::from_application(name.as_str()).into() } else { scrubber.text(name.as_str()) }
}

/// `{method} {route}`; the method alone where no route is known, never the path; `HTTP` for unknown methods.
fn span_name(exchange: &Exchange, scrubber: &Scrubber) -> Scrubbed<Cow<'static, str>> {
    let name = exchange.name();
    let method = match name.method() {
        Some("_OTHER") => Some("HTTP"),
        other => other,
    };
    let text = match (name.source(), method) {
        (NameSource::Rpc, _) if name.target() == "_OTHER" => return Scrubbed::from_static("grpc").into(),
        (NameSource::Unmatched, Some(method)) => return Scrubbed::from_static(method).into(),
        (_, Some(method)) => {
            let target = name.target();
            let mut text = String::with_capacity(method.len().saturating_add(target.len()).saturating_add(1));
            text.push_str(method);
            text.push(' ');
            text.push_str(target);
            text
        }
        (_, None) => name.target().to_owned(),
    };
    let text = if name.target_text().is_fixed() {
        Scrubbed::from_application(text)
    } else {
        scrubber.text(&text).into_owned()
    };
    text.into()
}

/// The status message of an exchange that failed: empty where a code explains it. `None` for successes and for what the
/// client did wrong.
fn failure(exchange: &Exchange, end: &End, scrubber: &Scrubber) -> Option<Scrubbed<Cow<'static, str>>> {
    let gone = end.outcome.is_cancelled() && !exchange.is_grpc();
    if !gone && !end.is_server_error() {
        return None;
    }
    Some(match exchange.error() {
        // Of a gRPC call that failed, the status's message is among them.
        Some(error) if end.outcome.is_failure() || end.grpc_status.is_some() => {
            scrubber.text(&error.to_string()).cut(MAX_STATUS, "").into_owned().into()
        }
        _ => Scrubbed::from_static("").into(),
    })
}

/// The errors that were recorded, as the events that the convention calls `exception`.
pub(crate) fn exceptions(exchange: &Exchange, scrubber: &Scrubber) -> Vec<Attributes> {
    if exchange.error().is_none() {
        return Vec::new();
    }
    let event = |error: &Arc<RecordedError>| {
        let mut attributes = Attributes::with_capacity(2);
        attributes.word(key::EXCEPTION_TYPE, error.type_name());
        attributes.text(key::EXCEPTION_MESSAGE, scrubber.text(&error.to_string()));
        attributes
    };
    exchange.errors().iter().map(event).collect()
}

/// What may be seen of the other end of the socket: a proxy's address whole, a client's by the privacy policy.
fn visible_peer(exchange: &Exchange, peer: SocketAddr) -> Option<VisibleAddress> {
    let ip = peer.ip().to_canonical();
    match exchange.client_address() {
        Some(client) if client.to_canonical() != ip => Some(VisibleAddress::Ip(ip)),
        Some(_) => exchange.visible_client_address(),
        None if ip.is_loopback() => Some(VisibleAddress::Ip(ip)),
        None => Some(VisibleAddress::Ip(truncate_address(ip))),
    }
}
