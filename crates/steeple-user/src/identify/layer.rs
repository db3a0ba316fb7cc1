use http::request;
use steeple_core::User;
use tower_layer::Layer;

use super::Identify;

/// Tells the exchange who the user is. See the [module docs](crate::identify).
///
/// Transparent: the future, the response and the error are the inner service's. Without a layer that watches it does
/// nothing. If the function panics, the user stays unknown; the request goes on.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct IdentifyLayer<F> {
    identify: F,
}

impl<F> IdentifyLayer<F>
where
    F: Fn(&request::Parts) -> Option<User> + Clone,
{
    /// Finds the user in the request's head.
    pub fn new(identify: F) -> Self {
        Self { identify }
    }
}

impl IdentifyLayer<()> {
    /// Finds the user in an extension of the request that the authentication has put there. `user` returns a
    /// [`User`], or an `Option` of one.
    pub fn extension<T, R>(
        user: impl Fn(&T) -> R + Clone,
    ) -> IdentifyLayer<impl Fn(&request::Parts) -> Option<User> + Clone>
    where
        T: Send + Sync + 'static,
        R: Into<Option<User>>,
    {
        IdentifyLayer::new(move |request: &request::Parts| user(request.extensions.get::<T>()?).into())
    }
}

impl<S, F: Clone> Layer<S> for IdentifyLayer<F> {
    type Service = Identify<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Identify::new(inner, self.identify.clone())
    }
}
