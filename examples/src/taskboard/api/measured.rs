//! What each route promises, and how it is measured where the defaults do not fit.

use std::time::Duration;

use steeple::{
    RouteLayer, RouteOptions,
    metrics::{Buckets, Objective, RouteMetrics},
};

/// A project is there nearly always, and nearly always at once.
pub(super) fn projects() -> RouteOptions {
    RouteOptions::new().objective(Objective::success(0.999).latency(Duration::from_millis(250), 0.99))
}

/// A user who completes a task sees it completed.
pub(super) fn completions() -> RouteOptions {
    RouteOptions::new().objective(Objective::success(0.995))
}

/// An export takes as long as its client reads.
pub(super) fn exports() -> RouteOptions {
    RouteOptions::new().buckets(Buckets::new([0.01, 0.1, 1.0, 10.0, 60.0, 300.0]))
}

/// Binds options to a route. Those that cannot be used change nothing; a test holds that these can.
pub(super) fn layer(options: RouteOptions) -> Option<RouteLayer> {
    options.layer().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_option_can_be_used() {
        for options in [super::projects(), super::completions(), super::exports()] {
            assert!(super::layer(options).is_some());
        }
    }
}
