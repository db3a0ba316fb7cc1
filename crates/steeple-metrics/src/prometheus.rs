//! The registry and the collectors of the `prometheus` crate, in version 0.14: the only module with its types.
//!
//! [`MetricsBuilder::registry`](crate::MetricsBuilder::registry), [`MetricsBuilder::merge`](crate::MetricsBuilder::merge) and
//! [`Metrics::register`] take them as they are.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use steeple_metrics::{Metrics, prometheus::registry};
//!
//! let metrics = Metrics::builder().merge(prometheus::default_registry().clone()).build()?;
//! let mails = prometheus::IntCounter::new("mails_total", "Mails sent.")?;
//! metrics.register(Box::new(mails.clone()))?;
//! mails.inc();
//! // What reads the registry by itself finds the same families in it.
//! let names: Vec<_> = registry(&metrics).gather().iter().map(|family| family.name().to_owned()).collect();
//! assert!(names.contains(&"mails_total".to_owned()) && names.contains(&"process_threads".to_owned()));
//! # Ok(()) }
//! ```

use prometheus::core;

use crate::{Collector, Metrics, Registry};

impl From<prometheus::Registry> for Registry {
    fn from(registry: prometheus::Registry) -> Self {
        Self(registry)
    }
}

impl<C: core::Collector + ?Sized + 'static> From<Box<C>> for Collector {
    fn from(collector: Box<C>) -> Self {
        Self::new(collector)
    }
}

/// The registry that the metrics live in.
pub fn registry(metrics: &Metrics) -> &prometheus::Registry {
    &metrics.0.registry.0
}
