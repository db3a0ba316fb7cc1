//! What a call failed with: a class for labels, and the chain of causes for people.

use std::{any, fmt};

use crate::{GrpcStatus, RecordedError, text::Bounded};

/// The class of an error, as in `error.type`: its type, of which a program has so many and no more; `_OTHER` for a boxed
/// one, of which nothing is known.
pub fn class_of<E: ?Sized>() -> &'static str {
    let name = any::type_name::<E>();
    if name.contains("dyn ") { "_OTHER" } else { name }
}

/// The class of what took too long.
pub(super) const TIMEOUT: &str = "timeout";

/// The class of what the other side has cut off.
const RESET: &str = "reset";

/// The kinds of failures on a network, and the texts of their errors: the more specific ones first, as a certificate that is
/// refused is also a failure to connect. In lower case.
const KINDS: [(&str, &[&str]); 5] = [
    ("dns", &["dns error", "failed to lookup address", "name or service not known", "nodename nor servname"]),
    (
        "tls",
        &["invalidcertificate", "peer certificate", "fatal alert", "alertreceived", "handshake", "invalidcontenttype"],
    ),
    (
        TIMEOUT,
        &[
            "timedout",
            "timed out",
            "timeout expired",
            "timeoutexpired",
            "deadline has elapsed",
            "elapsed(",
            "etimedout",
        ],
    ),
    (
        "connect",
        &[
            "connectionrefused",
            "connection refused",
            "unreachable",
            "no route to host",
            "connect error",
            "(connect)",
            "(connect,",
        ],
    ),
    (
        RESET,
        &[
            "connectionreset",
            "connection reset",
            "brokenpipe",
            "broken pipe",
            "connectionaborted",
            "incompletemessage",
            "connection closed",
            "unexpectedeof",
            "unexpected eof",
            "channelclosed",
            "stream error",
            "reset(streamid",
            "goaway(",
        ],
    ),
];

/// What a stream was reset with, by `Debug` and by `Display` of the `h2` crate's reasons, and the status that gRPC's clients make
/// of it. In lower case.
///
/// # Source
/// gRPC over HTTP2, "Errors".
const RESETS: [(&[&str], GrpcStatus); 5] = [
    (&["refused_stream", "refused stream before"], GrpcStatus::UNAVAILABLE),
    (&["enhance_your_calm", "excessive load"], GrpcStatus::from_code(8)),
    (&["inadequate_security", "security properties do not"], GrpcStatus::from_code(7)),
    (&[", cancel,", "stream no longer needed"], GrpcStatus::CANCELLED),
    (
        &[
            "no_error",
            "protocol_error",
            "internal_error",
            "flow_control_error",
            "settings_timeout",
            "compression_error",
            "connect_error",
            "not a result of an error",
            "protocol error detected",
            "internal error encountered",
        ],
        GrpcStatus::from_code(13),
    ),
];

/// Bytes of an error's texts that are looked at.
const MAX_TEXT: usize = 4 * 1024;

/// Bytes of an error's `Debug` output that are kept where nothing else names its causes.
const MAX_CAUSES: usize = 1024;

/// Written down once, when a call fails.
pub(super) struct Failure {
    class: &'static str,
    error: RecordedError,
}

impl Failure {
    /// An error whose type is known names its causes through `Debug` alone, as most do. A boxed one is asked for its
    /// sources.
    pub(super) fn of<E: fmt::Display + fmt::Debug + 'static>(error: &E) -> Self {
        let recorded = RecordedError::of_any(error);
        if let Some(kind) = kind_of(&recorded) {
            return Self { class: kind, error: recorded };
        }
        let causes = Bounded::of(format_args!("{error:?}"), MAX_TEXT).into_string();
        match kind_of(&causes) {
            Some(kind) => Self { class: kind, error: recorded.caused_by(crate::text::cut(&causes, MAX_CAUSES)) },
            None => Self { class: class_of::<E>(), error: recorded },
        }
    }

    pub(super) fn as_error(&self) -> CallError<'_> {
        CallError { class: self.class, error: &self.error }
    }
}

