//! What the board tells Steeple beyond the defaults.

use std::time::Duration;

use steeple::{RecordedError, SteepleBuilder};

use super::{App, grpc};

/// How long open requests may take once the end has begun.
const GRACE: Duration = Duration::from_secs(5);

/// Adds to the options what only the board knows: whether its database answers, and which gRPC methods it has.
pub fn watch(app: &App, options: SteepleBuilder) -> SteepleBuilder {
    let database = app.clone();
    let methods = grpc::METHODS.into_iter();
    options
        .readiness("database", move || {
            let app = database.clone();
            // With its sources, which a `StoreError` does not say by itself.
            async move { app.ready().await.map_err(|error| RecordedError::of(&error)) }
        })
        .naming(|names| names.grpc_methods(methods.clone().map(|(method, _)| method)))
        .metrics(|metrics| {
            let metrics = metrics.build_info("taskboard", env!("CARGO_PKG_VERSION"));
            methods.fold(metrics, |metrics, (method, kind)| metrics.grpc_method(method, kind))
        })
        .drain_timeout(GRACE)
}
