//! What a service does, asserted in its own tests: [`Recorder`].
//!
//! A recorder is a whole Steeple whose outputs are memory. Each test has its own, so tests run in parallel; nothing of it is
//! global, and nothing leaves the process. It needs no feature, and is covered by semantic versioning as the rest of this crate is.
//!
//! ```
//! use axum::{Router, body::Body, extract::Path, http::Request, routing::get};
//! use steeple::{Exchange, Steeple, User, testing::Recorder};
//! use tower::ServiceExt;
//!
//! /// The service, as `main` builds it.
//! fn app(steeple: &Steeple) -> Router {
//!     let order = async |exchange: Exchange, Path(id): Path<u32>| {
//!         exchange.set_user(User::new("u-7"));
//!         tracing::info!(id, "order was read");
//!         format!("order {id}")
//!     };
//!     Router::new().route("/orders/{id}", get(order)).layer(steeple.layer())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // In a `#[tokio::test]`:
//! let recorder = Recorder::new();
//! let response = app(recorder.steeple()).oneshot(Request::get("/orders/17").body(Body::empty()).unwrap()).await.unwrap();
//! axum::body::to_bytes(response.into_body(), 1024).await.unwrap(); // the exchange ends with its last byte
//!
//! let line = recorder.line("GET /orders/{id}");
//! assert_eq!((line.text("user.id"), line.number("http.response.status_code")), (Some("u-7"), Some(200.0)));
//! assert!(recorder.lines().iter().any(|line| line.message() == "order was read"));
//! assert_eq!(recorder.metric("http_requests_total", &[("route", "/orders/{id}")]), Some(1.0));
//! assert!(recorder.errors().is_empty());
//! # }
//! ```

pub(crate) mod capture;
mod line;
mod page;
mod recorder;

pub(crate) use self::capture::{Capture, Recording};
pub use self::{capture::Failure, line::Line, recorder::Recorder};
#[cfg(feature = "events")]
pub use crate::integrations::events::RecordedEvent;
#[cfg(feature = "trace")]
pub use crate::integrations::trace::Span;
