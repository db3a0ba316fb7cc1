//! What gRPC adds to a message of HTTP.

use std::{fmt, io::IoSlice};

use bytes::Buf;
use http::{HeaderMap, HeaderName, StatusCode, header::CONTENT_TYPE};

use crate::text;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A gRPC status code. Values outside of 0 to 16 read as [`UNKNOWN`](Self::UNKNOWN).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrpcStatus(u8);

impl GrpcStatus {
    /// The call succeeded.
    pub const OK: Self = Self(0);
    /// The call was cancelled, typically by its caller.
    pub const CANCELLED: Self = Self(1);
    /// No status, or none that is known. An answer without any status is this, never `OK`.
    pub const UNKNOWN: Self = Self(2);
    /// The call took longer than its deadline allows.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// The method does not exist.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// No server could be reached.
    pub const UNAVAILABLE: Self = Self(14);

    /// Every status that the protocol knows.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=16).map(Self)
    }

    /// Reads a code; what the protocol does not know is [`UNKNOWN`](Self::UNKNOWN).
    pub const fn from_code(code: u8) -> Self {
        if code <= 16 { Self(code) } else { Self::UNKNOWN }
    }

    /// Reads the `grpc-status` of a response head or of trailers. `None` without one.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        Some(Self::from_digits(headers.get(&GRPC_STATUS)?.as_bytes()))
    }

    pub(crate) fn from_digits(text: &[u8]) -> Self {
        match text {
            [one @ b'0'..=b'9'] => Self::from_code(one.wrapping_sub(b'0')),
            [b'1', one @ b'0'..=b'6'] => Self::from_code(one.wrapping_sub(b'0').wrapping_add(10)),
            _ => Self::UNKNOWN,
        }
    }

    /// The number on the wire, 0 to 16.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The name in the specification: `DEADLINE_EXCEEDED`.
    pub const fn as_str(self) -> &'static str {
        match self.0 {
            0 => "OK",
            1 => "CANCELLED",
            3 => "INVALID_ARGUMENT",
            4 => "DEADLINE_EXCEEDED",
            5 => "NOT_FOUND",
            6 => "ALREADY_EXISTS",
            7 => "PERMISSION_DENIED",
            8 => "RESOURCE_EXHAUSTED",
            9 => "FAILED_PRECONDITION",
            10 => "ABORTED",
            11 => "OUT_OF_RANGE",
            12 => "UNIMPLEMENTED",
            13 => "INTERNAL",
            14 => "UNAVAILABLE",
            15 => "DATA_LOSS",
            16 => "UNAUTHENTICATED",
            _ => "UNKNOWN",
        }
    }

    /// The name as gRPC's libraries for Go and Java spell it, and the metrics of theirs: `DeadlineExceeded`, `Canceled`.
    pub const fn camel_case(self) -> &'static str {
        match self.0 {
            0 => "OK",
            1 => "Canceled",
            3 => "InvalidArgument",
            4 => "DeadlineExceeded",
            5 => "NotFound",
            6 => "AlreadyExists",
            7 => "PermissionDenied",
            8 => "ResourceExhausted",
            9 => "FailedPrecondition",
            10 => "Aborted",
            11 => "OutOfRange",
            12 => "Unimplemented",
            13 => "Internal",
            14 => "Unavailable",
            15 => "DataLoss",
            16 => "Unauthenticated",
            _ => "Unknown",
        }
    }

    /// What a client takes an answer for that has an HTTP status and no gRPC status.
    ///
    /// # Source
    /// gRPC, "HTTP to gRPC Status Code Mapping".
    pub fn from_http(status: StatusCode) -> Self {
        Self(match status.as_u16() {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        })
    }

    /// Whether a server counts this as its own failure.
    ///
    /// # Source
    /// OpenTelemetry semantic conventions, gRPC: `UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`,
    /// `UNAVAILABLE`, `DATA_LOSS`.
    pub const fn is_server_error(self) -> bool {
        matches!(self.0, 2 | 4 | 12 | 13 | 14 | 15)
    }
}

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How gRPC is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Grpc = 1,
    /// gRPC-Web: the trailers are the last frame of the body.
    Web = 2,
    /// The same in base64.
    WebText = 3,
}

impl Kind {
    /// Reads a content type: `application/grpc`, `application/grpc-web`, `application/grpc-web-text`, each alone or with a
    /// subtype (`+proto`) or a parameter.
    #[inline]
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let rest = headers.get(CONTENT_TYPE)?.as_bytes().strip_prefix(b"application/grpc")?;
        let (kind, rest) = match rest.strip_prefix(b"-web") {
            None => (Self::Grpc, rest),
            Some(rest) => match rest.strip_prefix(b"-text") {
                None => (Self::Web, rest),
                Some(rest) => (Self::WebText, rest),
            },
        };
        matches!(rest.first(), None | Some(b'+' | b';')).then_some(kind)
    }
}

