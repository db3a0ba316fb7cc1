use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{Call, CallBody, CallObserver, future::ResponseFuture, info::Server, watch::Watch};
use crate::message::Watching;

/// A client whose calls are watched. See the [module docs](crate::call).
#[derive(Debug)]
pub struct Caller<S, O> {
    inner: S,
    observer: Arc<O>,
    server: Option<Arc<Server>>,
}

impl<S, O> Caller<S, O> {
    pub(super) fn new(inner: S, observer: Arc<O>, server: Option<Arc<Server>>) -> Self {
        Self { inner, observer, server }
    }

    crate::__inner_service!();
}

impl<S: Clone, O> Clone for Caller<S, O> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), observer: Arc::clone(&self.observer), server: self.server.clone() }
    }
}

impl<S, A, B, O> Service<Request<A>> for Caller<S, O>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: fmt::Display + fmt::Debug + 'static,
    A: Body,
    B: Body,
    B::Error: fmt::Display + fmt::Debug + 'static,
    O: CallObserver,
{
    type Response = Response<CallBody<B, O>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let call = Call::of(&head, self.server.as_deref(), body.size_hint().exact());
        let mut watch = Watch::start(&self.observer, call, &mut head);
        let inner = &mut self.inner;
        let future = watch.during_poll(move || inner.call(Request::from_parts(head, body)));
        ResponseFuture::new(future, watch)
    }
}
