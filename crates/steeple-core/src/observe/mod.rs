//! The middleware that watches: [`ObserveLayer`] and what it makes.
//!
//! One pass for any number of observers: one clock, one future, one body wrapper.
//!
//! # Where it goes in the stack
//!
//! Outermost, so that nothing is missed. In Axum, `Router::layer` is after routing, which is where a route's name is
//! known from the start. Around the whole router it works too: inner layers report the route upward.
//!
//! # Endings
//!
//! | what happens | outcome |
//! | --- | --- |
//! | the body's last frame was handed over, or the message has no body (HEAD, 204, 304, empty) | `completed` |
//! | the declared length was handed over and the server dropped the body | `completed` |
//! | 101, or a CONNECT that was accepted | `upgraded` |
//! | the service returned an error | `service_error` |
//! | the body returned an error | `body_error` |
//! | the service or the body panicked; the panic goes on as it would without us | `panicked` |
//! | dropped before the response head | `cancelled` |
//! | dropped in the body | `cancelled_in_body` |

mod body;
mod count;
pub mod future;
mod job;
mod layer;
mod service;
mod watch;

pub use self::{
    body::ObservedBody,
    count::{CountRequestBody, CountRequestBodyLayer, CountedBody, count_request_body},
    job::{Job, JobFuture, JobKind, JobOutput, MessagingSystem, Operation},
    layer::ObserveLayer,
    service::Observe,
};

/// An observer in separate cache lines: every exchange counts a reference to it, on whichever thread, and every reader of
/// the observer would wait for those counts. Two lines, as processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Apart<O>(pub(crate) O);