/// Longest message of a status that is kept, in bytes.
const MAX_MESSAGE: usize = 1024;

/// Longest trailers of gRPC-Web that are read, in bytes.
const MAX_TRAILERS: u32 = 8 * 1024;

/// The gRPC part of a response.
#[derive(Debug)]
pub(crate) struct Answer {
    status: Option<GrpcStatus>,
    message: Option<Box<str>>,
    /// The head does not identify the response as gRPC.
    is_plain: bool,
    pub(crate) frames: Frames,
}

impl Answer {
    pub(crate) fn of(head: &HeaderMap, request: Kind) -> Self {
        let kind = Kind::of(head);
        let mut answer =
            Self { status: None, message: None, is_plain: false, frames: Frames::new(kind.unwrap_or(request)) };
        answer.on_trailers(head);
        answer.is_plain = kind.is_none() && answer.status.is_none();
        answer
    }

    pub(crate) fn on_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(status) = GrpcStatus::from_headers(trailers) {
            self.status = Some(status);
            self.message = trailers.get(&GRPC_MESSAGE).and_then(|message| readable(message.as_bytes()));
        }
    }

    pub(crate) fn status(&self) -> Option<GrpcStatus> {
        self.status.or_else(|| {
            let status = trailer(&self.frames.trailers, "grpc-status")?;
            Some(GrpcStatus::from_digits(status))
        })
    }

    pub(crate) fn message(&self) -> Option<Box<str>> {
        let in_body = || readable(trailer(&self.frames.trailers, "grpc-message")?);
        if self.status.is_some() { self.message.clone() } else { in_body() }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain && self.frames.trailers.is_empty()
    }
}

/// The message as it was before it was percent-encoded for its header. `None`: empty.
fn readable(message: &[u8]) -> Option<Box<str>> {
    let most = message.get(..message.len().min(MAX_MESSAGE.saturating_mul(3)))?;
    let decoded = text::percent_decode(most);
    let message = text::cut(decoded.trim(), MAX_MESSAGE);
    (!message.is_empty()).then(|| message.into())
}

/// A value of the trailers that gRPC-Web writes as lines into the body.
fn trailer<'t>(trailers: &'t [u8], name: &str) -> Option<&'t [u8]> {
    trailers.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (key, value) = line.split_at_checked(colon)?;
        key.trim_ascii()
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| value.strip_prefix(b":"))?
            .map(<[u8]>::trim_ascii)
    })
}

/// Counts the messages in a body by their prefixes: a byte of flags, four of the length.
#[derive(Debug)]
pub(crate) struct Frames {
    kind: Kind,
    prefix: [u8; 5],
    in_prefix: u8,
    /// Bytes left of the frame that is being read.
    left: u32,
    messages: u64,
    is_trailers: bool,
    trailers: Vec<u8>,
    base64: Base64,
}

impl Frames {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            prefix: [0; 5],
            in_prefix: 0,
            left: 0,
            messages: 0,
            is_trailers: false,
            trailers: Vec::new(),
            base64: Base64::default(),
        }
    }

    /// The messages that have passed whole.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Reads the bytes that are about to pass.
    pub(crate) fn read(&mut self, data: &impl Buf) {
        let first = data.chunk();
        if first.len() == data.remaining() {
            return self.read_bytes(first);
        }
        let mut slices = [IoSlice::new(&[]); 16];
        let filled = data.chunks_vectored(&mut slices);
        for slice in slices.iter().take(filled) {
            self.read_bytes(slice);
        }
    }

    fn read_bytes(&mut self, bytes: &[u8]) {
        if self.kind != Kind::WebText {
            return self.read_frames(bytes);
        }
        for byte in bytes {
            if let Some((decoded, len)) = self.base64.push(*byte) {
                self.read_frames(decoded.get(..len).unwrap_or_default());
            }
        }
    }

    fn read_frames(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let taken = bytes.len().min(self.left as usize);
                let (part, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
                if self.is_trailers {
                    self.trailers.extend_from_slice(part);
                }
                self.left = self.left.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
                bytes = rest;
                if self.left == 0 && !self.is_trailers {
                    self.messages = self.messages.saturating_add(1);
                }
                continue;
            }
            if let Some(place) = self.prefix.get_mut(usize::from(self.in_prefix)) {
                *place = *first;
            }
            self.in_prefix = self.in_prefix.saturating_add(1);
            bytes = rest;
            if self.in_prefix == 5 {
                let [flags, length @ ..] = self.prefix;
                self.in_prefix = 0;
                self.left = u32::from_be_bytes(length);
                self.is_trailers = self.kind != Kind::Grpc && flags & 0x80 != 0 && self.left <= MAX_TRAILERS;
                if self.is_trailers {
                    self.trailers.clear();
                } else if self.left == 0 {
                    self.messages = self.messages.saturating_add(1);
                }
            }
        }
    }
}