fn kind_of(texts: impl fmt::Display) -> Option<&'static str> {
    let texts = Bounded::of(texts, MAX_TEXT).into_string().to_ascii_lowercase();
    KINDS.iter().find(|(_, signs)| signs.iter().any(|sign| texts.contains(sign))).map(|(kind, _)| *kind)
}

/// What a call failed with.
#[derive(Clone, Copy)]
pub struct CallError<'e> {
    class: &'static str,
    error: &'e RecordedError,
}

impl CallError<'_> {
    /// `dns`, `tls`, `timeout`, `connect` or `reset` for what the network does; else the error's type, see [`class_of`].
    pub fn class(&self) -> &'static str {
        self.class
    }

    /// The status that a gRPC client sees when its stream is reset like this. `None`: it was not, or the code is unknown.
    pub(super) fn reset_status(&self) -> Option<GrpcStatus> {
        if self.class != RESET {
            return None;
        }
        let texts = Bounded::of(self.error, MAX_TEXT).into_string().to_ascii_lowercase();
        let is_stream = texts.contains("reset(streamid") || texts.contains("stream error");
        let found = RESETS.iter().find(|(signs, _)| signs.iter().any(|sign| texts.contains(sign)));
        found.filter(|_| is_stream).map(|(_, status)| *status)
    }

    /// The messages of the error and its causes, the outermost first, unchanged. Sinks scrub them.
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &str> {
        self.error.chain()
    }
}

impl fmt::Display for CallError<'_> {
    /// The messages of the whole chain, unchanged. Sinks scrub them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for CallError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallError").field("class", &self.class()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, io};

    use super::*;

    /// As clients' errors are: it names its cause in `source` and `Debug`, not in `Display`.
    #[derive(Debug)]
    struct Client(#[expect(dead_code, reason = "shown by `Debug`")] io::Error);

    impl fmt::Display for Client {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the client failed")
        }
    }

    #[test]
    fn network_failures_are_classified_inside_any_wrapper() {
        for (kind, class) in [
            (io::ErrorKind::ConnectionRefused, "connect"),
            (io::ErrorKind::HostUnreachable, "connect"),
            (io::ErrorKind::TimedOut, "timeout"),
            (io::ErrorKind::ConnectionReset, "reset"),
            (io::ErrorKind::BrokenPipe, "reset"),
            (io::ErrorKind::UnexpectedEof, "reset"),
        ] {
            let failure = Failure::of(&Client(kind.into()));
            assert_eq!(failure.as_error().class(), class, "{kind:?}");
            assert!(failure.as_error().to_string().contains(&format!("{kind:?}")), "the cause is in the message");
            let boxed: Box<dyn Error + Send + Sync> = Box::new(io::Error::from(kind));
            assert_eq!(Failure::of(&boxed).as_error().class(), class, "{kind:?} in a box");
        }
        let said = |text: &str| Failure::of(&io::Error::other(text.to_owned())).as_error().class();
        assert_eq!(said("dns error: failed to lookup address information"), "dns");
        assert_eq!(said("client error (Connect): invalid peer certificate: UnknownIssuer"), "tls");
        assert_eq!(said("Timeout expired"), "timeout");
        assert_eq!(said("no such user"), "std::io::error::Error");
        assert_eq!(Failure::of(&fmt::Error).as_error().class(), "core::fmt::Error");
    }

    #[test]
    fn a_reset_stream_has_the_status_that_its_caller_sees() {
        let said = |text: &str| Failure::of(&io::Error::other(text.to_owned())).as_error().reset_status();
        for (debug, display, status) in [
            ("CANCEL", "stream no longer needed", GrpcStatus::CANCELLED),
            ("REFUSED_STREAM", "refused stream before processing any application logic", GrpcStatus::UNAVAILABLE),
            ("ENHANCE_YOUR_CALM", "detected excessive load generating behavior", GrpcStatus::from_code(8)),
            ("INTERNAL_ERROR", "unexpected internal error encountered", GrpcStatus::from_code(13)),
        ] {
            assert_eq!(said(&format!("Error {{ kind: Reset(StreamId(1), {debug}, Remote) }}")), Some(status));
            assert_eq!(said(&format!("stream error received: {display}")), Some(status));
        }
        assert_eq!(said("connection reset by peer"), None);
        assert_eq!(said("CANCEL"), None, "no stream");
    }
}
