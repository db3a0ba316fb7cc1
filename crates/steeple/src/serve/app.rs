/// What [`Steeple::serve`](crate::Steeple::serve) serves: an `axum::Router`, of version 0.8, with its state given.
///
/// ```
/// use axum::{Router, routing::get};
/// use steeple::serve::App;
///
/// let app = App::from(Router::new().route("/", get(|| async { "hello" })));
/// # let _unused = app;
/// ```
#[derive(Clone, Debug)]
pub struct App(pub(super) axum::Router);
