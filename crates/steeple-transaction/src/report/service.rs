use std::task::{Context, Poll};

use http::Request;
use steeple_core::Exchange;
use tower_service::Service;

use super::template::Template;

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

    steeple_core::__inner_service!();
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
