#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod apdex;
#[cfg(feature = "axum")]
mod axum;
pub mod call;
pub mod clock;
#[cfg(feature = "connection")]
pub mod connection;
pub mod date;
mod exchange;
pub mod forwarded;
mod grpc;
pub mod headers;
pub mod hex;
mod message;
mod name;
pub mod observe;
mod observer;
mod observers;
mod outcome;
mod panic_hook;
mod peer;
mod request_id;
mod route;
mod route_options;
mod route_settings;
mod service;
#[cfg(feature = "test-util")]
pub mod test_util;
pub mod text;
mod trace_context;
mod user;

pub use self::{
    apdex::ApdexZone,
    exchange::{
        ACCESS_TARGET, AttributeValue, Capture, Carrier, Carry, EnteredCarrier, Exchange, MAX_ATTRIBUTES,
        RecordedError, Scoped, Signal, Snapshot, TRANSACTION_CATEGORY, carry_with,
    },
    grpc::GrpcStatus,
    hex::Hex,
    name::{NameSource, Text, TransactionName, known_method, known_methods, set_known_methods},
    observe::{
        CountRequestBody, CountRequestBodyLayer, CountedBody, Job, JobFuture, JobKind, JobOutput, MessagingSystem,
        Observe, ObserveLayer, ObservedBody, Operation, count_request_body,
    },
    observer::{Identity, Observer, observer_panics},
    observers::__observers,
    outcome::{End, ErrorClass, Outcome},
    panic_hook::{PanicReport, forward_panics, record_panics, report_panics},
    peer::Peer,
    request_id::{RequestId, RequestIds, X_REQUEST_ID},
    route::{MAX_ROUTES, RouteId, Routes},
    route_options::{RouteError, RouteLayer, RouteOptions, RoutePolicy, RouteService},
    route_settings::RouteSettings,
    trace_context::{SpanId, TraceContext, TraceId},
    user::{Privacy, User, VisibleAddress, truncate_address},
};
