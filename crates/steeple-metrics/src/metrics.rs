use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak},
};

use steeple_core::ObserveLayer;

use crate::{
    BuildError, Cache, Database, MetricsBuilder, Registry,
    app::{connections::Pools, named::Named},
    append::Appended,
    core::Core,
    encode::Source,
    registry,
};

/// The metrics of a service. A cheap clone, and an [`Observer`](steeple_core::Observer).
///
/// # Examples
/// ```
/// use steeple_metrics::Metrics;
///
/// # fn main() -> Result<(), steeple_metrics::BuildError> {
/// let metrics = Metrics::builder().build()?;
/// let layer = metrics.layer();
/// let page = metrics.render(None, None);
/// assert_eq!(page.content_type, "text/plain; version=0.0.4; charset=utf-8");
/// # let _unused = layer;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Metrics(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    pub(crate) registry: Registry,
    /// What the registry does to names, from the first scrape on.
    pub(crate) naming: OnceLock<registry::Naming>,
    /// Other registries whose families appear in the same answer.
    pub(crate) merged: Vec<Registry>,
    /// Pages of other recorders.
    pub(crate) appended: Vec<Appended>,
    /// All that is ours, in the order in which it is printed.
    pub(crate) sources: RwLock<Vec<Arc<dyn Source>>>,
    pub(crate) cache: OnceLock<Cache>,
    pub(crate) database: OnceLock<Database>,
    pub(crate) watcher: crate::app::watcher::Watcher,
    pub(crate) pools: OnceLock<Arc<Pools>>,
    pub(crate) named: Named,
    /// Names that were warned of because they are in two places.
    pub(crate) warned: Mutex<HashSet<String>>,
    pub(crate) history: OnceLock<crate::indicator::History>,
    pub(crate) today: OnceLock<crate::indicator::Today>,
    pub(crate) client: OnceLock<crate::client::ClientCalls>,
    #[cfg(feature = "push")]
    pub(crate) pushes: OnceLock<Arc<crate::family::Family>>,
    #[cfg(feature = "tokio-runtime")]
    pub(crate) runtime: OnceLock<()>,
}

/// Metrics that this does not keep alive: for what the metrics themselves keep, such as a collector in their registry. Made by
/// [`Metrics::downgrade`].
#[derive(Clone)]
pub struct WeakMetrics(Weak<Inner>);

impl WeakMetrics {
    /// The metrics, unless the last handle is gone.
    pub fn upgrade(&self) -> Option<Metrics> {
        self.0.upgrade().map(Metrics)
    }
}

impl fmt::Debug for WeakMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakMetrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// A handle that does not keep the metrics alive.
    pub fn downgrade(&self) -> WeakMetrics {
        WeakMetrics(Arc::downgrade(&self.0))
    }

    /// Metrics with all defaults, in a new registry.
    ///
    /// # Errors
    /// Currently infallible; see [`MetricsBuilder::build`].
    pub fn new() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    /// Options, all with a default.
    pub fn builder() -> MetricsBuilder {
        MetricsBuilder::default()
    }

    /// A layer that measures.
    pub fn layer(&self) -> ObserveLayer<Self> {
        ObserveLayer::new(self.clone())
    }

    /// Adds families to the registry and to the page.
    pub(crate) fn add(&self, source: Arc<dyn Source>) -> Result<(), BuildError> {
        // OpenMetrics calls a counter `jobs_total` by the name of a gauge `jobs`.
        let taken = self.0.sources.read().unwrap_or_else(PoisonError::into_inner).iter().any(|other| {
            let others = other.families();
            source.families().iter().any(|new| others.iter().any(|old| new.is_called_like(old)))
        });
        if taken {
            return Err(BuildError::registry(prometheus::Error::AlreadyReg));
        }
        registry::register(&self.0.registry, self.0.core.id(), Arc::clone(&source), false)?;
        #[cfg(feature = "otel")]
        if let Some(otel) = &self.0.core.otel {
            otel.watch(&source);
        }
        self.0.sources.write().unwrap_or_else(PoisonError::into_inner).push(source);
        Ok(())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("registry", &self.0.registry).finish_non_exhaustive()
    }
}
