use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Exchange, grpc::Frames};

/// Counts the bytes of a request's body as the service reads them.
///
/// Without this, the size of a request is the length that it declares (`content-length`), and unknown for a body of
/// unknown length. Counting replaces the type of the body with [`CountedBody`], which is why [`ObserveLayer`] does not do
/// it. Goes outside of [`ObserveLayer`] or inside of it; the bytes count once, however many of these there are.
///
/// [`ObserveLayer`]: crate::ObserveLayer
///
/// # Examples
/// ```
/// use steeple_core::{CountRequestBodyLayer, CountedBody, ObserveLayer, RequestIds};
/// use tower::ServiceBuilder;
///
/// let service = ServiceBuilder::new()
///     .layer(CountRequestBodyLayer)
///     .layer(ObserveLayer::new((RequestIds::new(),)))
///     .service_fn(|_: http::Request<CountedBody<String>>| async {
///         Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello")))
///     });
/// # let _unused = service;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct CountRequestBodyLayer;

impl<S> Layer<S> for CountRequestBodyLayer {
    type Service = CountRequestBody<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CountRequestBody { inner }
    }
}

/// A service whose request bodies are counted. Made by [`CountRequestBodyLayer`].
#[derive(Clone, Debug)]
pub struct CountRequestBody<S> {
    inner: S,
}

impl<S> CountRequestBody<S> {
    crate::__inner_service!();
}

impl<S, A> Service<Request<A>> for CountRequestBody<S>
where
    S: Service<Request<CountedBody<A>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> S::Future {
        self.inner.call(count_request_body(request))
    }
}

/// Wraps the body of one request so that its bytes are counted: what [`CountRequestBodyLayer`] does, for servers that
/// hand over each request themselves.
///
/// A request that belongs to no exchange yet gets one here, which the first layer that watches takes over.
pub fn count_request_body<A>(request: Request<A>) -> Request<CountedBody<A>> {
    let (mut head, inner) = request.into_parts();
    let (exchange, _) = Exchange::of_request(&mut head);
    let exchange = exchange.count_request_body().then_some(exchange);
    let kind = exchange.as_ref().and_then(Exchange::grpc_kind);
    let messages = kind.map(|kind| Box::new(Frames::new(kind)));
    Request::from_parts(head, CountedBody { inner, exchange, messages })
}

pin_project! {
    /// A request body whose bytes are counted as the service reads them. Forwards everything as it is.
    #[derive(Debug)]
    pub struct CountedBody<B> {
        #[pin]
        inner: B,
        exchange: Option<Exchange>,
        messages: Option<Box<Frames>>,
    }
}

impl<B> CountedBody<B> {
    /// The body inside.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The body inside, no longer counted.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

/// A body that counts for no exchange.
impl<B: Default> Default for CountedBody<B> {
    fn default() -> Self {
        Self { inner: B::default(), exchange: None, messages: None }
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        if let (Some(exchange), Some(Ok(frame))) = (this.exchange, &frame)
            && let Some(data) = frame.data_ref()
        {
            exchange.add_request_body_bytes(data.remaining() as u64);
            if let Some(messages) = this.messages {
                messages.read(data);
                exchange.set_request_messages(messages.messages());
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
