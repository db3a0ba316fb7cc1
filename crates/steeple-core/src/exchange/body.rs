//! What the exchange knows of its bodies.

use std::sync::atomic::Ordering;

use super::Exchange;

/// The length of a request body that declares none and that is not counted.
pub(super) const UNKNOWN_LENGTH: u64 = u64::MAX;

impl Exchange {
    /// Bytes of the request body: as many as it declares, or as the service has read so far where they are
    /// [counted](crate::CountRequestBodyLayer). `None` for a body of undeclared length that is not counted.
    pub fn request_body_bytes(&self) -> Option<u64> {
        Some(self.0.request_body_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes != UNKNOWN_LENGTH)
    }

    /// Begins to count. Returns `false` when someone counts already.
    pub(crate) fn count_request_body(&self) -> bool {
        let first = !self.0.counts_request_body.swap(true, Ordering::Relaxed);
        if first {
            self.0.request_body_bytes.store(0, Ordering::Relaxed);
        }
        first
    }

    /// The length that the request declares. Used where the body is not counted.
    #[inline]
    pub(crate) fn declare_request_body(&self, length: Option<u64>) {
        if let Some(bytes) = length
            && !self.0.counts_request_body.load(Ordering::Relaxed)
        {
            self.0.request_body_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn add_request_body_bytes(&self, bytes: u64) {
        self.0.request_body_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether the response is a stream of server-sent events without an end: its duration shows nothing
    /// of how fast the service is. Known from [`Observer::on_response`](crate::Observer::on_response) on.
    pub fn is_event_stream(&self) -> bool {
        self.0.event_stream.load(Ordering::Relaxed)
    }

    pub(crate) fn set_event_stream(&self) {
        self.0.event_stream.store(true, Ordering::Relaxed);
    }
}
