//! The outputs of a process, and the handle that everything which writes lines holds.

use std::{
    cell::Cell,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use steeple_core::clock;
use steeple_scrub::Scrubber;
use tracing::{Level, level_filters::LevelFilter};

use crate::{
    Format,
    encode::{Access, Encoder, Line},
    sink::{Queue, day_of},
};

/// Writes into the outputs of a log that was set up. A cheap clone.
///
/// Give it to [`LogOptions::writer`](crate::LogOptions::writer), and exchanges' lines take the short way.
#[derive(Clone)]
pub struct LogHandle(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) outputs: Vec<Output>,
    /// One for each format that an output has.
    pub(crate) encoders: Vec<Encoder>,
    pub(crate) scrubber: Scrubber,
    /// What the filter lets through of exchanges' own lines.
    pub(crate) access_level: LevelFilter,
}

pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) format: Format,
    /// The least severe level that it takes.
    pub(crate) level: LevelFilter,
    pub(crate) queue: Arc<Queue>,
}

/// What one output could not write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Losses {
    /// The output: `console`, `combined.log`, `error.log`, or `writer`.
    pub output: String,
    /// Lines that found no room in its queue, or that were given up at the end.
    pub lines: u64,
}

impl LogHandle {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Lines that could not be written, by all outputs together. 0 unless an output is slower than its lines come, or
    /// fails.
    pub fn dropped(&self) -> u64 {
        self.0.outputs.iter().map(|output| output.queue.lost()).sum()
    }

    /// Lines that could not be written, by output.
    pub fn losses(&self) -> Vec<Losses> {
        let losses = |output: &Output| Losses { output: output.name.clone(), lines: output.queue.lost() };
        self.0.outputs.iter().map(losses).collect()
    }

    /// Waits until the lines that were logged before this call are written, at most for `patience`.
    ///
    /// Blocks the thread: in asynchronous code call it where blocking is allowed. Says whether all were written (or
    /// counted as lost).
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = deadline(patience);
        // Each gets its chance, also when the one before it hangs.
        let unwritten = self.0.outputs.iter().filter(|output| !output.queue.flush(deadline)).count();
        unwritten == 0
    }

    /// Accepts no more lines and waits for the writers' end.
    pub(crate) fn close(&self, patience: Duration) {
        for output in &self.0.outputs {
            output.queue.close();
        }
        let deadline = deadline(patience);
        for output in &self.0.outputs {
            output.queue.join(deadline);
        }
    }

    pub(crate) fn wants_access(&self, level: Level) -> bool {
        level <= self.0.access_level
    }

    pub(crate) fn write_access(&self, access: &Access<'_>) {
        self.write(access.level, access.at, |encoder, out| encoder.access(out, access));
    }

    pub(crate) fn write_line(&self, line: &Line<'_>) {
        self.write(line.level, line.at, |encoder, out| encoder.line(out, line));
    }

    /// Renders a line once for each format that an output wants it in, and queues it.
    fn write(&self, level: Level, at: Duration, render: impl Fn(&Encoder, &mut Vec<u8>)) {
        for encoder in &self.0.encoders {
            let takes = |output: &&Output| output.format == encoder.format() && level <= output.level;
            if !self.0.outputs.iter().any(|output| takes(&output)) {
                continue;
            }
            with_scratch(|scratch| {
                render(encoder, scratch);
                for output in self.0.outputs.iter().filter(takes) {
                    output.queue.push(scratch, day_of(at));
                }
            });
        }
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogHandle").field("losses", &self.losses()).finish_non_exhaustive()
    }
}

fn deadline(patience: Duration) -> Instant {
    let now = clock::now();
    now.checked_add(patience).unwrap_or(now)
}

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A line that was longer than this does not leave its buffer behind.
const KEPT_SCRATCH: usize = 16 * 1024;

/// Lends a buffer that this thread uses again and again. Empty; a second one within the first is a new one.
fn with_scratch(f: impl FnOnce(&mut Vec<u8>)) {
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.clear();
    f(&mut scratch);
    if scratch.capacity() <= KEPT_SCRATCH {
        let _ending = SCRATCH.try_with(|slot| slot.set(scratch));
    }
}
