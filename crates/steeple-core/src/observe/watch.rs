use std::{sync::Arc, time::Instant};

use http::{HeaderMap, StatusCode, request, response};

use super::Apart;
use crate::{
    End, Exchange, GrpcStatus, Observer, Outcome, RecordedError, clock,
    exchange::{is_grpc, swap_current},
    message::declared_length,
    observer::{begin, quietly},
};

/// The right to end one exchange. Dropped unfinished, it ends the exchange as cancelled.
pub(crate) struct Watch<O: Observer> {
    /// While the service is being polled, this slot holds what was current before.
    exchange: Option<Exchange>,
    live: Option<Live<O>>,
    /// Whether the exchange is ours to end, and not an outer layer's.
    owner: bool,
}

struct Live<O: Observer> {
    observer: Arc<Apart<O>>,
    state: Option<O::State>,
    status: Option<StatusCode>,
    grpc_status: Option<GrpcStatus>,
    /// A gRPC call that was answered without a word of gRPC: it did not reach a service that speaks it.
    is_plain_answer: bool,
    head_at: Option<Instant>,
    response_body_bytes: u64,
    /// The length that the response declared.
    expected_bytes: Option<u64>,
}

impl<O: Observer> Watch<O> {
    pub(super) fn start(observer: &Arc<Apart<O>>, exchange: Exchange, head: &mut request::Parts, owner: bool) -> Self {
        let state = quietly(|| begin(&observer.0, &exchange, head)).flatten();
        // Not watched: still the current exchange while it is polled, and it still ends.
        let live = (owner || state.is_some()).then(|| Live {
            observer: Arc::clone(observer),
            state,
            status: None,
            grpc_status: None,
            is_plain_answer: false,
            head_at: None,
            response_body_bytes: 0,
            expected_bytes: None,
        });
        Self { exchange: Some(exchange), live, owner }
    }

