use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::watch::Watch;
use crate::{Observer, Outcome, message};

pin_project! {
    /// A response body that is watched to its end. Forwards every frame, its length and its end as they are.
    #[derive(Debug)]
    pub struct ObservedBody<B: Body, O: Observer> {
        #[pin]
        inner: B,
        watch: Option<Watch<O>>,
    }

    impl<B: Body, O: Observer> PinnedDrop for ObservedBody<B, O> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(watch) = this.watch.as_mut().filter(|watch| watch.is_live()) {
                // The inner body is the user's code; as a destructor this must not unwind twice.
                let inner = this.inner;
                let is_end_stream = crate::observer::quietly(|| inner.is_end_stream()).unwrap_or(false);
                watch.on_body_dropped(is_end_stream);
            }
        }
    }
}

impl<B: Body, O: Observer> ObservedBody<B, O> {
    pub(super) fn new(inner: B, watch: Option<Watch<O>>) -> Self {
        Self { inner, watch }
    }

    /// The body inside.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }
}

/// A body that nothing watches: for layers outside that answer by themselves (a timeout, a CORS preflight).
impl<B: Body + Default, O: Observer> Default for ObservedBody<B, O> {
    fn default() -> Self {
        Self { inner: B::default(), watch: None }
    }
}

impl<B, O> Body for ObservedBody<B, O>
where
    B: Body,
    B::Error: fmt::Display + 'static,
    O: Observer,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        // What a body does after its last byte belongs to no exchange.
        let Some(watch) = this.watch.as_mut().filter(|watch| watch.is_live()) else { return this.inner.poll_frame(cx) };
        let polled = message::poll_frame(this.inner, watch, cx);
        if let Poll::Ready(Some(Err(error))) = &polled {
            watch.on_error(error, Outcome::BodyError);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
