use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};

use http::{Request, request};
use steeple_core::{Exchange, User};
use tower_service::Service;

/// A service whose users are set on the exchange. See the [module docs](crate::identify).
#[derive(Clone, Debug)]
pub struct Identify<S, F> {
    inner: S,
    identify: F,
}

impl<S, F> Identify<S, F> {
    pub(super) fn new(inner: S, identify: F) -> Self {
        Self { inner, identify }
    }

    steeple_core::__inner_service!();
}

impl<S, B, F> Service<Request<B>> for Identify<S, F>
where
    S: Service<Request<B>>,
    F: Fn(&request::Parts) -> Option<User>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let (head, body) = request.into_parts();
        // Something on the way may have made a new request of it: then the exchange is the current one.
        if let Some(exchange) = head.extensions.get::<Exchange>().cloned().or_else(Exchange::current)
            // A panic costs the exchange its user, not the request its answer.
            && let Ok(Some(user)) = catch_unwind(AssertUnwindSafe(|| (self.identify)(&head)))
        {
            exchange.set_user(user);
        }
        self.inner.call(Request::from_parts(head, body))
    }
}
