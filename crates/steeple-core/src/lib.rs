#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod call;
pub mod clock;
#[cfg(feature = "connection")]
pub mod connection;
pub mod date;
mod exchange;
#[cfg(feature = "axum")]
mod extract;
mod message;
mod name;
pub mod observe;
mod observer;
mod observers;
mod outcome;
mod panic_hook;
mod request_id;
#[cfg(feature = "test-util")]
pub mod test_util;
pub mod text;
mod trace_context;
mod user;

pub use self::{
    exchange::{ACCESS_TARGET, AttributeValue, Exchange, MAX_ATTRIBUTES, RecordedError, Scoped, Signal, Snapshot},
    name::{NameSource, Text, TransactionName, known_method, known_methods, set_known_methods},
    observe::{
        CountRequestBody, CountRequestBodyLayer, CountedBody, Observe, ObserveLayer, ObservedBody, count_request_body,
    },
    observer::{Identity, Observer, observer_panics},
    observers::__observers,
    outcome::{End, ErrorClass, GrpcStatus, Outcome},
    panic_hook::notice_panics,
    request_id::{RequestId, RequestIds, X_REQUEST_ID},
    trace_context::{Hex, SpanId, TraceContext, TraceId},
    user::{Privacy, User, VisibleAddress, truncate_address},
};
