use std::{borrow::Cow, fmt, net::IpAddr, sync::Arc};

use http::{HeaderMap, Version, request, response};
use opentelemetry::{
    Context, KeyValue,
    trace::{SpanContext, SpanKind, Status, TraceContextExt, Tracer},
};
use steeple_core::{
    Exchange, Outcome,
    call::{Call, CallEnd, CallObserver},
};

use super::origin::Origin;
use crate::{
    Trace,
    attributes::{Attributes, key},
    propagation::{self, Carried, trace_context},
    span,
};

/// Makes a span for each outgoing call and passes the trace on: an observer of calls. A cheap clone. Made by
/// [`Trace::client_spans`].
///
/// Alone it is in [`ClientLayer`](super::ClientLayer). Beside others it goes first into their tuple, so that they find
/// the ids of the call's trace.
#[derive(Clone)]
#[must_use = "an observer does nothing until a layer gets it"]
pub struct ClientSpans {
    trace: Trace,
    options: Arc<Options>,
}

#[derive(Clone, Default)]
struct Options {
    baggage_to: Vec<String>,
    only_to: Option<Vec<String>>,
    without_spans: bool,
}

impl Options {
    fn gets_baggage(&self, host: &str) -> bool {
        self.baggage_to.iter().any(|pattern| matches(pattern, host))
    }

    fn gets_trace(&self, host: &str) -> bool {
        self.only_to.as_ref().is_none_or(|hosts| hosts.iter().any(|pattern| matches(pattern, host)))
    }
}

impl ClientSpans {
    pub(crate) fn new(trace: Trace) -> Self {
        Self { trace, options: Arc::default() }
    }

    /// Passes `baggage` on to this host as well; `*.example.internal` matches all hosts below it, `*` all hosts.
    ///
    /// By default no host receives baggage: it can identify the user. A client that follows redirects takes it along to hosts
    /// that are not listed: see [redirects](crate::client#redirects).
    pub fn baggage_to(mut self, host: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.options).baggage_to.push(host.into());
        self
    }

    /// Passes the trace on to this host, and to others that are listed like this, but to no other.
    ///
    /// A client that follows redirects takes it along to hosts that are not listed: see
    /// [redirects](crate::client#redirects).
    pub fn only_to(mut self, host: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.options).only_to.get_or_insert_default().push(host.into());
        self
    }

    /// Makes no spans, and passes on what an exchange's caller sent, as it came (`traceparent`, `tracestate` and, where
    /// [`baggage_to`](Self::baggage_to) allows it, `baggage`): the called service is a child of the caller then. For
    /// services that record nothing.
    ///
    /// A trace that begins in this process is not passed on: its "not sampled" would silence those who record. Nor is one
    /// where the call has a `traceparent` already.
    pub fn without_spans(mut self) -> Self {
        Arc::make_mut(&mut self.options).without_spans = true;
        self
    }

    fn pass_through(&self, call: &Call, headers: &mut HeaderMap) {
        let host = call.server_address().unwrap_or_default();
        if headers.contains_key("traceparent") || !self.options.gets_trace(host) {
            return;
        }
        let Some(exchange) = Exchange::current() else { return };
        let carried = exchange.get::<Carried>().unwrap_or_default();
        let sent = exchange
            .trace()
            .and_then(|trace| propagation::remote_parent(trace, trace.is_sampled(), carried.trace_state()));
        if let Some(sent) = sent {
            self.trace.pass_on(&sent, &carried, headers);
            if self.options.gets_baggage(host) {
                self.trace.pass_baggage(&carried, headers);
            }
        }
    }
}

impl fmt::Debug for ClientSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSpans").finish_non_exhaustive()
    }
}

/// The span of a call.
#[derive(Debug)]
pub struct ClientSpan(Context);

impl CallObserver for ClientSpans {
    type State = ClientSpan;