/// Base64 as it streams past: four digits at a time, where padding ends a part and the next one may follow.
#[derive(Debug, Default)]
struct Base64 {
    bits: u32,
    digits: u8,
    padding: u8,
}

impl Base64 {
    fn push(&mut self, byte: u8) -> Option<([u8; 3], usize)> {
        let digit = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                self.padding = self.padding.saturating_add(1);
                0
            }
            _ => return None,
        };
        self.bits = self.bits << 6 | u32::from(digit);
        self.digits = self.digits.wrapping_add(1);
        if self.digits < 4 {
            return None;
        }
        let [_, decoded @ ..] = self.bits.to_be_bytes();
        let len = 3_usize.saturating_sub(self.padding.into());
        *self = Self::default();
        Some((decoded, len))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check_grpc(value: &'static str, want: Option<GrpcStatus>) {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static(value));
        assert_eq!(GrpcStatus::from_headers(&headers), want, "{value:?}");
    }

    #[test]
    fn grpc_status_reads_what_the_protocol_knows_and_nothing_else() {
        for status in GrpcStatus::all() {
            let text = status.code().to_string();
            check_grpc(Box::leak(text.into_boxed_str()), Some(status));
        }
        for odd in ["17", "00", "-1", "", "1 ", "99999999999", "ok"] {
            check_grpc(odd, Some(GrpcStatus::UNKNOWN));
        }
        assert_eq!(GrpcStatus::from_headers(&HeaderMap::new()), None);
    }

    #[test]
    fn grpc_and_both_forms_of_grpc_web_are_recognized_by_their_content_type() {
        let of =
            |value: &'static str| Kind::of(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]));
        for (value, want) in [
            ("application/grpc", Some(Kind::Grpc)),
            ("application/grpc+proto", Some(Kind::Grpc)),
            ("application/grpc;x=y", Some(Kind::Grpc)),
            ("application/grpc-web", Some(Kind::Web)),
            ("application/grpc-web+proto", Some(Kind::Web)),
            ("application/grpc-web-text", Some(Kind::WebText)),
            ("application/grpc-web-text+proto", Some(Kind::WebText)),
            ("application/grpcx", None),
            ("application/grpc-webs", None),
            ("application/json", None),
        ] {
            assert_eq!(of(value), want, "{value}");
        }
        assert_eq!(Kind::of(&HeaderMap::new()), None);
    }

    /// Two messages, one of them empty, and the trailers of gRPC-Web.
    const BODY: &[u8] = b"\0\0\0\0\x02hi\0\0\0\0\0\x80\0\0\0\x25grpc-status:5\r\ngrpc-message:no%20more";
    const TEXT: &[u8] = b"AAAAAAJoaQ==AAAAAAA=gAAAACVncnBjLXN0YXR1czo1DQpncnBjLW1lc3NhZ2U6bm8lMjBtb3Jl";

    fn read(kind: Kind, body: &[u8], size: usize) -> Answer {
        let mut answer = Answer::of(&HeaderMap::new(), kind);
        body.chunks(size).for_each(|part| answer.frames.read(&part));
        answer
    }

    #[test]
    fn messages_and_the_trailers_of_grpc_web_are_read_however_the_body_is_cut() {
        for size in 1..=BODY.len() {
            for (kind, body) in [(Kind::Web, BODY), (Kind::WebText, TEXT)] {
                let answer = read(kind, body, size);
                let read = (answer.frames.messages(), answer.status(), answer.message());
                assert_eq!(read, (2, Some(GrpcStatus::from_code(5)), Some("no more".into())), "{kind:?} by {size}");
                assert!(!answer.is_plain());
            }
            let answer = read(Kind::Grpc, BODY.get(..12).unwrap(), size);
            assert_eq!((answer.frames.messages(), answer.status(), answer.is_plain()), (2, None, true));
        }
    }

    #[test]
    fn a_message_counts_when_it_is_whole_and_trailers_without_end_are_not_kept() {
        assert_eq!(read(Kind::Grpc, b"\0\0\0\0\x02h", 9).frames.messages(), 0);
        let endless = [b"\x80\xff\xff\xff\xff".to_vec(), vec![b'x'; 100_000]].concat();
        assert!(read(Kind::Web, &endless, 1000).frames.trailers.is_empty());
    }

    #[test]
    fn a_statuss_message_is_decoded_and_bounded() {
        assert_eq!(readable(b"caf%C3%A9 %"), Some("caf\u{e9} %".into()));
        assert_eq!(readable(b"  "), None);
        assert_eq!(readable(&vec![b'x'; 100_000]).unwrap().len(), MAX_MESSAGE);
    }
}
