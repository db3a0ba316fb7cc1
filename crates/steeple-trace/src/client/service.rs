use std::{
    any, fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{ClientLayer, TracedBody, call::Call};
use crate::Trace;

/// A client whose calls are traced. Made by [`ClientLayer`].
#[derive(Clone, Debug)]
pub struct Client<S> {
    inner: S,
    layer: ClientLayer,
}

impl<S> Client<S> {
    pub(super) fn new(inner: S, layer: ClientLayer) -> Self {
        Self { inner, layer }
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, A, B> Service<Request<A>> for Client<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Error: fmt::Display,
    B: Body,
    B::Error: fmt::Display,
{
    type Response = Response<TracedBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let call = Call::start(&self.layer, &mut head);
        let request = Request::from_parts(head, body);
        let inner = {
            let _current = call.context().map(|context| context.clone().attach());
            self.inner.call(request)
        };
        ResponseFuture { inner, call: Some(call), trace: self.layer.trace.clone() }
    }
}

pin_project! {
    /// The response of a traced call. Dropping it ends the call's span.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
        trace: Trace,
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: fmt::Display,
{
    type Output = Result<Response<TracedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = {
            let _current = this.call.as_ref().and_then(Call::context).map(|context| context.clone().attach());
            ready!(this.inner.poll(cx))
        };
        let call = this.call.take();
        Poll::Ready(match result {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let mut call = call;
                if let Some(call) = &mut call {
                    call.on_response(&head);
                }
                Ok(Response::from_parts(head, TracedBody::new(body, call, this.trace.clone())))
            }
            Err(error) => {
                if let Some(mut call) = call {
                    call.fail(any::type_name::<E>(), &error, this.trace);
                }
                Err(error)
            }
        })
    }
}
