//! The inner layer that sets the user, once authentication has found it: [`IdentifyLayer`].
//!
//! The layer that observes is outermost, where nothing has been authenticated yet. This one goes **inside** of the
//! authentication, where a request carries who sent it:
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::{Router, extract::Request, middleware::{self, Next}, response::Response, routing::get};
//! use steeple_core::ObserveLayer;
//! use steeple_user::{IdentifyLayer, User, Users};
//!
//! #[derive(Clone)]
//! struct Claims { subject: String }
//!
//! async fn authenticate(mut request: Request, next: Next) -> Response {
//!     request.extensions_mut().insert(Claims { subject: "u-42".to_owned() });
//!     next.run(request).await
//! }
//!
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     // Axum runs layers from the bottom up: watch, authenticate, identify, handle.
//!     .layer(IdentifyLayer::extension(|claims: &Claims| User::new(claims.subject.as_str())))
//!     .layer(middleware::from_fn(authenticate))
//!     .layer(ObserveLayer::new(Users::new()));
//! # }
//! ```

mod layer;
mod service;

pub use self::{layer::IdentifyLayer, service::Identify};
