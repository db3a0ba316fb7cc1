//! The future of [`Caller`](super::Caller).

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{CallBody, CallObserver, watch::Watch};
use crate::message::Watching;

pin_project! {
    /// The response of a watched client. Dropping it ends the call as cancelled.
    #[derive(Debug)]
    pub struct ResponseFuture<F, O: CallObserver> {
        #[pin]
        inner: F,
        watch: Watch<O>,
    }
}

impl<F, O: CallObserver> ResponseFuture<F, O> {
    pub(super) fn new(inner: F, watch: Watch<O>) -> Self {
        Self { inner, watch }
    }
}

impl<F, B, E, O> Future for ResponseFuture<F, O>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    B::Error: fmt::Display + fmt::Debug + 'static,
    E: fmt::Display + fmt::Debug + 'static,
    O: CallObserver,
{
    type Output = Result<Response<CallBody<B, O>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        // The body is asked in here because the answer is someone else's code, which may panic.
        let result = ready!(this.watch.during_poll(|| {
            inner.poll(cx).map_ok(|response| {
                let (is_end_stream, size) = (response.body().is_end_stream(), response.body().size_hint().exact());
                (response, is_end_stream, size)
            })
        }));
        let mut watch = this.watch.take();
        Poll::Ready(match result {
            Ok((response, is_end_stream, size)) => {
                let (head, body) = response.into_parts();
                watch.on_response(&head, size, is_end_stream);
                Ok(Response::from_parts(head, CallBody::new(body, watch)))
            }
            Err(error) => {
                watch.on_error(&error);
                Err(error)
            }
        })
    }
}
