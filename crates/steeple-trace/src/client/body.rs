use std::{
    any, fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::call::Call;
use crate::Trace;

pin_project! {
    /// A response body whose end is the end of its call. Forwards every frame, its length and its end as they are.
    #[derive(Debug)]
    pub struct TracedBody<B> {
        #[pin]
        inner: B,
        call: Option<Call>,
        trace: Trace,
    }
}

impl<B: Body> TracedBody<B> {
    pub(super) fn new(inner: B, mut call: Option<Call>, trace: Trace) -> Self {
        if inner.is_end_stream()
            && let Some(mut call) = call.take()
        {
            call.complete();
        }
        Self { inner, call, trace }
    }
}

impl<B> TracedBody<B> {
    /// The body inside.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }
}

impl<B> Body for TracedBody<B>
where
    B: Body,
    B::Error: fmt::Display,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = {
            let _current = this.call.as_ref().and_then(Call::context).map(|context| context.clone().attach());
            ready!(this.inner.as_mut().poll_frame(cx))
        };
        if let Some(call) = this.call {
            match &frame {
                None => call.complete(),
                Some(Err(error)) => call.fail(any::type_name::<B::Error>(), error, this.trace),
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        call.on_trailers(trailers);
                    }
                    // The client need not poll again after trailers or once the length is used up.
                    if frame.is_trailers() || this.inner.is_end_stream() {
                        call.complete();
                    }
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
