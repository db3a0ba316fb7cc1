//! What each route promises, and how it is measured where the defaults do not fit.

use std::time::Duration;

use steeple::metrics::{Buckets, Objective, RouteLayer, RouteMetrics, RouteMetricsBuilder};

/// A project is there nearly always, and nearly always at once.
pub(super) fn projects() -> RouteMetricsBuilder {
    RouteMetrics::builder().objective(Objective::success(0.999).latency(Duration::from_millis(250), 0.99))
}

/// Whoever ticks off a task sees it ticked off.
pub(super) fn completions() -> RouteMetricsBuilder {
    RouteMetrics::builder().objective(Objective::success(0.995))
}

/// An export takes as long as its client reads.
pub(super) fn exports() -> RouteMetricsBuilder {
    RouteMetrics::builder().buckets(Buckets::new([0.01, 0.1, 1.0, 10.0, 60.0, 300.0]))
}

/// Binds options to a route. Those that cannot be used change nothing; a test holds that these can.
pub(super) fn layer(options: RouteMetricsBuilder) -> Option<RouteLayer> {
    options.build().ok().map(|route| route.layer())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_option_can_be_used() {
        for options in [super::projects(), super::completions(), super::exports()] {
            options.build().unwrap();
        }
    }
}
