//! Outgoing calls: a span for each, and the trace passed on.
//!
//! Works on any tower service that takes `http::Request`: hyper's client, tonic's `Channel`, reqwest behind
//! `map_request` (see the example `outgoing-calls`). Redirects and retries inside of the client are one call here.
//! [`steeple_core::call`] says when a call ends and how.
//!
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
