//! Outgoing calls: one call, many observers.
//!
//! A **call** is one request that this process makes and the response to it, from the moment the client is called until
//! the last byte of the response body is read, or until the call fails or its caller drops it. It is what an
//! exchange is to a server, seen from the other side, and it ends as an exchange ends: exactly once, with an
//! [`Outcome`](crate::Outcome).
//!
//! [`CallLayer`] goes around any tower service that takes `http::Request`: hyper's client, tonic's `Channel`, reqwest
//! behind `map_request`. Retries and redirects inside of that service are one call here.
//!
//! # Endings
//!
//! | what happens | outcome |
//! | --- | --- |
//! | the body's last frame was read, or the message has no body (HEAD, 204, 304, empty) | `completed` |
//! | the declared length was read and the body was dropped | `completed` |
//! | 101, or a CONNECT that was accepted | `upgraded` |
//! | the client returned an error | `service_error` |
//! | the response body returned an error | `body_error` |
//! | the client or the body panicked; the panic goes on as it would without us | `panicked` |
//! | dropped before the response head: a timeout, a caller who went away | `cancelled` |
//! | dropped in the body | `cancelled_in_body` |
//!
//! # Examples
//! ```
//! use steeple_core::call::{Call, CallEnd, CallLayer, CallObserver};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! struct Print;
//!
//! impl CallObserver for Print {
//!     type State = ();
//!
//!     fn on_request(&self, _: &mut Call, _: &mut http::request::Parts) -> Option<()> {
//!         Some(())
//!     }
//!
//!     fn on_end(&self, _: (), call: &Call, end: &CallEnd<'_>) {
//!         println!("{} {:?}: {} in {:?}", call.method(), call.server_address(), end.outcome, end.duration);
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! // In place of `service_fn`: hyper's client or tonic's channel.
//! let client = CallLayer::new(Print).layer(service_fn(|_: http::Request<String>| async {
//!     Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello")))
//! }));
//! client.oneshot(http::Request::get("http://api.example/users/7").body(String::new())?).await?;
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! ```

mod body;
mod failure;
pub mod future;
mod info;
mod layer;
mod observer;
mod service;
mod watch;

pub use self::{
    body::CallBody,
    failure::{CallError, class_of},
    info::{Call, CallEnd, UrlTemplate},
    layer::CallLayer,
    observer::CallObserver,
    service::Caller,
};
