use std::fmt;

use http::uri::Authority;
use steeple_core::call::{CallLayer, Caller};
use tower_layer::Layer;

use super::ClientSpans;

/// Makes a span for each outgoing call and passes the trace on. Made by [`Trace::client_layer`](crate::Trace::client_layer).
///
/// Inside of an exchange the call belongs to its trace; outside of one it begins its own. A call of an exchange that is
/// not sampled has no span, and passes the trace's ids on all the same.
///
/// # Examples
/// ```
/// use steeple_trace::Trace;
/// use tower::{ServiceBuilder, service_fn};
///
/// let trace = Trace::builder().build()?;
/// // In place of `service_fn`: hyper's client or tonic's channel.
/// let client = ServiceBuilder::new().layer(trace.client_layer()).service(service_fn(
///     |request: http::Request<String>| async move {
///         assert!(request.headers().contains_key("traceparent"));
///         Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
///     },
/// ));
/// # let _unused = client;
/// # Ok::<(), steeple_trace::BuildError>(())
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct ClientLayer {
    spans: ClientSpans,
    server: Option<Authority>,
}

impl ClientLayer {
    pub(crate) fn new(spans: ClientSpans) -> Self {
        Self { spans, server: None }
    }

    /// The `host:port` of the service, for clients whose requests lack it: tonic's channel, whose endpoint has it in its URI.
    pub fn server(mut self, authority: Authority) -> Self {
        self.server = Some(authority);
        self
    }

    /// Passes `baggage` on to this host as well; `*.example.internal` matches all hosts below it, `*` all hosts.
    ///
    /// By default no host receives baggage: it can identify the user. A client that follows redirects takes it along to hosts
    /// that are not listed: see [redirects](crate::client#redirects).
    pub fn baggage_to(mut self, host: impl Into<String>) -> Self {
        self.spans = self.spans.baggage_to(host);
        self
    }

    /// Passes the trace on to this host, and to others that are listed like this, but to no other.
    ///
    /// A client that follows redirects takes it along to hosts that are not listed: see
    /// [redirects](crate::client#redirects).
    pub fn only_to(mut self, host: impl Into<String>) -> Self {
        self.spans = self.spans.only_to(host);
        self
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = Caller<S, ClientSpans>;

    fn layer(&self, inner: S) -> Self::Service {
        let calls = CallLayer::new(self.spans.clone());
        match &self.server {
            Some(server) => calls.server(server).layer(inner),
            None => calls.layer(inner),
        }
    }
}

impl fmt::Debug for ClientLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer").field("server", &self.server).finish_non_exhaustive()
    }
}
