use std::sync::Arc;

use tower_layer::Layer;

use super::{Apart, Observe};
use crate::Observer;

/// Watches every exchange of a service. See the [module docs](crate::observe).
///
/// # Examples
/// ```
/// use steeple_core::{ObserveLayer, RequestIds};
/// use tower::ServiceBuilder;
///
/// // One observer, or a tuple of them: one pass.
/// let layer = ObserveLayer::new((RequestIds::new(),));
/// let service = ServiceBuilder::new().layer(layer).service_fn(
///     |_: http::Request<String>| async {
///         Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello")))
///     },
/// );
/// # let _unused = service;
/// ```
#[doc(alias = "middleware")]
#[derive(Debug)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct ObserveLayer<O> {
    pub(super) observer: Arc<Apart<O>>,
}

impl<O: Observer> ObserveLayer<O> {
    /// Watches with this observer, or with these: a tuple of observers is one.
    pub fn new(observer: O) -> Self {
        Self { observer: Arc::new(Apart(observer)) }
    }

    /// The observer.
    pub fn observer(&self) -> &O {
        &self.observer.0
    }
}

impl<O> Clone for ObserveLayer<O> {
    fn clone(&self) -> Self {
        Self { observer: Arc::clone(&self.observer) }
    }
}

impl<S, O> Layer<S> for ObserveLayer<O> {
    type Service = Observe<S, O>;

    fn layer(&self, inner: S) -> Self::Service {
        Observe::new(inner, Arc::clone(&self.observer))
    }
}
