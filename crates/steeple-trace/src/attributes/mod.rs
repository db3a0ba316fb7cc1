//! The attributes of a span at its start and its end, by OpenTelemetry's semantic conventions 1.44.0.

mod list;
mod request;
mod target;
mod unscrubbed;

pub(crate) use self::{
    list::Attributes,
    request::{Capture, Noted, at_end, at_start, exceptions, headers, of_work},
    target::Target,
    unscrubbed::{Unscrubbed, settle},
};

/// With a lower limit on a span's attributes, those of its head are not put off: they could be left out as if they were one.
pub(crate) const MIN_LATER: u32 = 8;

/// Longest path, query, user agent or URL that a span carries, in bytes.
pub(crate) const MAX_TEXT: usize = 2048;

/// The names. Spelled once, held against the convention's own list in `tests/it/semconv.rs`.
pub(crate) mod key {
    pub(crate) const CLIENT_ADDRESS: &str = "client.address";
    pub(crate) const DB_QUERY_SUMMARY: &str = "db.query.summary";
    pub(crate) const ERROR_TYPE: &str = "error.type";
    pub(crate) const EXCEPTION_MESSAGE: &str = "exception.message";
    pub(crate) const EXCEPTION_TYPE: &str = "exception.type";
    pub(crate) const HTTP_METHOD: &str = "http.request.method";
    pub(crate) const HTTP_METHOD_ORIGINAL: &str = "http.request.method_original";
    pub(crate) const HTTP_ROUTE: &str = "http.route";
    pub(crate) const HTTP_STATUS: &str = "http.response.status_code";
    pub(crate) const MESSAGING_DESTINATION: &str = "messaging.destination.name";
    pub(crate) const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
    pub(crate) const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
    pub(crate) const MESSAGING_SYSTEM: &str = "messaging.system";
    pub(crate) const PEER_ADDRESS: &str = "network.peer.address";
    pub(crate) const PEER_PORT: &str = "network.peer.port";
    pub(crate) const PROTOCOL_VERSION: &str = "network.protocol.version";
    pub(crate) const RPC_METHOD: &str = "rpc.method";
    pub(crate) const RPC_METHOD_ORIGINAL: &str = "rpc.method_original";
    pub(crate) const RPC_STATUS: &str = "rpc.response.status_code";
    pub(crate) const RPC_SYSTEM: &str = "rpc.system.name";
    pub(crate) const SERVER_ADDRESS: &str = "server.address";
    pub(crate) const SERVER_PORT: &str = "server.port";
    pub(crate) const URL_FULL: &str = "url.full";
    pub(crate) const URL_PATH: &str = "url.path";
    pub(crate) const URL_QUERY: &str = "url.query";
    pub(crate) const URL_SCHEME: &str = "url.scheme";
    pub(crate) const URL_TEMPLATE: &str = "url.template";
    pub(crate) const USER_AGENT: &str = "user_agent.original";
    pub(crate) const USER_ID: &str = "user.id";

    /// Prefixes that are ours: an application's own attribute under one of them would be there twice.
    pub(crate) const OURS: &[&str] = &[
        "client.",
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "network.",
        "rpc.",
        "server.",
        "url.",
        "user_agent.original",
        "user.id",
        "steeple.",
    ];
}
