//! Who else learns of queries and operations on a cache that are measured.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::Metrics;

/// A query or an operation on a cache that was measured.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// A query of a database.
    Query {
        /// What it does: `select`.
        operation: &'a str,
        /// To which table.
        table: &'a str,
        /// How long it took.
        duration: Duration,
    },
    /// An operation on a cache.
    Cache {
        /// What it does: `get`.
        operation: &'a str,
        /// What came of it: `hit`, `miss`, `ok`, `error`, `dropped`.
        result: &'a str,
    },
}

type Watch = dyn Fn(&Operation<'_>) + Send + Sync;

/// Shared by all that measure: set at most once.
#[derive(Clone, Default)]
pub(crate) struct Watcher(Arc<OnceLock<Box<Watch>>>);

impl Watcher {
    #[inline]
    pub(super) fn tell<'a>(&self, operation: impl FnOnce() -> Operation<'a>) {
        if let Some(watch) = self.0.get() {
            let operation = operation();
            // Timers report when they are dropped, also by unwinding: a second panic would end the process.
            let _panicked = catch_unwind(AssertUnwindSafe(|| watch(&operation)));
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("is_set", &self.0.get().is_some()).finish()
    }
}

impl Metrics {
    /// Calls this with every query and every operation on a cache that [`database`](Self::database) and [`cache`](Self::cache)
    /// measure, on the thread that measured it, inside of its exchange. It has to be quick; if it panics, that changes nothing else. Returns whether it was set: only
    /// the first one is.
    ///
    /// # Examples
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    ///
    /// # fn main() -> Result<(), steeple_metrics::BuildError> {
    /// let metrics = steeple_metrics::Metrics::new()?;
    /// let seen = Arc::new(AtomicU64::new(0));
    /// let counts = Arc::clone(&seen);
    /// assert!(metrics.watch_operations(move |_operation| { counts.fetch_add(1, Ordering::Relaxed); }));
    /// metrics.cache().start("get").hit();
    /// drop(metrics.database().start("select", "users"));
    /// assert_eq!(seen.load(Ordering::Relaxed), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch_operations(&self, watch: impl Fn(&Operation<'_>) + Send + Sync + 'static) -> bool {
        self.0.watcher.0.set(Box::new(watch)).is_ok()
    }
}
