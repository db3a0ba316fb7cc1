use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    Metrics,
    encode::{Encoder, Kind, Meta, Number, Source},
    series::Labels,
};

/// The connections of a database pool.
///
/// # Examples
/// ```
/// let now = steeple_metrics::Connections::new(7, 3, 20);
/// assert_eq!((now.used, now.idle, now.max), (7, 3, 20));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connections {
    /// Connections that run a query or are lent out.
    pub used: u32,
    /// Connections that are open and wait.
    pub idle: u32,
    /// The most connections that the pool may open.
    pub max: u32,
}

impl Connections {
    /// So many used, idle and at most.
    pub fn new(used: u32, idle: u32, max: u32) -> Self {
        Self { used, idle, max }
    }

    /// The part of the pool's most connections that is in use, from 0 to 1.
    pub fn used_ratio(&self) -> f64 {
        if self.max == 0 { 0.0 } else { f64::from(self.used) / f64::from(self.max) }
    }
}

type Read = dyn Fn() -> Connections + Send + Sync;

/// The pools that are watched, each with what reads it.
#[derive(Default)]
pub(crate) struct Pools(RwLock<Vec<Arc<Read>>>);

impl Pools {
    /// All pools together. A pool whose function panics is left out.
    fn read(&self) -> Connections {
        let pools = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let counts = pools.iter().filter_map(|pool| catch_unwind(AssertUnwindSafe(|| pool())).ok());
        counts.fold(Connections::default(), |sum, pool| Connections {
            used: sum.used.saturating_add(pool.used),
            idle: sum.idle.saturating_add(pool.idle),
            max: sum.max.saturating_add(pool.max),
        })
    }
}

fn families() -> [Meta; 2] {
    [
        Meta::new(Kind::Gauge, "database_connections", "Open database connections, by what they do.", &["state"]),
        Meta::new(Kind::Gauge, "database_connections_max", "The most database connections that may be open.", &[]),
    ]
}

impl Source for Pools {
    fn families(&self) -> Vec<Meta> {
        families().into()
    }

    fn write(&self, to: &mut dyn Encoder) {
        let [connections, max] = families();
        let now = self.read();
        to.begin(&connections);
        for (state, count) in [("used", now.used), ("idle", now.idle)] {
            to.value(&Labels::new([("state".into(), state.into())]), Number::Whole(count.into()));
        }
        to.begin(&max);
        to.value(&Labels::new([]), Number::Whole(now.max.into()));
    }
}

impl Metrics {
    /// Shows a database pool's connections, as `database_connections{state}` and `database_connections_max`. Several pools
    /// are added up. `read` is called at each scrape, and must not block.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), steeple_metrics::BuildError> {
    /// # struct Pool; impl Pool { fn size(&self) -> u32 { 10 } fn num_idle(&self) -> u32 { 3 } }
    /// # let pool = Pool;
    /// use steeple_metrics::Connections;
    /// let metrics = steeple_metrics::Metrics::new()?;
    /// metrics.watch_connections(move || Connections::new(pool.size() - pool.num_idle(), pool.num_idle(), 20));
    /// # Ok(()) }
    /// ```
    pub fn watch_connections(&self, read: impl Fn() -> Connections + Send + Sync + 'static) {
        let pools = self.0.pools.get_or_init(|| {
            let pools = Arc::new(Pools::default());
            self.add_or_yield("database connections", &[Arc::clone(&pools) as _]);
            pools
        });
        pools.0.write().unwrap_or_else(PoisonError::into_inner).push(Arc::new(read));
    }

    pub(crate) fn read_connections(&self) -> Option<Connections> {
        self.0.pools.get().map(|pools| pools.read())
    }
}