    fn on_request(&self, call: &mut Call, request: &mut request::Parts) -> Option<ClientSpan> {
        let Self { trace, options } = self;
        if options.without_spans {
            self.pass_through(call, &mut request.headers);
            return None;
        }
        let origin = Origin::here(trace);
        let context = origin.records().then(|| {
            let parent = origin.context();
            let (name, attributes) = describe(trace, request, call);
            let builder =
                trace.tracer().span_builder(name).with_kind(SpanKind::Client).with_attributes(attributes.into_vec());
            let _preset = origin.preset(trace);
            let span = builder.start_with_context(trace.tracer(), &parent);
            parent.with_span(span)
        });
        let own = context.as_ref().map(|context| origin.sent(context.span().span_context()));
        let sent = own.filter(SpanContext::is_valid).unwrap_or_else(|| origin.passed_on());
        if let Some(ids) = trace_context(&sent) {
            call.set_trace(ids);
        }
        let host = call.server_address().unwrap_or_default();
        if options.gets_trace(host) {
            let carried = origin.carried();
            trace.pass_on(&sent, &carried, &mut request.headers);
            if options.gets_baggage(host) {
                trace.pass_baggage(&carried, &mut request.headers);
            }
        }
        context.filter(|context| context.span().is_recording()).map(ClientSpan)
    }

    fn on_response(&self, span: &mut ClientSpan, call: &Call, response: &response::Parts) {
        if call.rpc_method().is_none() {
            span.0.span().set_attribute(KeyValue::new(key::PROTOCOL_VERSION, version_str(response.version)));
        }
    }

    fn on_enter(&self, span: &mut ClientSpan) {
        span::attach(&span.0);
    }

    fn on_exit(&self, _span: &mut ClientSpan) {
        span::detach();
    }

    fn on_end(&self, ClientSpan(context): ClientSpan, call: &Call, end: &CallEnd<'_>) {
        let span = context.span();
        let mut attributes = Attributes::with_capacity(2);
        if call.rpc_method().is_none() {
            if let Some(status) = end.status {
                attributes.number(key::HTTP_STATUS, status.as_u16());
            }
        } else if let Some(status) = end.grpc_status {
            attributes.word(key::RPC_STATUS, status.as_str());
        }
        if attributes.class_of_call(key::ERROR_TYPE, end) {
            span.set_status(end.error.map_or_else(|| Status::error(""), |error| self.trace.failed(&error)));
        } else if end.outcome == Outcome::Cancelled {
            // A timeout outside of the layer looks like this too: visible, and no failure of the server's.
            attributes.word(key::ERROR_TYPE, end.outcome.as_str());
        }
        span.set_attributes(attributes.into_vec());
        span.end();
    }
}

fn describe(trace: &Trace, request: &request::Parts, call: &Call) -> (Cow<'static, str>, Attributes) {
    let scrubber = trace.scrubber();
    let mut attributes = Attributes::with_capacity(8);
    let name: Cow<'static, str> = if let Some(rpc) = call.rpc_method() {
        attributes.word(key::RPC_SYSTEM, "grpc");
        let rpc = scrubber.repeated_text(rpc).into_owned();
        attributes.text(key::RPC_METHOD, rpc.clone());
        rpc.into_inner().into()
    } else {
        let method = call.method();
        attributes.word(key::HTTP_METHOD, method);
        if method == "_OTHER" {
            attributes.text(key::HTTP_METHOD_ORIGINAL, scrubber.text(request.method.as_str()));
        }
        attributes.text(key::URL_FULL, scrubber.uri(&request.uri));
        let shown = if method == "_OTHER" { "HTTP" } else { method };
        match call.url_template() {
            Some(template) => {
                attributes.word(key::URL_TEMPLATE, template);
                format!("{shown} {template}").into()
            }
            None => shown.into(),
        }
    };
    if let Some(host) = call.server_address() {
        attributes.text(key::SERVER_ADDRESS, scrubber.repeated_text(host));
    }
    if let Some(port) = call.server_port() {
        attributes.number(key::SERVER_PORT, port);
    }
    (name, attributes)
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

/// `*`, `*.example.org` or a host.
fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(parent) => {
            let len = host.len().saturating_sub(parent.len());
            host.parse::<IpAddr>().is_err()
                && host.get(len..).is_some_and(|end| end.eq_ignore_ascii_case(parent))
                && host.get(..len).is_some_and(|start| start.len() > 1 && start.ends_with('.'))
        }
        None => pattern == "*" || pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_whole_or_below_a_parent() {
        assert!(matches("*", "anything") && matches("api.example", "API.example"));
        assert!(matches("*.example.org", "a.b.Example.org"));
        for host in ["example.org", ".example.org", "evilexample.org", "example.org.evil"] {
            assert!(!matches("*.example.org", host), "{host}");
        }
        assert!(!matches("*.0.0.1", "127.0.0.1"));
    }
}