    /// Runs a poll of what is watched: as the current exchange, with the observers entered.
    #[inline]
    pub(super) fn during_poll<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        if self.live.is_none() && !self.owner {
            return poll();
        }
        let entered = self.enter();
        let value = poll();
        entered.exit();
        value
    }

    /// Makes this the current exchange and enters the observers, until [`Entered::exit`].
    #[inline]
    pub(super) fn enter(&mut self) -> Entered<'_, O> {
        self.each_state(O::on_enter);
        swap_current(&mut self.exchange);
        Entered { watch: self, unwinds: true }
    }

    #[inline]
    fn each_state(&mut self, hook: impl FnOnce(&O, &mut O::State, &Exchange)) {
        if let (Some(Live { observer, state: Some(state), .. }), Some(exchange)) = (&mut self.live, &self.exchange) {
            quietly(|| hook(&observer.0, state, exchange));
        }
    }

    /// The response head is there. `exact_size` is what the body says of its length.
    pub(super) fn on_response(&mut self, head: &mut response::Parts, exact_size: Option<u64>) {
        let (Some(live), Some(exchange)) = (&mut self.live, &self.exchange) else { return };
        live.head_at = Some(clock::now());
        live.status = Some(head.status);
        live.expected_bytes = declared_length(exact_size, &head.headers);
        if exchange.is_grpc() {
            live.grpc_status = GrpcStatus::from_headers(&head.headers);
            live.is_plain_answer = live.grpc_status.is_none() && !is_grpc(&head.headers);
        } else if live.expected_bytes.is_none() && is_event_stream(&head.headers) {
            exchange.set_event_stream();
        }
        if let Some(error) = head.extensions.remove::<RecordedError>() {
            exchange.record(error);
        }
        if let Some(state) = &mut live.state {
            quietly(|| live.observer.0.on_response(state, exchange, head));
        }
    }

    /// Decides, once the response head is known, whether a body will follow; if not, this is the end.
    pub(super) fn on_body(&mut self, is_end_stream: bool) {
        let (Some(live), Some(exchange)) = (&mut self.live, &self.exchange) else { return };
        let (Some(status), Some(head_at)) = (live.status, live.head_at) else { return };
        if status == StatusCode::SWITCHING_PROTOCOLS || (exchange.method() == "CONNECT" && status.is_success()) {
            self.finish_at(Outcome::Upgraded, head_at);
        } else if is_end_stream
            || exchange.method() == "HEAD"
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        {
            self.finish_at(Outcome::Completed, head_at);
        }
    }

    pub(super) fn on_data(&mut self, bytes: usize) {
        if let Some(live) = &mut self.live {
            live.response_body_bytes = live.response_body_bytes.saturating_add(bytes as u64);
        }
    }

    pub(super) fn on_trailers(&mut self, trailers: &HeaderMap) {
        let (Some(live), Some(exchange)) = (&mut self.live, &self.exchange) else { return };
        if exchange.is_grpc()
            && let Some(status) = GrpcStatus::from_headers(trailers)
        {
            live.grpc_status = Some(status);
        }
    }

    pub(super) fn on_error<E: std::fmt::Display + 'static>(&mut self, error: &E, outcome: Outcome) {
        if let (Some(_), Some(exchange)) = (&self.live, &self.exchange) {
            // `Display` is the user's code: a panic of it is the observer's, not the request's.
            if let Some(error) = quietly(|| RecordedError::of_any(error)) {
                exchange.record(error);
            }
        }
        self.finish(outcome);
    }

    /// The server dropped the body: the end if nothing was left to send, else somebody went away.
    pub(super) fn on_body_dropped(&mut self, is_end_stream: bool) {
        let Some(live) = &self.live else { return };
        let all_sent = live.expected_bytes.is_some_and(|expected| live.response_body_bytes >= expected);
        self.finish(if is_end_stream || all_sent { Outcome::Completed } else { Outcome::CancelledInBody });
    }

    pub(super) fn finish(&mut self, outcome: Outcome) {
        if self.live.is_some() {
            self.finish_at(outcome, clock::now());
        }
    }

    fn finish_at(&mut self, outcome: Outcome, now: Instant) {
        let (Some(live), Some(exchange)) = (self.live.take(), &self.exchange) else { return };
        let grpc_status = match live.grpc_status {
            None if !exchange.is_grpc() || live.is_plain_answer => None,
            None if outcome.is_cancelled() => Some(GrpcStatus::CANCELLED),
            None => Some(GrpcStatus::UNKNOWN),
            known => known,
        };
        if grpc_status == Some(GrpcStatus::UNIMPLEMENTED) {
            exchange.fold_rpc_method();
        }
        let end = End {
            outcome,
            duration: now.saturating_duration_since(exchange.started()),
            head_after: live.head_at.map(|head_at| head_at.saturating_duration_since(exchange.started())),
            status: live.status,
            grpc_status,
            request_body_bytes: exchange.request_body_bytes(),
            response_body_bytes: live.response_body_bytes,
        };
        if self.owner {
            exchange.set_ended();
        }
        if let Some(state) = live.state {
            quietly(|| live.observer.0.on_end(state, exchange, &end));
        }
    }
}

impl<O: Observer> Drop for Watch<O> {
    fn drop(&mut self) {
        let cancelled = match &self.live {
            Some(Live { head_at: Some(_), .. }) => Outcome::CancelledInBody,
            _ => Outcome::Cancelled,
        };
        self.finish(cancelled);
        if let Some(exchange) = self.exchange.take()
            && self.owner
        {
            exchange.recycle();
        }
    }
}

/// `text/event-stream`, alone or with parameters.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let kind = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    kind.and_then(|kind| kind.split_at_checked(EVENT_STREAM.len())).is_some_and(|(kind, rest)| {
        kind.eq_ignore_ascii_case(EVENT_STREAM) && matches!(rest.first(), None | Some(b';' | b' '))
    })
}

impl<O: Observer> std::fmt::Debug for Watch<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("exchange", &self.exchange)
            .field("live", &self.live.is_some())
            .finish_non_exhaustive()
    }
}

/// While what is watched is being polled, or called.
///
/// Dropped without having been [left](Self::exit), it unwinds: the exchange has panicked. The caller may catch the panic
/// and drop the watch much later, so this is seen here and not in the watch's own destructor.
pub(super) struct Entered<'a, O: Observer> {
    watch: &'a mut Watch<O>,
    unwinds: bool,
}

impl<O: Observer> Entered<'_, O> {
    /// The poll came back.
    #[inline]
    pub(super) fn exit(mut self) {
        self.unwinds = false;
    }
}

impl<O: Observer> Drop for Entered<'_, O> {
    #[inline]
    fn drop(&mut self) {
        swap_current(&mut self.watch.exchange);
        self.watch.each_state(O::on_exit);
        if self.unwinds {
            self.watch.finish(Outcome::Panicked);
        }
    }
}
