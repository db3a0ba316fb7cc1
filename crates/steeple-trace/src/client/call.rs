use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, Uri, Version, header, request, response};
use opentelemetry::{
    Context, KeyValue,
    baggage::BaggageExt,
    trace::{SpanContext, SpanKind, Status, TraceContextExt, Tracer},
};
use steeple_core::{Exchange, GrpcStatus, clock, known_method};

use super::{ClientLayer, UrlTemplate, layer::Options};
use crate::{
    Trace,
    attributes::{MAX_TEXT, key, split_host},
    ids::PresetGuard,
    propagation::{Carried, span_context, trace_context},
    scrub::cut,
    segment::Tracing,
};

/// An outgoing call that is over.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientCall<'c> {
    /// The HTTP method, `_OTHER` for those that no standard knows.
    pub method: &'static str,
    /// The gRPC service and method, if it was a gRPC call.
    pub rpc_method: Option<&'c str>,
    /// The host that was called, if the request or the layer says it.
    pub server_address: Option<&'c str>,
    /// The status of the response, if there was one.
    pub status: Option<StatusCode>,
    /// The gRPC status, if it was a gRPC call that was answered.
    pub grpc_status: Option<GrpcStatus>,
    /// The bounded class of the failure, as in `error.type`. `None` also when the caller lost interest.
    pub error_type: Option<&'c str>,
    /// To the last byte of the response.
    pub duration: Duration,
}

/// A call that is under way. Ends once; dropped, it ends as abandoned by the caller, which is no failure.
pub(super) struct Call(Option<Open>);

struct Open {
    /// With the call's span; `None` where it has none.
    context: Option<Context>,
    options: Arc<Options>,
    started: std::time::Instant,
    method: &'static str,
    rpc: Option<Box<str>>,
    server: Option<Box<str>>,
    status: Option<StatusCode>,
    grpc_status: Option<GrpcStatus>,
}

impl Call {
    /// Starts the span and passes the trace on in the request's headers.
    pub(super) fn start(layer: &ClientLayer, request: &mut request::Parts) -> Self {
        let ClientLayer { trace, options } = layer;
        let server = server_of(&request.uri, &request.headers, options);
        let host = server.as_ref().map(|(host, _)| host.as_str()).unwrap_or_default();
        let method = known_method(&request.method);
        let rpc = rpc_of(request);
        let origin = Origin::here(trace);
        let context = origin.records().then(|| {
            let span = describe(trace, request, method, rpc.as_deref(), server.as_ref());
            let parent = origin.context();
            let (name, attributes) = span;
            let builder = trace.tracer().span_builder(name).with_kind(SpanKind::Client).with_attributes(attributes);
            let _preset = origin.preset();
            let span = builder.start_with_context(trace.tracer(), &parent);
            parent.with_span(span)
        });
        if options.gets_trace(host) {
            let sent = context.as_ref().map(|context| context.span().span_context().clone());
            trace.pass_on(
                &sent.filter(SpanContext::is_valid).unwrap_or_else(|| origin.passed_on()),
                &mut request.headers,
            );
            if options.gets_baggage(host) {
                origin.write_baggage(trace, &mut request.headers);
            }
        }
        let server = server.map(|(host, _)| host.into());
        let context = context.filter(|context| context.span().is_recording());
        let keep = context.is_some() || options.on_end.is_some();
        Self(keep.then(|| Open {
            context,
            options: Arc::clone(options),
            started: clock::now(),
            method,
            rpc,
            server,
            status: None,
            grpc_status: None,
        }))
    }

    /// The call's span, current while the call is made.
    pub(super) fn context(&self) -> Option<&Context> {
        self.0.as_ref()?.context.as_ref()
    }

    pub(super) fn on_response(&mut self, head: &response::Parts) {
        if let Some(open) = &mut self.0 {
            open.status = Some(head.status);
            open.on_trailers(&head.headers);
            if let (Some(context), None) = (&open.context, &open.rpc) {
                context.span().set_attribute(KeyValue::new(key::PROTOCOL_VERSION, version_str(head.version)));
            }
        }
    }

