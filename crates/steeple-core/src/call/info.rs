use std::{
    fmt,
    time::{Duration, Instant},
};

use http::{StatusCode, Uri, header, request, uri::Authority};

use crate::{GrpcStatus, Outcome, TraceContext, clock, known_method};

/// The template of a call's path, such as `/users/{id}`: put into the request's extensions, it names the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlTemplate(pub &'static str);

/// Longest name of a host that is kept, in bytes: DNS knows no longer ones.
const MAX_HOST: usize = 253;

/// An outgoing call, as far as its request head tells.
#[derive(Debug)]
pub struct Call {
    method: &'static str,
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

impl Call {
    pub(super) fn of(request: &request::Parts, known: Option<&Server>, exact_size: Option<u64>) -> Self {
        let is_grpc = crate::exchange::is_grpc(&request.headers);
        Self {
            method: known_method(&request.method),
            rpc_method: is_grpc.then(|| rpc_method(request.uri.path())),
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

    /// `pkg.Service/Method` of a gRPC call, `_OTHER` where the path is none. `None`: not a gRPC call.
    pub fn rpc_method(&self) -> Option<&str> {
        self.rpc_method.as_deref()
    }

    /// The host that is called, in lower case, if the request or the layer says it.
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

    /// Bytes of the request body, as the body or the `content-length` says. `None` for a stream of unknown length.
    pub fn request_body_bytes(&self) -> Option<u64> {
        self.request_body_bytes
    }

    /// When the client was called.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The trace that the call belongs to and its own span, if an observer has said so.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// Says which trace the call belongs to: for the observers after this one.
    pub fn set_trace(&mut self, trace: TraceContext) {
        self.trace = Some(trace);
    }
}

/// What is known of a call when it is over. Handed to [`CallObserver::on_end`](super::CallObserver::on_end).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallEnd<'e> {
    /// How it ended. `Cancelled` and `CancelledInBody`: whoever made the call lost interest, which is no failure.
    pub outcome: Outcome,
    /// From the call to the last byte of the response body (or to what ended it before that).
    pub duration: Duration,
    /// From the call to the response head. `None` when there was no response head.
    pub head_after: Option<Duration>,
    /// The status that was answered. `None` when there was no response head.
    pub status: Option<StatusCode>,
    /// What a gRPC call was answered with, from the trailers or the head; an answer without any has what its HTTP status
    /// stands for. `None` when the call is not gRPC, failed or was dropped before that.
    pub grpc_status: Option<GrpcStatus>,
    /// Bytes of the response body that were read.
    pub response_body_bytes: u64,
    /// Whether the answer was a stream of events: how long it lasted says nothing of latency.
    pub is_event_stream: bool,
    /// What the client or the response body failed with.
    pub error: Option<CallError<'e>>,
}

impl CallEnd<'_> {
    /// The class of the failure, from a bounded set: the error's type, the gRPC code's name or the status code.
    ///
    /// A client counts every gRPC status but `OK`, and 4xx as well as 5xx, also where nobody read the body of such an
    /// answer. `None` when nothing failed, or nobody knows as the caller lost interest before.
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
            return (grpc != GrpcStatus::OK).then_some(grpc.as_str());
        }
        let status = self.status.as_ref()?;
        (status.is_client_error() || status.is_server_error()).then_some(status.as_str())
    }
}

/// The class of an error, as in `error.type`: its type, of which a program has so many and no more; `_OTHER` for a boxed
/// one, of which nothing is known.
pub fn class_of<E: ?Sized>() -> &'static str {
    let name = std::any::type_name::<E>();
    if name.contains("dyn ") { "_OTHER" } else { name }
}

/// What a call failed with.
#[derive(Clone, Copy)]
pub struct CallError<'e> {
    class: &'static str,
    message: &'e dyn fmt::Display,
}

impl<'e> CallError<'e> {
    pub(super) fn of<E: fmt::Display>(error: &'e E) -> Self {
        Self { class: class_of::<E>(), message: error }
    }

    /// The error's type, see [`class_of`].
    pub fn class(&self) -> &'static str {
        self.class
    }
}

impl fmt::Display for CallError<'_> {
    /// What the error says, as it says it. Sinks scrub it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl fmt::Debug for CallError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallError").field("class", &self.class()).finish_non_exhaustive()
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
    fn the_server_is_the_uris_then_what_the_layer_was_told_then_the_host_headers() {
        let told = Some("board:50051");
        check(&call("http://ann:pw@API.example/x", Some("other"), told), Some("api.example"), Some(80));
        check(&call("https://[::1]/x", None, told), Some("::1"), Some(443));
        check(&call("/x", Some("other:1"), told), Some("board"), Some(50051));
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
}
