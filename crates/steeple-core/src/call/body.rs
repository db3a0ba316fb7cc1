use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{CallObserver, watch::Watch};
use crate::message;

pin_project! {
    /// A response body whose end is the end of its call. Forwards every frame, its length and its end as they are.
    #[derive(Debug)]
    pub struct CallBody<B: Body, O: CallObserver> {
        #[pin]
        inner: B,
        watch: Watch<O>,
    }

    impl<B: Body, O: CallObserver> PinnedDrop for CallBody<B, O> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let inner = this.inner;
            this.watch.on_body_dropped(|| inner.is_end_stream());
        }
    }
}

impl<B: Body, O: CallObserver> CallBody<B, O> {
    pub(super) fn new(inner: B, watch: Watch<O>) -> Self {
        Self { inner, watch }
    }

    /// The body inside.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }
}

/// A body that nothing watches: for layers outside that answer by themselves, such as tonic's interceptors.
impl<B: Body + Default, O: CallObserver> Default for CallBody<B, O> {
    fn default() -> Self {
        Self { inner: B::default(), watch: Watch::over() }
    }
}

impl<B, O> Body for CallBody<B, O>
where
    B: Body,
    B::Error: fmt::Display + fmt::Debug + 'static,
    O: CallObserver,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let polled = message::poll_frame(this.inner, this.watch, cx);
        if let Poll::Ready(Some(Err(error))) = &polled {
            this.watch.on_error(error);
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
