//! Outgoing calls: a span for each, and the trace passed on.
//!
//! Works on any tower service that takes `http::Request`: hyper's client, tonic's `Channel`, reqwest behind
//! `map_request` (see the example `outgoing-calls`). [`steeple_core::call`] defines when a call ends and how.
//!
//! # Redirects
//! A client that follows redirects or retries by itself, below the layer, makes one call here, and sends the same headers to
//! each host that it is redirected to: [`only_to`](ClientLayer::only_to) and [`baggage_to`](ClientLayer::baggage_to) see the
//! first host alone. Turn that off (`reqwest::redirect::Policy::none()`) and follow redirects above the layer: then each hop is
//! a call, and the lists decide about each host.
//!
//! ```
//! use steeple_trace::Trace;
//! use tower::ServiceBuilder;
//! use tower_http::follow_redirect::FollowRedirectLayer;
//! # use tower::service_fn;
//!
//! # fn main() -> Result<(), steeple_trace::BuildError> {
//! let trace = Trace::builder().build()?;
//! # let client = service_fn(|_: http::Request<axum::body::Body>| async {
//! #     Ok::<_, std::convert::Infallible>(http::Response::new(axum::body::Body::empty()))
//! # });
//! // `client` follows no redirects itself.
//! let client = ServiceBuilder::new()
//!     .layer(FollowRedirectLayer::new())
//!     .layer(trace.client_layer().only_to("*.internal").baggage_to("*.internal"))
//!     .service(client);
//! # let _unused = client;
//! # Ok(())
//! # }
//! ```
//!
//! # Spans
//! | span | attributes |
//! | --- | --- |
//! | `GET`, or `GET /users/{id}` with a [`UrlTemplate`](crate::UrlTemplate) | `http.request.method`, `url.full` (scrubbed), `server.address`, `server.port`, `http.response.status_code`, `error.type` |
//! | `pkg.Service/Method` | `rpc.system.name`, `rpc.method`, `server.address`, `server.port`, `rpc.response.status_code`, `error.type` |

mod layer;
mod origin;
mod spans;

pub use self::{
    layer::ClientLayer,
    spans::{ClientSpan, ClientSpans},
};
