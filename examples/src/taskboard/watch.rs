//! What the board tells Steeple beyond the defaults.

use std::time::Duration;

use steeple::{
    RecordedError, SteepleBuilder, alerts::Rules, events::sink::Ndjson, metrics::indicator::ResourceOptions,
};

use super::{App, cli::Config, grpc};

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

/// Adds what the program's flags ask for: where events go, which alerts there are, how much processor time and memory there is.
pub fn configure(config: &Config, options: SteepleBuilder) -> SteepleBuilder {
    const SHORT: Duration = Duration::from_secs(2);
    let mut resources = ResourceOptions::new();
    if let Some(cores) = config.cpu_limit {
        resources = resources.cpu_limit(f64::from(cores) / 100.0);
    }
    if let Some(mib) = config.memory_limit {
        resources = resources.memory_limit(u64::from(mib) << 20);
    }
    let mut options = options.metrics(|metrics| metrics.resources(resources));
    if let Some(path) = &config.events {
        // Where the environment has set a system for them, they go there alone.
        options = options.events(|events| if events.has_sinks() { events } else { events.sink(Ndjson::new(path)) });
    }
    if !config.short_windows {
        return options.alerts(|alerts| alerts.rules(Rules::mission().guarded()));
    }
    options.alerts(|alerts| {
        let short = Rules::mission()
            .map(|rule| rule.over(Duration::from_secs(10)).hold(SHORT).keep_firing(SHORT).cooldown(SHORT));
        alerts.rules(short).group_wait(SHORT)
    })
}