    pub(super) fn on_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(open) = &mut self.0 {
            open.on_trailers(trailers);
        }
    }

    /// The client or the response's body failed with an error of this type.
    pub(super) fn fail(&mut self, error_type: &'static str, error: &dyn fmt::Display, trace: &Trace) {
        if let Some(open) = self.0.take() {
            let description = open.context.is_some().then(|| trace.scrubbed(&error.to_string()));
            open.end(Some(&Cow::Borrowed(class_of(error_type))), description.unwrap_or_default());
        }
    }

    /// The last byte was read.
    pub(super) fn complete(&mut self) {
        if let Some(mut open) = self.0.take() {
            if open.rpc.is_some() && open.grpc_status.is_none() {
                // An answer without any status is this, never OK.
                open.grpc_status = Some(GrpcStatus::UNKNOWN);
            }
            let class = open.failure();
            open.end(class.as_ref(), String::new());
        }
    }
}

impl Open {
    fn on_trailers(&mut self, headers: &HeaderMap) {
        if self.rpc.is_some()
            && let Some(status) = GrpcStatus::from_headers(headers)
        {
            self.grpc_status = Some(status);
        }
    }

    /// A client counts every gRPC status but OK, and 4xx as well as 5xx.
    fn failure(&self) -> Option<Cow<'static, str>> {
        match (self.grpc_status, self.status) {
            (Some(grpc), _) => (grpc != GrpcStatus::OK).then(|| grpc.as_str().into()),
            (None, Some(status)) => {
                (status.is_client_error() || status.is_server_error()).then(|| status.as_str().to_owned().into())
            }
            (None, None) => None,
        }
    }

    fn end(self, class: Option<&Cow<'static, str>>, description: String) {
        if let Some(context) = &self.context {
            let span = context.span();
            let mut attributes = Vec::with_capacity(3);
            if self.rpc.is_some() {
                attributes.extend(self.grpc_status.map(|grpc| KeyValue::new(key::RPC_STATUS, grpc.as_str())));
            } else {
                let status = self.status.map(|status| i64::from(status.as_u16()));
                attributes.extend(status.map(|status| KeyValue::new(key::HTTP_STATUS, status)));
            }
            if let Some(class) = class {
                attributes.push(KeyValue::new(key::ERROR_TYPE, class.clone()));
                span.set_status(Status::error(description));
            }
            span.set_attributes(attributes);
            span.end();
        }
        if let Some(hook) = &self.options.on_end {
            hook(&ClientCall {
                method: self.method,
                rpc_method: self.rpc.as_deref(),
                server_address: self.server.as_deref(),
                status: self.status,
                grpc_status: self.grpc_status,
                error_type: class.map(AsRef::as_ref),
                duration: clock::now().saturating_duration_since(self.started),
            });
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            open.end(None, String::new());
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("open", &self.0.is_some()).finish_non_exhaustive()
    }
}

/// Which trace a call belongs to.
enum Origin {
    /// Below this span.
    Span(Context, Carried),
    /// To an exchange without a span.
    Unrecorded(SpanContext, Carried),
    /// To nothing yet.
    New(bool, SpanContext),
}

impl Origin {
    fn here(trace: &Trace) -> Self {
        let exchange = Exchange::current();
        if let Some(tracing) = exchange.as_ref().and_then(Exchange::get::<Tracing>) {
            return Self::Span(tracing.parent(), tracing.carried);
        }
        let current = Context::map_current(|current| {
            let span = current.span();
            span.span_context().is_valid().then(|| (current.clone(), span.is_recording()))
        });
        match (current, exchange.as_ref().and_then(Exchange::trace)) {
            (Some((context, true)), _) => Self::Span(context, Carried::default()),
            (_, Some(known)) => {
                let carried = exchange.as_ref().and_then(Exchange::get::<Carried>).unwrap_or_default();
                Self::Unrecorded(span_context(known, carried.trace_state()), carried)
            }
            (Some((context, false)), None) => {
                Self::Unrecorded(context.span().span_context().clone(), Carried::default())
            }
            (None, None) => {
                let (root, sampled) = trace.new_root();
                Self::New(sampled, span_context(&root, opentelemetry::trace::TraceState::default()))
            }
        }
    }

    fn records(&self) -> bool {
        match self {
            Self::Span(context, _) => context.span().is_recording(),
            Self::Unrecorded(..) => false,
            Self::New(sampled, _) => *sampled,
        }
    }

