use std::{fmt, sync::Arc, time::Instant};

use http::{HeaderMap, StatusCode, request, response};

use super::{Call, CallEnd, CallError, CallObserver};
use crate::{GrpcStatus, Outcome, clock, message::declared_length, observe::is_event_stream, observer::quietly};

/// The right to end one call. Dropped unfinished, it ends the call as cancelled.
pub(crate) struct Watch<O: CallObserver>(Option<Live<O>>);

struct Live<O: CallObserver> {
    observer: Arc<O>,
    state: O::State,
    call: Call,
    status: Option<StatusCode>,
    grpc_status: Option<GrpcStatus>,
    head_at: Option<Instant>,
    response_body_bytes: u64,
    /// The length that the response declared.
    expected_bytes: Option<u64>,
    is_event_stream: bool,
}

impl<O: CallObserver> Watch<O> {
    pub(super) fn start(observer: &Arc<O>, mut call: Call, head: &mut request::Parts) -> Self {
        let state = quietly(|| observer.on_request(&mut call, head)).flatten();
        Self(state.map(|state| Live {
            observer: Arc::clone(observer),
            state,
            call,
            status: None,
            grpc_status: None,
            head_at: None,
            response_body_bytes: 0,
            expected_bytes: None,
            is_event_stream: false,
        }))
    }

    /// Ends nothing.
    pub(super) fn over() -> Self {
        Self(None)
    }

    /// Hands the right on: this one ends nothing any more.
    pub(super) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// Runs the call or a poll of it with the observers entered. If it unwinds, the call has panicked.
    pub(super) fn during_poll<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        if self.0.is_none() {
            return poll();
        }
        self.each_state(O::on_enter);
        let mut unwinding = PollGuard { watch: self, armed: true };
        let value = poll();
        unwinding.armed = false;
        drop(unwinding);
        self.each_state(O::on_exit);
        value
    }

    fn each_state(&mut self, hook: impl FnOnce(&O, &mut O::State)) {
        if let Some(live) = &mut self.0 {
            quietly(|| hook(&live.observer, &mut live.state));
        }
    }

    /// The response head is there; if no body will follow, this is the end.
    pub(super) fn on_response(&mut self, head: &response::Parts, exact_size: Option<u64>, is_end_stream: bool) {
        let Some(live) = &mut self.0 else { return };
        let head_at = clock::now();
        live.head_at = Some(head_at);
        live.status = Some(head.status);
        live.expected_bytes = declared_length(exact_size, &head.headers);
        live.is_event_stream = live.expected_bytes.is_none() && is_event_stream(&head.headers);
        live.read_grpc_status(&head.headers);
        quietly(|| live.observer.on_response(&mut live.state, &live.call, head));
        let (method, status) = (live.call.method(), head.status);
        if status == StatusCode::SWITCHING_PROTOCOLS || (method == "CONNECT" && status.is_success()) {
            self.finish_at(Outcome::Upgraded, None, head_at);
        } else if is_end_stream
            || method == "HEAD"
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        {
            self.finish_at(Outcome::Completed, None, head_at);
        }
    }

    pub(super) fn on_data(&mut self, bytes: usize) {
        if let Some(live) = &mut self.0 {
            live.response_body_bytes = live.response_body_bytes.saturating_add(bytes as u64);
        }
    }

    pub(super) fn on_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(live) = &mut self.0 {
            live.read_grpc_status(trailers);
        }
    }

    /// The client failed, or the body of its response.
    pub(super) fn on_error<E: fmt::Display>(&mut self, error: &E) {
        let outcome = match &self.0 {
            Some(Live { head_at: Some(_), .. }) => Outcome::BodyError,
            _ => Outcome::ServiceError,
        };
        self.finish(outcome, Some(CallError::of(error)));
    }

    /// The last byte was read.
    pub(super) fn complete(&mut self) {
        self.finish(Outcome::Completed, None);
    }

    /// The caller dropped the body: the end if nothing was left to read, else it lost interest.
    pub(super) fn on_body_dropped(&mut self, is_end_stream: impl FnOnce() -> bool) {
        let Some(live) = &self.0 else { return };
        let all_read = live.expected_bytes.is_some_and(|expected| live.response_body_bytes >= expected);
        // The inner body is somebody else's code; as a destructor this must not unwind twice.
        if all_read || quietly(is_end_stream).unwrap_or(false) {
            self.complete();
        }
    }

    fn finish(&mut self, outcome: Outcome, error: Option<CallError<'_>>) {
        if self.0.is_some() {
            self.finish_at(outcome, error, clock::now());
        }
    }

    fn finish_at(&mut self, outcome: Outcome, error: Option<CallError<'_>>, now: Instant) {
        let Some(mut live) = self.0.take() else { return };
        if outcome == Outcome::Completed
            && live.call.rpc_method().is_some()
            && live.grpc_status.is_none()
            && let Some(status) = live.status
        {
            live.grpc_status = Some(GrpcStatus::from_http(status));
        }
        let since = |at: Instant| at.saturating_duration_since(live.call.started());
        let end = CallEnd {
            outcome,
            duration: since(now),
            head_after: live.head_at.map(since),
            status: live.status,
            grpc_status: live.grpc_status,
            response_body_bytes: live.response_body_bytes,
            is_event_stream: live.is_event_stream,
            error,
        };
        quietly(|| live.observer.on_end(live.state, &live.call, &end));
    }
}

impl<O: CallObserver> Live<O> {
    fn read_grpc_status(&mut self, headers: &HeaderMap) {
        if self.call.rpc_method().is_some()
            && let Some(status) = GrpcStatus::from_headers(headers)
        {
            self.grpc_status = Some(status);
        }
    }
}

impl<O: CallObserver> Drop for Watch<O> {
    fn drop(&mut self) {
        let cancelled = match &self.0 {
            Some(Live { head_at: Some(_), .. }) => Outcome::CancelledInBody,
            _ => Outcome::Cancelled,
        };
        self.finish(cancelled, None);
    }
}

impl<O: CallObserver> fmt::Debug for Watch<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("call", &self.0.as_ref().map(|live| &live.call)).finish_non_exhaustive()
    }
}

/// Ends the call as panicked if a poll does not come back.
struct PollGuard<'a, O: CallObserver> {
    watch: &'a mut Watch<O>,
    armed: bool,
}

impl<O: CallObserver> Drop for PollGuard<'_, O> {
    fn drop(&mut self) {
        if self.armed {
            self.watch.each_state(O::on_exit);
            self.watch.finish(Outcome::Panicked, None);
        }
    }
}
