//! The layer, without the types of what it observes with.

use steeple_core::{ObserveLayer, observe::Observe};
use tower_layer::Layer;

use crate::{Observers, Steeple};

/// Observes every exchange of a service. Made by [`Steeple::layer`]; goes outermost: the last `.layer()` of an Axum router.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
#[doc(alias = "middleware")]
pub struct SteepleLayer(ObserveLayer<Observers>);

impl SteepleLayer {
    pub(crate) fn new(observers: Observers) -> Self {
        Self(ObserveLayer::new(observers))
    }

    pub(crate) fn observers(&self) -> &Observers {
        self.0.observer()
    }
}

impl<S> Layer<S> for SteepleLayer {
    type Service = Observe<S, Observers>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}

impl Steeple {
    /// The layer that observes. Goes outermost: the last `.layer()` of an Axum router.
    pub fn layer(&self) -> SteepleLayer {
        self.inner().layer.clone()
    }
}
