use std::{fmt, sync::Arc};

use crate::{
    Metrics,
    encode::{Kind, Meta},
    family::Family,
};

/// Counts what a cache does: `cache_operations_total{operation,result}`. A cheap clone. Made by [`Metrics::cache`].
#[derive(Clone)]
pub struct Cache(Arc<Family>);

impl Cache {
    /// An operation begins. It counts when its guard says how it went, or as `dropped` if no one does.
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
        CacheOperation { family: Arc::clone(&self.0), operation, result: "dropped" }
    }

    /// The counts by result.
    pub(crate) fn read(&self, mut each: impl FnMut(&str, u64)) {
        self.0.counters(|values, count| {
            if let [_, result] = values {
                each(result, count);
            }
        });
    }

    /// A lookup went like this.
    pub fn lookup<T>(&self, found: Option<T>) -> Option<T> {
        self.0.add(&["get", if found.is_some() { "hit" } else { "miss" }], 1);
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
    family: Arc<Family>,
    operation: &'static str,
    result: &'static str,
}

impl CacheOperation {
    /// It was there.
    pub fn hit(mut self) {
        self.result = "hit";
    }

    /// It was not there.
    pub fn miss(mut self) {
        self.result = "miss";
    }

    /// It worked: for operations that look nothing up.
    pub fn ok(mut self) {
        self.result = "ok";
    }

    /// It failed.
    pub fn error(mut self) {
        self.result = "error";
    }
}

impl Drop for CacheOperation {
    fn drop(&mut self) {
        self.family.add(&[self.operation, self.result], 1);
    }
}

impl fmt::Debug for CacheOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheOperation").field("operation", &self.operation).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Counts what a cache does. The family appears with the first call of this.
    pub fn cache(&self) -> &Cache {
        self.0.cache.get_or_init(|| {
            let meta = Meta::new(
                Kind::Counter,
                "cache_operations_total",
                "Operations on a cache, by how they went.",
                &["operation", "result"],
            );
            let family = self.new_family(meta, None);
            self.add_or_yield("cache", &[Arc::clone(&family) as _]);
            Cache(family)
        })
    }
}
