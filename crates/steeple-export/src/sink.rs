use std::{borrow::Cow, sync::Arc, time::Instant};

use crate::{DropReason, Reason};

/// What can be asked of everything that sends, writes or stores.
///
/// # Examples
/// Several sinks end together, under one deadline:
/// ```
/// use std::{sync::Arc, time::{Duration, Instant}};
/// use steeple_export::{Sink, shutdown_all};
///
/// fn end(sinks: &[Arc<dyn Sink>]) {
///     for report in shutdown_all(sinks, Instant::now() + Duration::from_secs(5)) {
///         if report.left > 0 {
///             eprintln!("{}: {} items were not sent in time", report.sink, report.left);
///         }
///     }
/// }
/// # end(&[]);
/// ```
pub trait Sink: Send + Sync {
    /// The label `sink` of its metrics: short, the same for the life of the process.
    fn name(&self) -> &str;

    /// What became of everything so far.
    fn stats(&self) -> Stats;

    /// Has everything that was accepted so far sent at once. Does not wait.
    fn begin_flush(&self, deadline: Instant) -> Flush;

    /// The same, and accepts nothing more. Items that are unsent at the deadline stay where they are: [`FlushReport::left`].
    fn begin_shutdown(&self, deadline: Instant) -> Flush;

    /// Waits for what a flush began, up to its deadline. Blocks the thread; works in any runtime, in none and in a panic hook.
    fn wait(&self, flush: &Flush) -> FlushReport;

    /// Sends everything that was accepted so far. Blocks the thread up to the deadline.
    fn flush(&self, deadline: Instant) -> FlushReport {
        self.wait(&self.begin_flush(deadline))
    }

    /// Sends everything that was accepted so far, and accepts nothing more. Blocks the thread up to the deadline.
    fn shutdown(&self, deadline: Instant) -> FlushReport {
        self.wait(&self.begin_shutdown(deadline))
    }
}

/// Flushes sinks side by side, under one deadline. Blocks the thread up to the deadline.
pub fn flush_all(sinks: &[Arc<dyn Sink>], deadline: Instant) -> Vec<FlushReport> {
    let flushes: Vec<_> = sinks.iter().map(|sink| sink.begin_flush(deadline)).collect();
    sinks.iter().zip(&flushes).map(|(sink, flush)| sink.wait(flush)).collect()
}

/// Shuts sinks down side by side, under one deadline. Blocks the thread up to the deadline.
pub fn shutdown_all(sinks: &[Arc<dyn Sink>], deadline: Instant) -> Vec<FlushReport> {
    let flushes: Vec<_> = sinks.iter().map(|sink| sink.begin_shutdown(deadline)).collect();
    sinks.iter().zip(&flushes).map(|(sink, flush)| sink.wait(flush)).collect()
}

/// A flush that has begun: hand it to [`Sink::wait`] of the same sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "nothing waits for the flush until it is handed to `Sink::wait`"]
pub struct Flush {
    deadline: Instant,
    marks: [u64; 4],
}

impl Flush {
    /// For a sink's own use: a deadline, and four numbers that the sink alone understands.
    pub const fn new(deadline: Instant, marks: [u64; 4]) -> Self {
        Self { deadline, marks }
    }

    /// When waiting ends.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What the sink put in.
    pub const fn marks(&self) -> [u64; 4] {
        self.marks
    }
}

/// What a flush came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// The sink's name.
    pub sink: Cow<'static, str>,
    /// Items that arrived since the flush began.
    pub exported: u64,
    /// Items that were dropped since the flush began.
    pub dropped: u64,
    /// Items that were neither when time was up.
    pub left: u64,
}

impl FlushReport {
    /// A report, for a sink's own use.
    pub const fn new(sink: Cow<'static, str>, exported: u64, dropped: u64, left: u64) -> Self {
        Self { sink, exported, dropped, left }
    }

    /// Whether everything that was accepted when the flush began has arrived.
    pub const fn is_complete(&self) -> bool {
        self.dropped == 0 && self.left == 0
    }
}

/// What became of everything that a sink was handed, since the start of the process.
///
/// At any moment: `accepted` = `exported` + [`dropped_total`](Self::dropped_total) + `queued_items`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Items that were handed over, including those that were dropped at once.
    pub accepted: u64,
    /// Items that the receiver took.
    pub exported: u64,
    /// Items that wait or are being sent; after a shutdown, those that were left.
    pub queued_items: u64,
    /// Bytes of these, as estimated.
    pub queued_bytes: u64,
    /// How the receiver does.
    pub health: Health,
    dropped: [u64; DropReason::ALL.len()],
}

impl Stats {
    /// Zero of everything, for a sink's own use.
    pub const fn new() -> Self {
        Self {
            accepted: 0,
            exported: 0,
            queued_items: 0,
            queued_bytes: 0,
            health: Health::Ok,
            dropped: [0; DropReason::ALL.len()],
        }
    }

    /// Items that were dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or_default()
    }

    /// Items that were dropped.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().copied().fold(0, u64::saturating_add)
    }

    /// Adds to the dropped items, for a sink's own use.
    pub fn add_dropped(&mut self, reason: DropReason, items: u64) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count = count.saturating_add(items);
        }
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

/// How a sink's receiver does. Changes are logged under the target `steeple::export`: trouble at most once a minute, and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// The last batch was accepted, or no batch was sent.
    Ok,
    /// The last batch was not accepted.
    Failing(Reason),
    /// The receiver does not accept the key.
    Paused(Reason),
    /// The receiver turned the sink off.
    Disabled(Reason),
}

impl Health {
    /// `ok`, `failing`, `paused` or `disabled`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failing(_) => "failing",
            Self::Paused(_) => "paused",
            Self::Disabled(_) => "disabled",
        }
    }

    /// Why it is not ok.
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Ok => None,
            Self::Failing(reason) | Self::Paused(reason) | Self::Disabled(reason) => Some(reason),
        }
    }
}
