//! What the page shows of other parts of the process, and changes there: the application hands in functions.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::Serialize;

/// A span of a trace that was kept. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpanRecord {
    /// Its id, in hex.
    pub id: String,
    /// The id of the span that it is in; of another process for the first.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// `server`, `client`, `internal`, `producer` or `consumer`.
    pub kind: &'static str,
    /// When it began, in microseconds since the Unix epoch.
    pub start_us: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Whether it failed.
    pub failed: bool,
    /// Names and values.
    pub attributes: Vec<(String, String)>,
}

/// Where the spans of traces are found. Called while somebody looks, never on a request's path.
pub trait TraceSource: Send + Sync {
    /// Whether there are spans of a trace, by its id in hex. Cheap: it is asked for each request that is listed.
    fn has(&self, trace_id: &str) -> bool;

    /// The spans of a trace. Empty if none were kept, or they have been dropped since.
    fn spans(&self, trace_id: &str) -> Vec<SpanRecord>;
}

/// What waits for the sinks of events, and what they will never get.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outbox {
    /// Whether events wait on disk.
    pub is_durable: bool,
    /// Each sink.
    pub sinks: Vec<OutboxSink>,
    /// Events that a sink refused for good, the newest first.
    pub dead_letters: Vec<DeadLetter>,
}

/// What waits for one sink.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OutboxSink {
    /// Its name.
    pub sink: String,
    /// Events that wait.
    pub waiting: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them was tracked, in milliseconds since the Unix epoch.
    pub oldest: Option<u64>,
    /// Events that arrived.
    pub delivered: u64,
    /// Events that were refused for good.
    pub dead: u64,
    /// Events that were sent without an answer: they may have arrived.
    pub in_doubt: u64,
    /// Events that the sink did not get: the visitor refused, or nothing identifies the visitor.
    pub skipped: u64,
    /// Dead letters that are kept.
    pub dead_letters: u64,
}

/// An event that was refused for good.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DeadLetter {
    /// Which sink refused it.
    pub sink: String,
    /// The event's name.
    pub event: String,
    /// Its id.
    pub id: String,
    /// When it was tracked, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Why; scrubbed.
    pub why: String,
}

/// What the log shows now.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LogLevel {
    /// The filter in force: `info,my_app=debug`.
    pub filter: String,
    /// Until when, in milliseconds since the Unix epoch, if it was changed for a while.
    pub until: Option<u64>,
}

/// Changes how much is logged.
pub trait LogControl: Send + Sync {
    /// The filter in force.
    fn current(&self) -> LogLevel;

    /// Shows more or less for a while; after that, what the service was started with is in force again, by itself.
    ///
    /// # Errors
    /// The text for people, for a filter that is not valid.
    fn set(&self, filter: &str, time: Duration) -> Result<(), String>;

    /// Ends that now.
    fn reset(&self);
}

type Waiting = dyn Fn() -> Pin<Box<dyn Future<Output = Outbox> + Send>> + Send + Sync;

/// All of them: none by default.
#[derive(Clone, Default)]
pub(crate) struct Seams {
    pub(crate) traces: Option<Arc<dyn TraceSource>>,
    pub(crate) outbox: Option<Arc<Waiting>>,
    pub(crate) log: Option<Arc<dyn LogControl>>,
}

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seams")
            .field("traces", &self.traces.is_some())
            .field("outbox", &self.outbox.is_some())
            .field("log", &self.log.is_some())
            .finish()
    }
}
