use std::{sync::Arc, time::Instant};

use http::{request, response};

use super::Apart;
use crate::{
    End, Exchange, GrpcStatus, Observer, Outcome, RecordedError, clock,
    exchange::swap_current,
    message::{Response, Watching},
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
    response: Response,
}

impl<O: Observer> Watch<O> {
    #[inline]
    pub(super) fn start(observer: &Arc<Apart<O>>, exchange: Exchange, head: &mut request::Parts, owner: bool) -> Self {
        let live = Live { observer: Arc::clone(observer), state: None, response: Response::default() };
        let mut watch = Self { exchange: Some(exchange), live: Some(live), owner };
        if let (Some(live), Some(exchange)) = (&mut watch.live, &watch.exchange) {
            let state = &mut live.state;
            // Written to where it stays.
            quietly(|| *state = begin(&observer.0, exchange, head));
            // Not watched: still the current exchange while it is polled, and it still ends.
            if state.is_none() && !owner {
                watch.live = None;
            }
        }
        watch
    }

    #[inline]
    fn each_state(&mut self, hook: impl FnOnce(&O, &mut O::State, &Exchange)) {
        if let (Some(Live { observer, state: Some(state), .. }), Some(exchange)) = (&mut self.live, &self.exchange) {
            quietly(|| hook(&observer.0, state, exchange));
        }
    }

    /// The response head is there. `exact_size` is the length that the body declares. If no body will follow, this is the end.
    pub(super) fn on_response(&mut self, head: &mut response::Parts, exact_size: Option<u64>, is_end_stream: bool) {
        let (Some(live), Some(exchange)) = (&mut self.live, &self.exchange) else { return };
        live.response.on_head(head, exact_size, exchange.grpc_kind());
        if live.response.is_event_stream {
            exchange.set_event_stream();
        }
        if !head.extensions.is_empty()
            && let Some(error) = head.extensions.remove::<RecordedError>()
        {
            exchange.record(error);
        }
        if let Some(state) = &mut live.state {
            quietly(|| live.observer.0.on_response(state, exchange, head));
        }
        let ending = live.response.ending_at_head(exchange.method(), is_end_stream);
        if let (Some(outcome), Some(head_at)) = (ending, live.response.head_at) {
            self.finish_at(outcome, head_at);
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

    /// Work that is not a request returned an error.
    pub(super) fn fail(&mut self, error: RecordedError) {
        if let (Some(_), Some(exchange)) = (&self.live, &self.exchange) {
            exchange.record(error);
        }
        self.finish(Outcome::ServiceError);
    }

    /// Whether the end has not come yet.
    pub(super) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// The server dropped the body: the end if nothing was left to send, else somebody went away.
    pub(super) fn on_body_dropped(&mut self, is_end_stream: bool) {
        let Some(live) = &self.live else { return };
        let is_over = is_end_stream || live.response.is_whole();
        self.finish(if is_over { Outcome::Completed } else { Outcome::CancelledInBody });
    }

    pub(super) fn finish(&mut self, outcome: Outcome) {
        if self.live.is_some() {
            self.finish_at(outcome, clock::now());
        }
    }

    fn finish_at(&mut self, outcome: Outcome, now: Instant) {
        let (Some(live), Some(exchange)) = (&mut self.live, &self.exchange) else { return };
        let response = &live.response;
        let grpc_status = exchange.is_grpc().then(|| grpc_status(response, outcome));
        if let Some(status) = grpc_status {
            if status == GrpcStatus::UNIMPLEMENTED {
                exchange.fold_rpc_method();
            }
            if let Some(message) = response.grpc.as_ref().and_then(|grpc| grpc.message()) {
                exchange.set_grpc_message(status, message);
            }
        }
        let end = End {
            outcome,
            duration: now.saturating_duration_since(exchange.started()),
            head_after: response.head_at.map(|head_at| head_at.saturating_duration_since(exchange.started())),
            waited: exchange.waited(),
            status: response.status,
            grpc_status,
            is_plain_answer: response.is_plain(),
            request_body_bytes: exchange.request_body_bytes(),
            response_body_bytes: response.body_bytes,
            request_messages: exchange.request_messages(),
            response_messages: response.messages(),
        };
        if self.owner {
            exchange.set_ended();
        }
        // Taken where it is used: a state may be large, and each move of it is a copy.
        quietly(|| {
            if let Some(state) = live.state.take() {
                live.observer.0.on_end(state, exchange, &end);
            }
        });
        self.live = None;
    }
}

impl<O: Observer> Drop for Watch<O> {
    fn drop(&mut self) {
        if let Some(live) = &self.live {
            self.finish(live.response.cancelled());
        }
        if let Some(exchange) = self.exchange.take()
            && self.owner
        {
            exchange.recycle();
        }
    }
}

/// The status that a gRPC call has ended with: the one that was sent, else the one that its caller derives from the answer.
fn grpc_status(response: &Response, outcome: Outcome) -> GrpcStatus {
    match (response.grpc_status(), response.status) {
        (Some(status), _) => status,
        (None, _) if outcome.is_cancelled() => GrpcStatus::CANCELLED,
        (None, Some(status)) if response.is_plain() => GrpcStatus::from_http(status),
        (None, _) => GrpcStatus::UNKNOWN,
    }
}

impl<O: Observer> Watching for Watch<O> {
    type Entered<'a> = Entered<'a, O>;

    /// As the current exchange.
    #[inline]
    fn enter(&mut self) -> Entered<'_, O> {
        self.each_state(O::on_enter);
        swap_current(&mut self.exchange);
        Entered { watch: self, unwinds: true }
    }

    #[inline]
    fn leave(mut entered: Entered<'_, O>) {
        entered.unwinds = false;
    }

    #[inline]
    fn during_poll<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        // Not watched, or over: what a body does after its last byte belongs to no exchange.
        if self.live.is_none() {
            return poll();
        }
        let entered = self.enter();
        let value = poll();
        Self::leave(entered);
        value
    }

    #[inline]
    fn response(&mut self) -> Option<&mut Response> {
        self.live.as_mut().map(|live| &mut live.response)
    }

    #[inline]
    fn complete(&mut self) {
        self.finish(Outcome::Completed);
    }
}

impl<O: Observer> std::fmt::Debug for Watch<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("exchange", &self.exchange)
            .field("live", &self.live.is_some())
            .finish_non_exhaustive()
    }
}

/// While the watched service, future or body is being called or polled.
///
/// Dropped without having been [left](Watching::leave), it unwinds: the exchange has panicked. The caller may catch the panic
/// and drop the watch much later, so this is seen here and not in the watch's own destructor.
pub(crate) struct Entered<'a, O: Observer> {
    watch: &'a mut Watch<O>,
    unwinds: bool,
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
