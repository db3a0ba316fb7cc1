use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use steeple_core::clock;

use super::watcher::{Operation, Watcher};
use crate::{
    Metrics,
    encode::{Kind, Meta},
    family::Family,
};

/// Counts what a cache does, `cache_operations_total{operation,result}`, and times it,
/// `cache_operation_duration_seconds{operation}`. A cheap clone. Made by [`Metrics::cache`].
#[derive(Clone)]
pub struct Cache {
    counts: Arc<Family>,
    durations: Arc<Family>,
    watcher: Watcher,
}

/// How an operation on a cache went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheResult {
    /// The value was there.
    Hit,
    /// The value was not there.
    Miss,
    /// It worked: for operations that look nothing up.
    Ok,
    /// It failed.
    Error,
}

impl CacheResult {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

impl Cache {
    /// An operation begins. It counts with its result, or as `dropped` when its guard gets none; its duration is that of the guard.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> Result<(), steeple_metrics::BuildError> {
    /// let metrics = steeple_metrics::Metrics::new()?;
    /// let lookup = metrics.cache().start("get");
    /// let found: Option<u32> = None;
    /// match found {
    ///     Some(_) => lookup.hit(),
    ///     None => lookup.miss(),
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use = "an operation that is dropped counts as `dropped`"]
    pub fn start(&self, operation: &'static str) -> CacheOperation {
        CacheOperation { cache: self.clone(), operation, result: "dropped", started: clock::now() }
    }

    /// Records an operation that was measured elsewhere.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steeple_metrics::CacheResult;
    ///
    /// # fn main() -> Result<(), steeple_metrics::BuildError> {
    /// let metrics = steeple_metrics::Metrics::new()?;
    /// metrics.cache().record("get", CacheResult::Hit, Duration::from_micros(300));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "recordCacheOperation")]
    pub fn record(&self, operation: &str, result: CacheResult, duration: Duration) {
        self.count(operation, result.as_str());
        self.durations.observe(&[operation], duration);
    }

    fn count(&self, operation: &str, result: &str) {
        self.counts.add(&[operation, result], 1);
        self.watcher.tell(|| Operation::Cache { operation, result });
    }

    /// The counts by result.
    pub(crate) fn read(&self, mut each: impl FnMut(&str, u64)) {
        self.counts.counters(|values, count| {
            if let [_, result] = values {
                each(result, count);
            }
        });
    }

    /// Counts a lookup by whether it found something, without a duration, and returns what it found.
    pub fn lookup<T>(&self, found: Option<T>) -> Option<T> {
        self.count("get", if found.is_some() { "hit" } else { "miss" });
        found
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

/// An operation on a cache that is going on.
pub struct CacheOperation {
    cache: Cache,
    operation: &'static str,
    result: &'static str,
    started: Instant,
}

impl CacheOperation {
    /// It was there.
    pub fn hit(mut self) {
        self.result = CacheResult::Hit.as_str();
    }

    /// It was not there.
    pub fn miss(mut self) {
        self.result = CacheResult::Miss.as_str();
    }

    /// It worked: for operations that look nothing up.
    pub fn ok(mut self) {
        self.result = CacheResult::Ok.as_str();
    }

    /// It failed.
    pub fn error(mut self) {
        self.result = CacheResult::Error.as_str();
    }
}

impl Drop for CacheOperation {
    fn drop(&mut self) {
        self.cache.count(self.operation, self.result);
        self.cache.durations.observe(&[self.operation], clock::now().saturating_duration_since(self.started));
    }
}

impl fmt::Debug for CacheOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheOperation").field("operation", &self.operation).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Counts and times what a cache does. The families appear with the first call of this.
    pub fn cache(&self) -> &Cache {
        self.0.cache.get_or_init(|| {
            let meta = Meta::new(
                Kind::Counter,
                "cache_operations_total",
                "Operations on a cache, by how they went.",
                &["operation", "result"],
            );
            let counts = self.new_family(meta, None);
            let meta = Meta::new(
                Kind::Histogram,
                "cache_operation_duration_seconds",
                "Duration of operations on a cache.",
                &["operation"],
            );
            let durations = self.new_family(meta, Some(Arc::clone(&self.0.core.latency)));
            self.add_or_yield("cache", &[Arc::clone(&counts) as _, Arc::clone(&durations) as _]);
            Cache { counts, durations, watcher: self.0.watcher.clone() }
        })
    }
}
