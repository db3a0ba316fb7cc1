use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{Apart, ObservedBody, future::ResponseFuture, watch::Watch};
use crate::{
    Exchange, Observer,
    message::{self, Watching},
};

/// A service whose exchanges are watched. See the [module docs](crate::observe).
#[derive(Debug)]
pub struct Observe<S, O> {
    inner: S,
    observer: Arc<Apart<O>>,
}

impl<S, O> Observe<S, O> {
    pub(super) fn new(inner: S, observer: Arc<Apart<O>>) -> Self {
        Self { inner, observer }
    }

    crate::__inner_service!();
}

impl<S: Clone, O> Clone for Observe<S, O> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), observer: Arc::clone(&self.observer) }
    }
}

impl<S, A, B, O> Service<Request<A>> for Observe<S, O>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: fmt::Display + 'static,
    A: Body,
    B: Body,
    B::Error: fmt::Display + 'static,
    O: Observer,
{
    type Response = Response<ObservedBody<B, O>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, O>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // Back-pressure and the error type are the inner service's.
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let (exchange, is_new) = Exchange::of_request(&mut head);
        let is_owner = if is_new {
            exchange.set_claimed();
            true
        } else {
            exchange.claim()
        };
        if is_owner {
            exchange.declare_request_body(message::declared_length(body.size_hint().exact(), &head.headers));
        }
        let mut watch = Watch::start(&self.observer, exchange, &mut head, is_owner);
        let entered = watch.enter();
        let future = self.inner.call(Request::from_parts(head, body));
        Watch::leave(entered);
        ResponseFuture::new(future, watch)
    }
}
