//! The response of an exchange or of a call, from its head to its end: the life cycle that both share.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Buf;
use http::{HeaderMap, StatusCode, header::CONTENT_LENGTH, response};
use http_body::{Body, Frame};

use crate::{
    GrpcStatus, Outcome, clock,
    grpc::{Answer, Kind},
};

/// The length that a message declares: the body's own, else its `content-length`.
#[inline]
pub(crate) fn declared_length(exact_size: Option<u64>, headers: &HeaderMap) -> Option<u64> {
    exact_size.or_else(|| headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok())
}

/// How far a response has come.
#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: Option<StatusCode>,
    pub(crate) head_at: Option<Instant>,
    pub(crate) body_bytes: u64,
    /// The length that it declared.
    expected_bytes: Option<u64>,
    pub(crate) is_event_stream: bool,
    /// The gRPC part of the response. `None`: not a gRPC call, or no response head yet.
    pub(crate) grpc: Option<Box<Answer>>,
}

impl Response {
    /// The response head is there. `exact_size` is the length that the body declares.
    #[inline]
    pub(crate) fn on_head(&mut self, head: &response::Parts, exact_size: Option<u64>, request: Option<Kind>) {
        self.head_at = Some(clock::now());
        self.status = Some(head.status);
        self.expected_bytes = declared_length(exact_size, &head.headers);
        if let Some(request) = request {
            self.grpc = Some(Box::new(Answer::of(&head.headers, request)));
        } else {
            self.is_event_stream = self.expected_bytes.is_none() && is_event_stream(&head.headers);
        }
    }

    /// How it has ended already, where no body follows the head.
    #[inline]
    pub(crate) fn ending_at_head(&self, method: &str, is_end_stream: bool) -> Option<Outcome> {
        let status = self.status?;
        if status == StatusCode::SWITCHING_PROTOCOLS || (method == "CONNECT" && status.is_success()) {
            return Some(Outcome::Upgraded);
        }
        let is_over = is_end_stream
            || method == "HEAD"
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        is_over.then_some(Outcome::Completed)
    }

    #[inline]
    pub(crate) fn on_data(&mut self, data: &impl Buf) {
        self.body_bytes = self.body_bytes.saturating_add(data.remaining() as u64);
        if let Some(grpc) = &mut self.grpc {
            grpc.frames.read(data);
        }
    }

    pub(crate) fn on_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(grpc) = &mut self.grpc {
            grpc.on_trailers(trailers);
        }
    }

    /// Whether all that was declared has passed.
    pub(crate) fn is_whole(&self) -> bool {
        self.expected_bytes.is_some_and(|expected| self.body_bytes >= expected)
    }

    /// The outcome when the future that polled it was dropped.
    pub(crate) fn cancelled(&self) -> Outcome {
        if self.head_at.is_some() { Outcome::CancelledInBody } else { Outcome::Cancelled }
    }

    /// The gRPC status that was received or sent.
    pub(crate) fn grpc_status(&self) -> Option<GrpcStatus> {
        self.grpc.as_ref()?.status()
    }

    /// Whether a gRPC call was answered without a word of gRPC: by something that does not speak it.
    pub(crate) fn is_plain(&self) -> bool {
        self.grpc.as_ref().is_some_and(|grpc| grpc.is_plain())
    }

    /// The messages of gRPC that have passed.
    pub(crate) fn messages(&self) -> u64 {
        self.grpc.as_ref().map_or(0, |grpc| grpc.frames.messages())
    }
}

/// `text/event-stream`, alone or with parameters.
fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let kind = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    kind.and_then(|kind| kind.split_at_checked(EVENT_STREAM.len())).is_some_and(|(kind, rest)| {
        kind.eq_ignore_ascii_case(EVENT_STREAM) && matches!(rest.first(), None | Some(b';' | b' '))
    })
}

/// Sees a response's body to its end.
pub(crate) trait Watching {
    /// The observers are entered until this is [left](Self::leave). Dropped otherwise, it unwinds: the exchange has panicked.
    type Entered<'a>
    where
        Self: 'a;

    /// The watched service, future or body is about to be called or polled.
    fn enter(&mut self) -> Self::Entered<'_>;
    /// It came back.
    fn leave(entered: Self::Entered<'_>);
    /// Polls the watched future or body, with the observers entered.
    #[inline]
    fn during_poll<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        let entered = self.enter();
        let value = poll();
        Self::leave(entered);
        value
    }
    /// The response, while it has not ended.
    fn response(&mut self) -> Option<&mut Response>;
    /// The last byte was handed over.
    fn complete(&mut self);
}

/// What a body answers to a poll.
pub(crate) type Polled<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// Polls a body for its next frame, and reports it to the watch. The caller handles errors.
#[inline]
pub(crate) fn poll_frame<B: Body, W: Watching>(
    mut body: Pin<&mut B>,
    watch: &mut W,
    cx: &mut Context<'_>,
) -> Polled<B> {
    // Handed on as one value: a frame is a hundred bytes, and each step that takes it apart copies them.
    let entered = watch.enter();
    let polled = body.as_mut().poll_frame(cx);
    // The body need not be polled again after trailers or once the length is used up: this can be the last call.
    let is_last = matches!(&polled, Poll::Ready(Some(Ok(frame))) if frame.is_trailers() || body.is_end_stream());
    W::leave(entered);
    match &polled {
        Poll::Ready(None) => watch.complete(),
        Poll::Ready(Some(Ok(frame))) => {
            if let Some(response) = watch.response() {
                if let Some(data) = frame.data_ref() {
                    response.on_data(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    response.on_trailers(trailers);
                }
            }
            if is_last {
                watch.complete();
            }
        }
        Poll::Pending | Poll::Ready(Some(Err(_))) => (),
    }
    polled
}
