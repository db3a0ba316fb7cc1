use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use steeple_core::clock;

use super::{
    statement::Statement,
    watcher::{Operation, Watcher},
};
use crate::{
    Metrics,
    encode::{Kind, Meta},
    family::Family,
};

/// Times queries: `database_query_duration_seconds{operation,table}`. A cheap clone. Made by [`Metrics::database`].
///
/// # Examples
/// ```
/// # async fn fetch() -> Option<u32> { None }
/// # async fn handler(metrics: steeple_metrics::Metrics) {
/// let database = metrics.database();
/// let user = database.time("select", "users", fetch()).await;
/// # drop(user);
/// // Or from the statement, of which only these two words are kept:
/// let timer = database.start_statement("SELECT * FROM users WHERE email = 'ann@example.org'");
/// drop(timer);
/// # }
/// ```
#[derive(Clone)]
pub struct Database(Arc<Timed>);

struct Timed {
    family: Arc<Family>,
    watcher: Watcher,
}

impl Timed {
    fn record(&self, operation: &str, table: &str, duration: Duration) {
        self.family.observe(&[operation, table], duration);
        self.watcher.tell(|| Operation::Query { operation, table, duration });
    }
}

impl Database {
    /// Measures from now until the timer is dropped, whatever the reason.
    #[must_use = "dropping the timer records it"]
    pub fn start(&self, operation: &'static str, table: &'static str) -> QueryTimer {
        QueryTimer {
            timed: Arc::clone(&self.0),
            operation: operation.into(),
            table: table.into(),
            started: clock::now(),
        }
    }

    /// The same, with operation and table read from an SQL statement. Its literals go nowhere.
    #[must_use = "dropping the timer records it"]
    pub fn start_statement(&self, sql: &str) -> QueryTimer {
        let Statement { operation, table } = Statement::parse(sql);
        QueryTimer { timed: Arc::clone(&self.0), operation: operation.into(), table, started: clock::now() }
    }

    /// Measures a query, to its end or to where it is dropped.
    pub async fn time<F: Future>(&self, operation: &'static str, table: &'static str, query: F) -> F::Output {
        let _timer = self.start(operation, table);
        query.await
    }

    /// Records a query that was measured elsewhere.
    #[doc(alias = "recordQuery")]
    pub fn record(&self, operation: &str, table: &str, duration: Duration) {
        self.0.record(operation, table, duration);
    }

    /// Records a query that was measured elsewhere, with operation and table read from its statement.
    pub fn record_statement(&self, sql: &str, duration: Duration) {
        let Statement { operation, table } = Statement::parse(sql);
        self.0.record(operation, &table, duration);
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

/// Records a query's duration when it is dropped.
pub struct QueryTimer {
    timed: Arc<Timed>,
    operation: std::borrow::Cow<'static, str>,
    table: std::borrow::Cow<'static, str>,
    started: Instant,
}

impl Drop for QueryTimer {
    fn drop(&mut self) {
        let duration = clock::now().saturating_duration_since(self.started);
        self.timed.record(&self.operation, &self.table, duration);
    }
}

impl fmt::Debug for QueryTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryTimer").field("operation", &self.operation).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Times queries. The family appears with the first call of this.
    pub fn database(&self) -> &Database {
        self.0.database.get_or_init(|| {
            let meta = Meta::new(
                Kind::Histogram,
                "database_query_duration_seconds",
                "Duration of database queries.",
                &["operation", "table"],
            );
            let family = self.new_family(meta, Some(Arc::clone(&self.0.core.latency)));
            self.add_or_yield("database", &[Arc::clone(&family) as _]);
            Database(Arc::new(Timed { family, watcher: self.0.watcher.clone() }))
        })
    }
}
