use steeple_core::Text;
use tower_layer::Layer;

use super::{ReportRoute, template::Template};
use crate::rules::configured;

/// Reports the template of a route upward, to the layer that watches. See the [module docs](crate::report).
///
/// Transparent: the future, the response and the error are the inner service's. Without a layer that watches it
/// does nothing.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until a service is wrapped in it"]
pub struct ReportRouteLayer(pub(super) Template);

impl ReportRouteLayer {
    /// Reports this template: for a service that no router has as a route, on any stack.
    ///
    /// A template that ends in a catch-all (`/admin/{*rest}`) gives way to a template that an inner layer reports.
    ///
    /// # Examples
    /// ```
    /// use steeple_transaction::ReportRouteLayer;
    /// use tower::ServiceBuilder;
    ///
    /// let users = ServiceBuilder::new().layer(ReportRouteLayer::template("/users/{id}")).service_fn(
    ///     |_: http::Request<()>| async { Ok::<_, std::convert::Infallible>(http::Response::new(())) },
    /// );
    /// # let _unused = users;
    /// ```
    pub fn template(template: impl Into<Text>) -> Self {
        Self(Template::Fixed(configured(template.into())))
    }

    /// Reports the route that Axum matched, with the prefixes of the routers around it. Goes into `Router::layer` of
    /// the inner router.
    #[cfg(feature = "axum")]
    pub fn matched_path() -> Self {
        Self(Template::Matched)
    }
}

impl<S> Layer<S> for ReportRouteLayer {
    type Service = ReportRoute<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReportRoute::new(inner, self.0.clone())
    }
}
