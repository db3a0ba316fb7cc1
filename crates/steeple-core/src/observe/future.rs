//! The future of [`Observe`](super::Observe).

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{ObservedBody, watch::Watch};
use crate::{Observer, Outcome, message::Watching};

pin_project! {
    /// The response of a watched service. Dropping it ends the exchange as cancelled.
    #[derive(Debug)]
    pub struct ResponseFuture<F, O: Observer> {
        #[pin]
        inner: F,
        watch: Option<Watch<O>>,
    }
}

impl<F, O: Observer> ResponseFuture<F, O> {
    pub(super) fn new(inner: F, watch: Watch<O>) -> Self {
        Self { inner, watch: Some(watch) }
    }
}

impl<F, B, E, O> Future for ResponseFuture<F, O>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    B::Error: fmt::Display + 'static,
    E: fmt::Display + 'static,
    O: Observer,
{
    type Output = Result<Response<ObservedBody<B, O>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        // A body without frames is over before its first poll, and servers do not poll it. It is asked in here because
        // the answer is the user's code, which may panic.
        let (mut is_end_stream, mut size) = (false, None);
        let poll = || {
            let polled = inner.poll(cx);
            if let Poll::Ready(Ok(response)) = &polled {
                (is_end_stream, size) = (response.body().is_end_stream(), response.body().size_hint().exact());
            }
            polled
        };
        let result = match this.watch {
            Some(watch) => ready!(watch.during_poll(poll)),
            // Polled after it was ready: the inner future decides what that means.
            None => ready!(poll()),
        };
        let watch = this.watch.take();
        Poll::Ready(match result {
            Ok(response) => {
                let (mut head, body) = response.into_parts();
                let mut watch = watch;
                if let Some(watch) = &mut watch {
                    watch.on_response(&mut head, size, is_end_stream);
                }
                Ok(Response::from_parts(head, ObservedBody::new(body, watch)))
            }
            Err(error) => {
                if let Some(mut watch) = watch {
                    watch.on_error(&error, Outcome::ServiceError);
                }
                Err(error)
            }
        })
    }
}
