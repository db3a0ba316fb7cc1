//! What a request and a response have in common.

use http::{HeaderMap, header::CONTENT_LENGTH};

/// The length that a message declares: the body's own, else its `content-length`.
pub(crate) fn declared_length(exact_size: Option<u64>, headers: &HeaderMap) -> Option<u64> {
    exact_size.or_else(|| headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok())
}
