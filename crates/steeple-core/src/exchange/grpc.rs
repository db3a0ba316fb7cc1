//! What the exchange knows of a gRPC call.

use std::sync::atomic::Ordering;

use super::{Exchange, Note};
use crate::{GrpcStatus, RecordedError, grpc::Kind};

impl Exchange {
    /// Whether this is a gRPC call, gRPC-Web included, by its content type.
    #[inline]
    pub fn is_grpc(&self) -> bool {
        self.0.grpc.is_some()
    }

    pub(crate) fn grpc_kind(&self) -> Option<Kind> {
        self.0.grpc
    }

    /// The message of the gRPC status, decoded, at most 1,024 bytes. `None` before the end, and without a message.
    ///
    /// As the service wrote it: sinks scrub it. Of a status that counts as the server's error it is also the last of the
    /// [`errors`](Self::errors).
    pub fn grpc_message(&self) -> Option<Box<str>> {
        self.rare(|rare| rare.grpc_message.clone()).flatten()
    }

    pub(crate) fn set_grpc_message(&self, status: GrpcStatus, message: Box<str>) {
        if self.has_ended() {
            return;
        }
        if status.is_server_error() {
            self.record(RecordedError::from_message(status.as_str(), &message));
        }
        self.note(Note::Rare).rare.get_or_insert_default().grpc_message = Some(message);
    }

    /// Messages of a gRPC request that the service has read whole so far. `None` where they are not counted.
    pub fn request_messages(&self) -> Option<u64> {
        let counts = self.is_grpc() && self.0.counts_request_body.load(Ordering::Relaxed);
        counts.then(|| self.0.request_messages.load(Ordering::Relaxed))
    }

    pub(crate) fn set_request_messages(&self, messages: u64) {
        self.0.request_messages.store(messages, Ordering::Relaxed);
    }

    /// The gRPC service and method, `pkg.Service/Method`: `_OTHER` when it has no such shape or the service did not
    /// know it. `None` when this is not a gRPC call.
    #[inline]
    pub fn rpc_method(&self) -> Option<&str> {
        self.0.grpc.map(|_| match &self.0.rpc {
            Some(rpc) if !self.0.rpc_unknown.load(Ordering::Relaxed) => rpc,
            _ => "_OTHER",
        })
    }

    /// Folds the gRPC method into `_OTHER`: the service does not know it.
    pub fn fold_rpc_method(&self) {
        self.0.rpc_unknown.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    #[test]
    fn a_grpc_call_is_named_after_its_method_until_the_service_does_not_know_it() {
        let exchange = Exchange::new("POST", Version::HTTP_2, Some(Kind::Grpc), Some("pkg.S/M".into()), None);
        exchange.report_route("/pkg.S/{*rest}");
        assert_eq!(exchange.route(), None, "a catch-all of the service is not the call's route");
        assert_eq!(exchange.name().to_string(), "pkg.S/M");
        exchange.fold_rpc_method();
        assert_eq!((exchange.name().to_string().as_str(), exchange.rpc_method()), ("_OTHER", Some("_OTHER")));
    }
}
