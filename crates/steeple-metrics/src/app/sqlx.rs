use std::{fmt, time::Duration};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::database::Database;
use crate::Metrics;

/// The target at which `sqlx` logs each statement that it ran.
const TARGET: &str = "sqlx::query";

/// A `tracing` layer that times what `sqlx` runs. Made by [`Metrics::sqlx_layer`].
pub struct SqlxLayer(Database);

impl Metrics {
    /// Times every statement that `sqlx` runs, without any code at the queries: from its `tracing` events.
    ///
    /// `sqlx` writes them at `DEBUG` (unless `ConnectOptions::log_statements` sets another level), so a subscriber has to let
    /// `sqlx::query` through at that level; filters of other layers do not matter if they are per layer. Of a statement only
    /// its operation and its table are kept. `sqlx` logs nothing about the `BEGIN`, `COMMIT` and `ROLLBACK` of its transactions:
    /// they are not counted.
    ///
    /// # Examples
    /// ```
    /// use tracing_subscriber::{filter::LevelFilter, layer::SubscriberExt, Layer};
    /// # fn main() -> Result<(), steeple_metrics::BuildError> {
    /// let metrics = steeple_metrics::Metrics::new()?;
    /// let subscriber = tracing_subscriber::registry()
    ///     .with(metrics.sqlx_layer())
    ///     .with(tracing_subscriber::fmt::layer().with_filter(LevelFilter::INFO));
    /// # drop(subscriber);
    /// # Ok(()) }
    /// ```
    pub fn sqlx_layer(&self) -> SqlxLayer {
        SqlxLayer(self.database().clone())
    }
}

impl fmt::Debug for SqlxLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlxLayer").finish_non_exhaustive()
    }
}

/// The fields of an event that matter.
#[derive(Default)]
struct Fields {
    summary: String,
    statement: String,
    seconds: Option<f64>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.statement),
            _ => (),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if field.name() == "elapsed_secs" {
            self.seconds = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "summary" => self.summary = format!("{value:?}"),
            "db.statement" => self.statement = format!("{value:?}"),
            _ => (),
        }
    }
}

impl<S: Subscriber> Layer<S> for SqlxLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if !is_query(event.metadata()) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let duration = fields.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        if let Some(duration) = duration {
            // The summary is the statement's first words; the statement is empty where they are all of it.
            let sql = if fields.statement.trim().is_empty() { &fields.summary } else { &fields.statement };
            self.0.record_statement(sql, duration);
        }
    }
}

fn is_query(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET
}
