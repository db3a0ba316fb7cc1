//! Outgoing calls, watched by whatever is on.

use http::uri::Authority;
use steeple_core::call::{CallLayer, Caller};
use steeple_metrics::ClientCalls;
use tower_layer::Layer;

use crate::Steeple;

/// What watches outgoing calls: spans where there is a receiver, else the caller's trace passed on; metrics always.
#[cfg(feature = "trace")]
pub type CallObservers = (Option<steeple_trace::ClientSpans>, ClientCalls);
/// What watches outgoing calls: metrics.
#[cfg(not(feature = "trace"))]
pub type CallObservers = ClientCalls;

/// Watches outgoing calls: of any tower service that takes `http::Request`. Made by [`Steeple::client_layer`].
///
/// # Examples
/// ```
/// use steeple::Steeple;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let steeple = Steeple::builder().without_log_setup().build()?;
/// // In place of `service_fn`: hyper's client or tonic's channel.
/// let client = steeple.client_layer().layer(service_fn(|_: http::Request<String>| async {
///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
/// }));
/// client.oneshot(http::Request::get("http://api.example/users/7").body(String::new())?).await?;
/// let page = steeple.metrics().render(None, None).body;
/// assert!(String::from_utf8_lossy(&page).contains("http_client_requests_total{"));
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct ClientLayer {
    observers: CallObservers,
    server: Option<Authority>,
}

impl ClientLayer {
    /// The `host:port` of the service, for clients whose requests do not say it: tonic's channel, whose endpoint has it in
    /// its URI.
    pub fn server(mut self, authority: Authority) -> Self {
        self.server = Some(authority);
        self
    }

    /// Passes `baggage` on to this host as well; `*.example.internal` stands for all below it, `*` for all.
    ///
    /// By default baggage goes to nobody: it may say who the user is.
    #[cfg(feature = "trace")]
    pub fn baggage_to(mut self, host: impl Into<String>) -> Self {
        self.observers.0 = self.observers.0.map(|spans| spans.baggage_to(host));
        self
    }

    /// Passes the trace on to this host, and to others that are named like this, but to no one else.
    #[cfg(feature = "trace")]
    pub fn only_to(mut self, host: impl Into<String>) -> Self {
        self.observers.0 = self.observers.0.map(|spans| spans.only_to(host));
        self
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = Caller<S, CallObservers>;

    fn layer(&self, inner: S) -> Self::Service {
        let calls = CallLayer::new(self.observers.clone());
        match &self.server {
            Some(server) => calls.server(server).layer(inner),
            None => calls.layer(inner),
        }
    }
}

impl Steeple {
    /// The layer for a client: a span for each call where there is a receiver, the trace passed on, and the metrics
    /// that the server has.
    ///
    /// Without a receiver, calls of an exchange pass on the trace that its caller sent, as it came, so that the log lines
    /// of all three have one `trace_id`; [`ClientLayer::only_to`] says to whom. A trace that begins here is not passed on
    /// then: whom it calls decides for itself what to sample. Without the feature `trace` nothing is.
    pub fn client_layer(&self) -> ClientLayer {
        let calls = self.metrics().client_calls().clone();
        #[cfg(feature = "trace")]
        let observers = {
            let nothing_recorded = || steeple_trace::Trace::builder().build().ok();
            let spans = match self.traces() {
                Some(traces) => Some(traces.client_spans()),
                None => nothing_recorded().map(|trace| trace.client_spans().without_spans()),
            };
            (spans, calls)
        };
        #[cfg(not(feature = "trace"))]
        let observers = calls;
        ClientLayer { observers, server: None }
    }
}
