//! The inner layer that reports a route's template upward: [`ReportRouteLayer`].
//!
//! The layer that watches knows the route from the start when it is inside of the router (`Router::layer`). Outside of
//! it, and above a `nest_service`, it does not: there this one, placed in an inner layer, reports it. It does so before the
//! handler runs, so that a request that is rejected or panics has its name too.
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, routing::get};
//! use steeple_core::ObserveLayer;
//! use steeple_transaction::{Naming, ReportRouteLayer};
//!
//! let admin = Router::new().route("/users/{id}", get(|| async { "Ann" })).layer(ReportRouteLayer::matched_path());
//! // `GET /admin/users/7` is called `GET /admin/users/{id}`.
//! let app: Router = Router::new().nest_service("/admin", admin).layer(ObserveLayer::new(Naming::new()));
//! # }
//! ```

mod layer;
mod service;
mod template;

pub use self::{layer::ReportRouteLayer, service::ReportRoute};
