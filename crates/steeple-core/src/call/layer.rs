use std::sync::Arc;

use http::uri::Authority;
use tower_layer::Layer;

use super::{CallObserver, Caller, info::Server};

/// Watches every call of a client. See the [module docs](crate::call).
#[derive(Debug)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct CallLayer<O> {
    observer: Arc<O>,
    server: Option<Arc<Server>>,
}

impl<O: CallObserver> CallLayer<O> {
    /// Watches with this observer, or with these: a tuple of observers is one.
    pub fn new(observer: O) -> Self {
        Self { observer: Arc::new(observer), server: None }
    }

    /// The `host:port` of the service, for clients whose requests do not have it: tonic's channel, whose endpoint has it in
    /// its URI.
    pub fn server(mut self, authority: &Authority) -> Self {
        self.server = Server::of(authority).map(Arc::new);
        self
    }

    /// The observer.
    pub fn observer(&self) -> &O {
        &self.observer
    }
}

impl<O> Clone for CallLayer<O> {
    fn clone(&self) -> Self {
        Self { observer: Arc::clone(&self.observer), server: self.server.clone() }
    }
}

impl<S, O> Layer<S> for CallLayer<O> {
    type Service = Caller<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Caller::new(inner, Arc::clone(&self.observer), self.server.clone())
    }
}
