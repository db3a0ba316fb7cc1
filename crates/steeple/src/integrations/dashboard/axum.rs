use axum::Router;

use crate::Steeple;

impl Steeple {
    /// The page about this service at `/steeple`, to be merged into the service's router; without it, the dashboard is off.
    /// From this machine alone, unless `DASHBOARD_TOKEN`, `DASHBOARD_USER` with `DASHBOARD_PASSWORD`, or an
    /// [`Access`](crate::dashboard::Access) in code sets another. Empty where `STEEPLE_DISABLE` has `dashboard`.
    ///
    /// ```
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// # let steeple = steeple::Steeple::builder().without_log_setup().build()?;
    /// let app: axum::Router = axum::Router::new()
    ///     .merge(steeple.routes())
    ///     .merge(steeple.dashboard())
    ///     .layer(steeple.layer());
    /// # let _unused = app;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dashboard<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        self.dashboard_handle().map_or_else(Router::new, |dashboard| dashboard.routes())
    }
}
