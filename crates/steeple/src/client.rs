//! Outgoing calls, observed by whatever is on.

use http::uri::Authority;
use steeple_core::call::{CallLayer, Caller};
use steeple_metrics::ClientCalls;
use tower_layer::Layer;

use crate::{Steeple, integrations::Calls};

/// What observes outgoing calls: spans where there is a receiver, else the caller's trace passed on; metrics always.
pub type CallObservers = (Calls, ClientCalls);

/// Observes outgoing calls: of any tower service that takes `http::Request`. Made by [`Steeple::client_layer`].
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
    pub(crate) observers: CallObservers,
    server: Option<Authority>,
}

impl ClientLayer {
    /// The `host:port` of the service, for clients whose requests do not have it: tonic's channel has it in the URI of its
    /// endpoint.
    pub fn server(mut self, authority: Authority) -> Self {
        self.server = Some(authority);
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
    /// Without a receiver, calls of an exchange pass on the trace that its caller sent, unchanged, so that the log lines
    /// of all three have one `trace_id`; with the feature `trace`, `ClientLayer::only_to` restricts the hosts. A trace that
    /// begins here is not passed on then: the called service decides about sampling. Without the feature `trace` no trace
    /// is passed on.
    pub fn client_layer(&self) -> ClientLayer {
        let calls = self.metrics().client_calls().clone();
        ClientLayer { observers: (self.running().call_observer(), calls), server: None }
    }
}
