//! A second listener, for operators.

use std::{fmt, io};

use axum::Router;

use super::{App, Listener, server::Server};
use crate::{Steeple, axum::AdminRoutes};

impl Steeple {
    /// Serves [`routes`](Self::routes), and the dashboard where its feature is on, at another address, in a task: metrics and
    /// probes are not for the same clients as the service. Call it before [`serve`](Self::serve); it ends after that has
    /// answered its last request. Returns the listener's address.
    ///
    /// # Errors
    /// When the address cannot be bound, as [`bind`](Self::bind).
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let steeple = steeple::Steeple::builder().without_log_setup().build()?;
    /// # let app: axum::Router = axum::Router::new();
    /// let admin = steeple.serve_admin("127.0.0.1:0").await?; // `curl http://{admin}/metrics`
    /// let listener = steeple.bind("127.0.0.1:0").await?;
    /// # steeple.shutdown().begin();
    /// steeple.serve(listener, app.layer(steeple.layer())).await?;
    /// # let _address = admin;
    /// # Ok(()) }
    /// ```
    pub async fn serve_admin(&self, address: impl fmt::Display) -> io::Result<String> {
        self.serve_admin_with(address, Router::new()).await
    }

    /// [`serve_admin`](Self::serve_admin), with more routes.
    ///
    /// # Errors
    /// As [`serve_admin`](Self::serve_admin).
    pub async fn serve_admin_with(&self, address: impl fmt::Display, more: impl Into<App>) -> io::Result<String> {
        let more = more.into();
        let listener: Listener = self.bind(address).await?;
        let address = listener.address();
        let inner = self.inner();
        let integrations = inner.started.get().map(|AdminRoutes(routes)| routes(self)).unwrap_or_default();
        let app = more.0.merge(self.routes()).merge(integrations).layer(self.layer());
        inner.summary.listens("admin", address.clone());
        let mut server = Server::new(App::from(app), inner.connections, None);
        let serving = tokio::spawn(async move { match server.accept(&listener).await {} });
        inner.tasks.add(serving.abort_handle());
        Ok(address)
    }
}
