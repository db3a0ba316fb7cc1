use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{Apart, CountedBody, ObservedBody, future::ResponseFuture, watch::Watch};
use crate::{Exchange, Observer};

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

impl<S: Clone, O> Clone for Observe<S, O> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), observer: Arc::clone(&self.observer) }
    }
}

impl<S, A, B, O> Service<Request<A>> for Observe<S, O>
where
    S: Service<Request<CountedBody<A>>, Response = Response<B>>,
    S::Error: fmt::Display + 'static,
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
        let outer = head.extensions.get::<Exchange>().filter(|exchange| !exchange.has_ended()).cloned();
        let joins = outer.is_some();
        let exchange = if let Some(exchange) = outer {
            #[cfg(feature = "axum")]
            if let Some(path) = head.extensions.get::<axum::extract::MatchedPath>() {
                exchange.report_route(path.clone());
            }
            exchange
        } else {
            let exchange = Exchange::of(&head);
            head.extensions.insert(exchange.clone());
            exchange
        };
        let mut watch = Watch::start(&self.observer, exchange.clone(), &mut head, !joins);
        // The outermost layer counts, so that a byte counts once.
        let body = CountedBody::new(body, if joins { None } else { Some(exchange) });
        let entered = watch.enter();
        let future = self.inner.call(Request::from_parts(head, body));
        entered.exit();
        ResponseFuture::new(future, watch)
    }
}
