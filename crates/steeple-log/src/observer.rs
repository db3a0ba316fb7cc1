//! [`Log`]: an observer that writes a line for each exchange.

use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::request;
use steeple_core::{End, Exchange, Identity, ObserveLayer, Observer, RequestIds, Signal};
use steeple_scrub::Scrubber;
use tracing::{Level, level_filters::LevelFilter};

use crate::{
    LogBuilder, LogHandle,
    encode::{Access, Captured},
    event,
    rules::Rules,
};

/// Writes one line for each exchange, when it is over.
///
/// - Level: `error` for 5xx, panics, service and body errors; `warn` for cancelled or slow exchanges (more than 1 second,
///   see [`LogBuilder::slow_after`]) and for each 4xx that [`LogBuilder::warn_on`] names; else `info`.
/// - Way: a `tracing` event with the target `steeple::access`, or straight into the outputs of a
///   [log that is set up](LogBuilder).
/// - Two of them on one exchange that write to the same place write one line, the outermost's.
///
/// # Examples
/// ```
/// use steeple_log::Log;
///
/// let app: axum::Router = axum::Router::new()
///     .route("/users/{id}", axum::routing::get(|| async { "Ann" }))
///     .layer(Log::default().layer());
/// ```
#[derive(Clone)]
#[must_use = "an observer does nothing until a layer gets it"]
pub struct Log(Arc<Inner>);

struct Inner {
    rules: Rules,
    scrubber: Scrubber,
    writer: Option<LogHandle>,
    also_events: bool,
    sampled_out: AtomicU64,
}

/// What a [`Log`] remembers of an exchange until its end.
#[derive(Debug)]
pub struct LogState(Box<Captured>);

/// All observers that write `tracing` events write to the same place.
static TRACING: u8 = 0;

impl Log {
    /// Options for the log of a process, with their defaults: outputs, filter, and rules for exchanges' lines.
    pub fn builder() -> LogBuilder {
        LogBuilder::default()
    }

    pub(crate) fn with_rules(rules: Rules, scrubber: Scrubber, writer: Option<LogHandle>, also_events: bool) -> Self {
        Self(Arc::new(Inner { rules, scrubber, writer, also_events, sampled_out: AtomicU64::new(0) }))
    }

    /// A layer that gives every exchange an id and logs it: all that is needed where this crate is used alone.
    pub fn layer(&self) -> ObserveLayer<(RequestIds, Self)> {
        ObserveLayer::new((RequestIds::new(), self.clone()))
    }

    /// How many lines [`LogBuilder::sample_ratio`] has left out.
    pub fn sampled_out(&self) -> u64 {
        self.0.sampled_out.load(Ordering::Relaxed)
    }

    /// Whether a line of this level would be written. Asked before anything is formatted.
    pub(crate) fn wants(&self, level: Level) -> bool {
        match &self.0.writer {
            Some(writer) => writer.wants_access(level),
            None => level <= LevelFilter::current() && event::wants_access(level),
        }
    }

    /// Where lines go, and what removes secrets from them. `None`: to the current subscriber.
    pub(crate) fn outputs(&self) -> (Option<&LogHandle>, &Scrubber) {
        (self.0.writer.as_ref(), &self.0.scrubber)
    }

    /// Whether lines are events as well.
    pub(crate) fn also_events(&self) -> bool {
        self.0.also_events
    }

    /// Whether an exchange that begins now may have a line.
    pub(crate) fn is_on(&self) -> bool {
        match &self.0.writer {
            Some(writer) => writer.wants_access(Level::ERROR),
            None => Level::ERROR <= LevelFilter::current(),
        }
    }

    fn write(&self, state: &LogState, exchange: &Exchange, end: &End) {
        if exchange.is_skipped(Signal::Log) {
            return;
        }
        let rule = self.0.rules.of(exchange);
        if rule.skips() {
            return;
        }
        let level = rule.level(end, exchange.is_event_stream());
        if !self.wants(level) {
            return;
        }
        if !rule.samples(level) {
            self.0.sampled_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let snapshot = exchange.snapshot();
        let access = Access::new(&self.0.scrubber, level, &state.0, exchange, &snapshot, end);
        match &self.0.writer {
            Some(writer) => {
                writer.write_access(&access);
                if self.0.also_events && event::wants_access(level) {
                    exchange.in_scope(|| event::written_access(&access));
                }
            }
            // The subscriber is the user's; whatever it asks of the current exchange is about this one.
            None => exchange.in_scope(|| event::access(&access)),
        }
    }
}

impl Default for Log {
    /// Every exchange, as a `tracing` event.
    fn default() -> Self {
        Self::with_rules(Rules::default(), Scrubber::default(), None, false)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("rules", &self.0.rules)
            .field("writer", &self.0.writer)
            .field("sampled_out", &self.sampled_out())
            .finish_non_exhaustive()
    }
}

impl Observer for Log {
    type State = LogState;

    fn identity(&self) -> Option<Identity> {
        Some(match &self.0.writer {
            Some(writer) => Identity::of(writer.shared()),
            None => Identity::of(&TRACING),
        })
    }

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<LogState> {
        if !self.is_on() {
            return None;
        }
        exchange.trace_or_continue(&request.headers);
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
        let mut captured = spare.ok().flatten().unwrap_or_default();
        captured.fill(&request.uri, &request.headers);
        Some(LogState(captured))
    }

    fn on_end(&self, state: LogState, exchange: &Exchange, end: &End) {
        self.write(&state, exchange, end);
        give_back(state.0);
    }
}

thread_local! {
    #[expect(clippy::vec_box, reason = "they go on as boxes: a small state is moved through a dozen futures")]
    static SPARE: RefCell<Vec<Box<Captured>>> = const { RefCell::new(Vec::new()) };
}

/// How many wait on each thread for the next request; large ones do not wait.
const MAX_SPARE: usize = 64;

fn give_back(captured: Box<Captured>) {
    if captured.is_small() {
        let _ending = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MAX_SPARE {
                spare.push(captured);
            }
        });
    }
}
