//! Which request this is: its id, the client's, and the trace.

use http::{HeaderMap, HeaderValue};

use super::{Exchange, Note};
use crate::{RequestId, TraceContext, clock};

/// A client's id that was not taken is kept up to this length.
const MAX_CLIENT_REQUEST_ID: usize = 128;

impl Exchange {
    /// The request's id. Made at the first call, if nothing has set it before.
    pub fn request_id(&self) -> &RequestId {
        self.0.request_id.get_or_init(|| RequestId::of_moment(clock::unix_at(self.0.started)))
    }

    /// The request's id, if it has one.
    pub fn get_request_id(&self) -> Option<&RequestId> {
        self.0.request_id.get()
    }

    /// Sets the request's id. Returns `false` when it has one already, which then stays.
    pub fn set_request_id(&self, id: RequestId) -> bool {
        self.0.request_id.set(id).is_ok()
    }

    /// The id that the client sent and that was not taken: at most 128 characters, not checked otherwise.
    pub fn client_request_id(&self) -> Option<Box<str>> {
        self.rare(|rare| rare.client_request_id.clone()).flatten()
    }

    pub(crate) fn set_client_request_id(&self, value: &HeaderValue) {
        let text = String::from_utf8_lossy(value.as_bytes());
        let end = text.char_indices().nth(MAX_CLIENT_REQUEST_ID).map_or(text.len(), |(place, _)| place);
        let kept = text.get(..end).unwrap_or_default().into();
        self.note(Note::Rare).rare.get_or_insert_default().client_request_id = Some(kept);
    }

    /// The trace that this exchange belongs to, if anything has looked for one.
    #[inline]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.0.trace.get()
    }

    /// Sets the trace. Returns `false` when there is one already, which then stays.
    pub fn set_trace(&self, trace: TraceContext) -> bool {
        self.0.trace.set(trace).is_ok()
    }

    /// The trace; without one, the caller's continued from its `traceparent`, else a new one.
    pub fn trace_or_continue(&self, headers: &HeaderMap) -> &TraceContext {
        self.0.trace.get_or_init(|| TraceContext::from_headers(headers).unwrap_or_else(TraceContext::new_root))
    }
}
