use std::task::{Context, Poll};

use http::{Extensions, Request};
use steeple_core::{Exchange, Text};
use tower_service::Service;

use super::layer::Template;

/// A service whose route is reported upward. See the [module docs](crate::report).
#[derive(Clone, Debug)]
pub struct ReportRoute<S> {
    inner: S,
    template: Template,
}

impl<S> ReportRoute<S> {
    pub(super) fn new(inner: S, template: Template) -> Self {
        Self { inner, template }
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for ReportRoute<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        if let Some(template) = self.template.of(request.extensions()) {
            match request.extensions().get::<Exchange>() {
                Some(exchange) => exchange.report_route(template),
                // Something on the way made a new request of it.
                None => {
                    if let Some(exchange) = Exchange::current() {
                        exchange.report_route(template);
                    }
                }
            }
        }
        self.inner.call(request)
    }
}

impl Template {
    #[cfg_attr(
        not(feature = "axum"),
        expect(unused_variables, clippy::unnecessary_wraps, reason = "Axum may have matched nothing")
    )]
    fn of(&self, extensions: &Extensions) -> Option<Text> {
        match self {
            Self::Fixed(template) => Some(template.clone()),
            #[cfg(feature = "axum")]
            Self::Matched => {
                let path = extensions.get::<axum::extract::MatchedPath>()?;
                Some(match behind_catch_all(path.as_str()) {
                    Some(inner) => Text::configured(inner),
                    None => path.clone().into(),
                })
            }
        }
    }
}

/// What follows a catch-all. It is always the last segment of a route; if it is not, then a router is behind
/// `route_service`, which leaves the path whole, and Axum has joined two templates that overlap:
/// `/a/{*rest}/a/users/{id}`.
#[cfg(feature = "axum")]
fn behind_catch_all(path: &str) -> Option<&str> {
    let (_, rest) = path.rsplit_once("/{*")?;
    rest.find('/').and_then(|slash| rest.get(slash..))
}
