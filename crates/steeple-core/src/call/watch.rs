use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{request, response};

use super::{
    Call, CallEnd, CallError, CallObserver,
    failure::{Failure, TIMEOUT},
};
use crate::{
    GrpcStatus, Outcome, clock,
    message::{Response, Watching},
    observer::quietly,
};

/// The right to end one call. Dropped unfinished, it ends the call as cancelled.
pub(crate) struct Watch<O: CallObserver>(Option<Live<O>>);

struct Live<O: CallObserver> {
    observer: Arc<O>,
    state: O::State,
    call: Call,
    response: Response,
}

impl<O: CallObserver> Watch<O> {
    pub(super) fn start(observer: &Arc<O>, mut call: Call, head: &mut request::Parts) -> Self {
        let state = quietly(|| observer.on_request(&mut call, head)).flatten();
        Self(state.map(|state| Live { observer: Arc::clone(observer), state, call, response: Response::default() }))
    }

    /// Ends nothing.
    pub(super) fn over() -> Self {
        Self(None)
    }

    /// Hands the right on: this one ends nothing any more.
    pub(super) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    fn each_state(&mut self, hook: impl FnOnce(&O, &mut O::State)) {
        if let Some(live) = &mut self.0 {
            quietly(|| hook(&live.observer, &mut live.state));
        }
    }

    /// The response head is there; if no body will follow, this is the end.
    pub(super) fn on_response(&mut self, head: &response::Parts, exact_size: Option<u64>, is_end_stream: bool) {
        let Some(live) = &mut self.0 else { return };
        live.response.on_head(head, exact_size, live.call.grpc_kind());
        quietly(|| live.observer.on_response(&mut live.state, &live.call, head));
        let ending = live.response.ending_at_head(live.call.method(), is_end_stream);
        if let (Some(outcome), Some(head_at)) = (ending, live.response.head_at) {
            self.finish_at(outcome, None, head_at);
        }
    }

    /// The client failed, or the body of its response.
    pub(super) fn on_error<E: fmt::Display + fmt::Debug + 'static>(&mut self, error: &E) {
        let Some(live) = &self.0 else { return };
        let outcome = if live.response.head_at.is_some() { Outcome::BodyError } else { Outcome::ServiceError };
        // `Display` and `Debug` are someone else's code: a panic of theirs is not the caller's.
        let failure = quietly(|| Failure::of(error));
        self.finish(outcome, failure.as_ref().map(Failure::as_error));
    }

    /// The caller dropped the body: the end if nothing was left to read, else it lost interest.
    pub(super) fn on_body_dropped(&mut self, is_end_stream: impl FnOnce() -> bool) {
        let Some(live) = &self.0 else { return };
        // The inner body is someone else's code; as a destructor this must not unwind twice.
        if live.response.is_whole() || quietly(is_end_stream).unwrap_or(false) {
            self.complete();
        }
    }

    fn finish(&mut self, outcome: Outcome, error: Option<CallError<'_>>) {
        if self.0.is_some() {
            self.finish_at(outcome, error, clock::now());
        }
    }

    fn finish_at(&mut self, outcome: Outcome, error: Option<CallError<'_>>, now: Instant) {
        let Some(live) = self.0.take() else { return };
        let Live { observer, state, call, response } = live;
        let since = |at: Instant| at.saturating_duration_since(call.started());
        let duration = since(now);
        let message = response.grpc.as_ref().and_then(|grpc| grpc.message());
        let end = CallEnd {
            outcome,
            duration,
            head_after: response.head_at.map(since),
            status: response.status,
            grpc_status: call.grpc_kind().map(|_| grpc_status(&response, &call, outcome, duration, error.as_ref())),
            grpc_message: message.as_deref(),
            response_body_bytes: response.body_bytes,
            response_messages: response.messages(),
            is_event_stream: response.is_event_stream,
            error,
        };
        quietly(|| observer.on_end(state, &call, &end));
    }
}

/// The status that a gRPC call ended with: the server's answer, else the status that the caller sees.
fn grpc_status(
    response: &Response,
    call: &Call,
    outcome: Outcome,
    duration: Duration,
    error: Option<&CallError<'_>>,
) -> GrpcStatus {
    if let Some(status) = response.grpc_status() {
        return status;
    }
    if let Some(status) = error.and_then(CallError::reset_status) {
        return status;
    }
    match outcome {
        _ if error.is_some_and(|error| error.class() == TIMEOUT) => GrpcStatus::DEADLINE_EXCEEDED,
        Outcome::Cancelled | Outcome::CancelledInBody if call.timeout().is_some_and(|timeout| duration >= timeout) => {
            GrpcStatus::DEADLINE_EXCEEDED
        }
        Outcome::Cancelled | Outcome::CancelledInBody => GrpcStatus::CANCELLED,
        Outcome::ServiceError => GrpcStatus::UNAVAILABLE,
        Outcome::Completed => response.status.map_or(GrpcStatus::UNKNOWN, GrpcStatus::from_http),
        Outcome::Upgraded | Outcome::BodyError | Outcome::Panicked => GrpcStatus::UNKNOWN,
    }
}

impl<O: CallObserver> Watching for Watch<O> {
    type Entered<'a> = Entered<'a, O>;

    #[inline]
    fn enter(&mut self) -> Entered<'_, O> {
        self.each_state(O::on_enter);
        Entered { watch: self, unwinds: true }
    }

    #[inline]
    fn leave(mut entered: Entered<'_, O>) {
        entered.unwinds = false;
    }

    #[inline]
    fn response(&mut self) -> Option<&mut Response> {
        self.0.as_mut().map(|live| &mut live.response)
    }

    fn complete(&mut self) {
        self.finish(Outcome::Completed, None);
    }
}

impl<O: CallObserver> Drop for Watch<O> {
    fn drop(&mut self) {
        if let Some(live) = &self.0 {
            self.finish(live.response.cancelled(), None);
        }
    }
}

impl<O: CallObserver> fmt::Debug for Watch<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("call", &self.0.as_ref().map(|live| &live.call)).finish_non_exhaustive()
    }
}

/// While the watched client, future or body is being called or polled. Dropped without having been [left](Watching::leave), it
/// unwinds: the call has panicked.
pub(crate) struct Entered<'a, O: CallObserver> {
    watch: &'a mut Watch<O>,
    unwinds: bool,
}

impl<O: CallObserver> Drop for Entered<'_, O> {
    fn drop(&mut self) {
        self.watch.each_state(O::on_exit);
        if self.unwinds {
            self.watch.finish(Outcome::Panicked, None);
        }
    }
}
