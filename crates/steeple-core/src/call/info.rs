use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, Uri, header, request, uri::Authority};

use super::CallError;
use crate::{GrpcStatus, Outcome, TraceContext, clock, grpc::Kind, known_method};

/// The template of a call's path, such as `/users/{id}`: put into the request's extensions, it names the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlTemplate(pub &'static str);

/// Longest name of a host that is kept, in bytes: DNS knows no longer ones.
const MAX_HOST: usize = 253;

/// An outgoing call, as far as its request head describes it.
#[derive(Debug)]
pub struct Call {
    method: &'static str,
    kind: Option<Kind>,
    timeout: Option<Duration>,
    rpc_method: Option<Box<str>>,
    server: Option<Server>,
    template: Option<&'static str>,
    request_body_bytes: Option<u64>,
    trace: Option<TraceContext>,
    started: Instant,
}

/// Who is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    host: Box<str>,
    port: Option<u16>,
}

impl Server {
    /// Reads `host:port`. The user in it goes, and so do the brackets of an address.
    pub(super) fn of(authority: &Authority) -> Option<Self> {
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let fits = !host.is_empty() && host.len() <= MAX_HOST;
        fits.then(|| Self { host: host.to_ascii_lowercase().into(), port: authority.port_u16() })
    }

    fn of_request(request: &request::Parts, known: Option<&Self>) -> Option<Self> {
        if let Some(authority) = request.uri.authority() {
            let server = Self::of(authority)?;
            return Some(Self { port: server.port.or_else(|| implied_port(&request.uri)), ..server });
        }
        known.cloned().or_else(|| {
            let host = request.headers.get(header::HOST)?;
            Self::of(&Authority::try_from(host.as_bytes()).ok()?)
        })
    }
}

fn implied_port(uri: &Uri) -> Option<u16> {
    match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    }
}

/// `pkg.Service/Method` from the end of a path: before it a server may be mounted on another one.
fn rpc_method(path: &str) -> Box<str> {
    let service = path.rfind('/').and_then(|method| path.get(..method)).and_then(|head| head.rfind('/'));
    let name = service.and_then(|start| crate::name::rpc_from_path(path.get(start..)?));
    name.unwrap_or("_OTHER").into()
}

/// Reads `grpc-timeout`: at most 8 digits and a unit.
fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = headers.get("grpc-timeout")?.as_bytes().split_last()?;
    let number: u64 = str::from_utf8(digits).ok().filter(|digits| digits.len() <= 8)?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(number.saturating_mul(3600))),
        b'M' => Some(Duration::from_secs(number.saturating_mul(60))),
        b'S' => Some(Duration::from_secs(number)),
        b'm' => Some(Duration::from_millis(number)),
        b'u' => Some(Duration::from_micros(number)),
        b'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

impl Call {
    pub(super) fn of(request: &request::Parts, known: Option<&Server>, exact_size: Option<u64>) -> Self {
        let kind = Kind::of(&request.headers);
        Self {
            method: known_method(&request.method),
            kind,
            timeout: kind.and_then(|_| deadline(&request.headers)),
            rpc_method: kind.map(|_| rpc_method(request.uri.path())),
            server: Server::of_request(request, known),
            template: request.extensions.get::<UrlTemplate>().map(|template| template.0),
            request_body_bytes: crate::message::declared_length(exact_size, &request.headers),
            trace: None,
            started: clock::now(),
        }
    }

    /// The HTTP method, `_OTHER` for those that no standard knows.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// `pkg.Service/Method` of a gRPC call, `_OTHER` where the path is not one. `None`: not a gRPC call.
    pub fn rpc_method(&self) -> Option<&str> {
        self.rpc_method.as_deref()
    }

    pub(super) fn grpc_kind(&self) -> Option<Kind> {
        self.kind
    }

    /// How long a gRPC call may take: its `grpc-timeout`. `None`: no limit, or not a gRPC call.
    #[doc(alias = "deadline")]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The host that is called, in lower case, if the request or the layer names it.
    pub fn server_address(&self) -> Option<&str> {
        self.server.as_ref().map(|server| &*server.host)
    }

    /// The port, also where the scheme implies it.
    pub fn server_port(&self) -> Option<u16> {
        self.server.as_ref()?.port
    }

    /// The template of the path, if the request has a [`UrlTemplate`].
    pub fn url_template(&self) -> Option<&'static str> {
        self.template
    }

    /// Bytes of the request body, as the body or the `content-length` declares. `None` for a stream of unknown length.
    pub fn request_body_bytes(&self) -> Option<u64> {
        self.request_body_bytes
    }

    /// When the client was called.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The trace that the call belongs to and its own span, if an observer has set it.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// Says which trace the call belongs to: for the observers after this one.
    pub fn set_trace(&mut self, trace: TraceContext) {
        self.trace = Some(trace);
    }
}