    fn context(&self) -> Context {
        match self {
            Self::Span(context, _) => context.clone(),
            Self::Unrecorded(..) | Self::New(..) => Context::new(),
        }
    }

    /// A new trace was decided on by its id: the span gets that one.
    fn preset(&self) -> Option<PresetGuard> {
        match self {
            Self::New(_, context) => trace_context(context).map(PresetGuard::set),
            Self::Span(..) | Self::Unrecorded(..) => None,
        }
    }

    fn passed_on(&self) -> SpanContext {
        match self {
            Self::Span(context, _) => context.span().span_context().clone(),
            Self::Unrecorded(context, _) | Self::New(_, context) => context.clone(),
        }
    }

    fn write_baggage(&self, trace: &Trace, headers: &mut HeaderMap) {
        // What the application put into the current context counts before what the caller sent.
        let current = Context::current();
        let current = current.baggage();
        let carried = match self {
            Self::Span(_, carried) | Self::Unrecorded(_, carried) => carried.baggage(),
            Self::New(..) => None,
        };
        if !current.is_empty() {
            trace.pass_baggage(current, headers);
        } else if let Some(carried) = carried {
            trace.pass_baggage(carried, headers);
        }
    }
}

fn describe(
    trace: &Trace,
    request: &request::Parts,
    method: &'static str,
    rpc: Option<&str>,
    server: Option<&(String, Option<u16>)>,
) -> (Cow<'static, str>, Vec<KeyValue>) {
    let mut attributes = Vec::with_capacity(8);
    let name: Cow<'static, str> = if let Some(rpc) = rpc {
        attributes.push(KeyValue::new(key::RPC_SYSTEM, "grpc"));
        attributes.push(KeyValue::new(key::RPC_METHOD, rpc.to_owned()));
        rpc.to_owned().into()
    } else {
        attributes.push(KeyValue::new(key::HTTP_METHOD, method));
        if method == "_OTHER" {
            let original = cut(request.method.as_str(), MAX_TEXT).to_owned();
            attributes.push(KeyValue::new(key::HTTP_METHOD_ORIGINAL, original));
        }
        let full = trace.scrubbed_url(&request.uri);
        attributes.push(KeyValue::new(key::URL_FULL, full));
        let shown = if method == "_OTHER" { "HTTP" } else { method };
        match request.extensions.get::<UrlTemplate>() {
            Some(UrlTemplate(template)) => {
                attributes.push(KeyValue::new(key::URL_TEMPLATE, *template));
                format!("{shown} {template}").into()
            }
            None => shown.into(),
        }
    };
    if let Some((host, port)) = server {
        attributes.push(KeyValue::new(key::SERVER_ADDRESS, host.clone()));
        attributes.extend(port.map(|port| KeyValue::new(key::SERVER_PORT, i64::from(port))));
    }
    (name, attributes)
}

/// The host and port that are called; a port that the scheme implies counts.
fn server_of(uri: &Uri, headers: &HeaderMap, options: &Options) -> Option<(String, Option<u16>)> {
    if let Some(authority) = uri.authority() {
        let (host, port) = split_host(authority.as_str());
        let implied = match uri.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            _ => None,
        };
        return host.map(|host| (host.to_owned(), port.or(implied)));
    }
    options.server.clone().or_else(|| {
        let (host, port) = split_host(headers.get(header::HOST)?.to_str().ok()?);
        host.map(|host| (host.to_owned(), port))
    })
}

/// The method of a gRPC call. It comes from the caller's own code, so it is bounded.
fn rpc_of(request: &request::Parts) -> Option<Box<str>> {
    let kind = request.headers.get(header::CONTENT_TYPE)?.as_bytes().strip_prefix(b"application/grpc")?;
    let is_grpc = matches!(kind.first(), None | Some(b'+' | b';'));
    is_grpc.then(|| cut(request.uri.path().trim_start_matches('/'), 128).into())
}

fn version_str(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// The type of an error is a class; of a boxed one nothing is known.
fn class_of(error_type: &'static str) -> &'static str {
    if error_type.contains("dyn ") { "_OTHER" } else { error_type }
}