/// The facts about a call that has ended. Handed to [`CallObserver::on_end`](super::CallObserver::on_end).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallEnd<'e> {
    /// How it ended. `Cancelled` and `CancelledInBody`: the caller dropped the call, which is not a failure.
    pub outcome: Outcome,
    /// From the call to the last byte of the response body (or to what ended it before that).
    pub duration: Duration,
    /// From the call to the response head. `None` without a response head.
    pub head_after: Option<Duration>,
    /// The status that was answered. `None` without a response head.
    pub status: Option<StatusCode>,
    /// What a gRPC call ended with: the status in the trailers, the head or the last frame of gRPC-Web; of an answer without
    /// one, what its HTTP status stands for. A call that was given up is `CANCELLED`, one that took longer than its deadline
    /// or a deadline allows `DEADLINE_EXCEEDED`, one that reached no server `UNAVAILABLE`. `None` when the call is not gRPC.
    pub grpc_status: Option<GrpcStatus>,
    /// The message of the gRPC status, decoded, at most 1,024 bytes. As the server wrote it: sinks scrub it.
    pub grpc_message: Option<&'e str>,
    /// Bytes of the response body that were read.
    pub response_body_bytes: u64,
    /// Messages of the response that were read whole. 0 when the call is not gRPC.
    pub response_messages: u64,
    /// Whether the answer was a stream of events: its duration is not a latency.
    pub is_event_stream: bool,
    /// What the client or the response body failed with.
    pub error: Option<CallError<'e>>,
}

impl CallEnd<'_> {
    /// The class of the failure, from a bounded set: the error's type, the gRPC code's name or the status code.
    ///
    /// A client counts every gRPC status but `OK`, and 4xx as well as 5xx, also where the body of such an
    /// answer was not read. `None` when nothing failed, or the caller dropped the call before that was known.
    ///
    /// # Source
    /// OpenTelemetry semantic conventions, `error.type`.
    pub fn error_class(&self) -> Option<&str> {
        if let Some(error) = &self.error {
            return Some(error.class());
        }
        if self.outcome.is_failure() {
            return Some(self.outcome.as_str());
        }
        if let Some(grpc) = self.grpc_status {
            let is_well = grpc == GrpcStatus::OK || (self.outcome.is_cancelled() && grpc == GrpcStatus::CANCELLED);
            return (!is_well).then_some(grpc.as_str());
        }
        let status = self.status.as_ref()?;
        (status.is_client_error() || status.is_server_error()).then_some(status.as_str())
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn call(uri: &str, host: Option<&str>, known: Option<&str>) -> Call {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let known = known.and_then(|known| Server::of(&known.parse().unwrap()));
        Call::of(&request.body(()).unwrap().into_parts().0, known.as_ref(), None)
    }

    #[track_caller]
    fn check(call: &Call, host: Option<&str>, port: Option<u16>) {
        assert_eq!((call.server_address(), call.server_port()), (host, port));
    }

    #[test]
    fn the_server_is_from_the_uri_then_the_layer_then_the_host_header() {
        let configured = Some("board:50051");
        check(&call("http://ann:pw@API.example/x", Some("other"), configured), Some("api.example"), Some(80));
        check(&call("https://[::1]/x", None, configured), Some("::1"), Some(443));
        check(&call("/x", Some("other:1"), configured), Some("board"), Some(50051));
        check(&call("/x", Some("other:1"), None), Some("other"), Some(1));
        check(&call("/x", Some("not a host"), None), None, None);
        check(&call(&format!("http://{}/x", "a".repeat(254)), None, None), None, None);
    }

    #[test]
    fn a_grpc_method_is_the_end_of_the_path_or_folds() {
        assert_eq!(&*rpc_method("/pkg.Service/Get"), "pkg.Service/Get");
        assert_eq!(&*rpc_method("/mounted/here/pkg.Service/Get"), "pkg.Service/Get");
        for odd in ["", "/", "/Get", "/pkg.Service/", "/a b/c"] {
            assert_eq!(&*rpc_method(odd), "_OTHER", "{odd:?}");
        }
    }

    #[test]
    fn the_deadline_of_a_call_is_read_in_each_unit() {
        for (text, want) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("999999999n", None),
            ("1", None),
            ("S", None),
            ("-1S", None),
            ("1s", None),
        ] {
            let headers =
                HeaderMap::from_iter([(header::HeaderName::from_static("grpc-timeout"), text.parse().unwrap())]);
            assert_eq!(deadline(&headers), want, "{text}");
        }
    }
}
