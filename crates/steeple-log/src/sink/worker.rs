use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use steeple_core::clock;
use tracing::Level;

use super::{
    Queue,
    queue::{Batch, Part, Stamp, Taken},
    rotation::day_of,
};
use crate::{TimingOptions, os};

/// Where one output's bytes go.
pub(crate) trait Destination: Send + 'static {
    /// Writes a first part of these lines. Never called without lines.
    fn write(&mut self, part: Part<'_>) -> io::Result<Progress>;

    /// Passes on everything still held back.
    fn flush(&mut self) -> io::Result<()>;

    /// Closes its file and opens the one that has the name now.
    fn reopen(&mut self) {}
}

/// What one call of [`Destination::write`] has done.
pub(crate) struct Progress {
    /// So many bytes are written or given up.
    pub(crate) bytes: usize,
    /// So many lines of them could not be written, and never will be.
    pub(crate) lost: u64,
}

/// Reports to the operator that an output fails, or works again.
pub(crate) type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// Renders a line that states how many lines before it are missing.
pub(crate) type GapLine = Box<dyn Fn(&mut Vec<u8>, u64, Duration) + Send>;

/// Takes lines from a queue and writes them, on its own thread.
///
/// While the destination fails, what it has not taken is kept and tried again; the queue fills, and what finds no room
/// in it is dropped. Where trying again cannot help, what it has not taken is dropped at once. This is reported once when
/// it begins and once when it ends.
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) queue: Arc<Queue>,
    pub(crate) destination: Box<dyn Destination>,
    pub(crate) report: Report,
    pub(crate) gap_line: GapLine,
    pub(crate) timing: TimingOptions,
    /// Since when it fails, if it does.
    pub(crate) trouble: Option<Trouble>,
}

impl Worker {
    pub(crate) fn spawn(self) -> io::Result<()> {
        let thread = thread::Builder::new().name(format!("log {}", self.name));
        thread.spawn(move || self.run())?;
        Ok(())
    }

    fn run(mut self) {
        let mut batch = Batch::default();
        let mut gaps = Gaps { reported: 0, at: None, explained: 0, complained: false };
        while self.queue.take(&mut batch) == Taken::Lines {
            for part in batch.parts().filter(|part| !part.lines.is_empty()) {
                let written = self.write_all(part);
                if let Written::NotAll { left } = written {
                    self.queue.give_up(left);
                }
                if written != Written::Smoothly {
                    gaps.explained = self.queue.lost();
                }
            }
            // Before the flush is answered, so that the caller finds the gap in the log as well.
            self.write_gap(&mut gaps);
            if batch.wants_reopen() {
                self.destination.reopen();
            }
            self.queue.settle(&batch);
            batch.clear();
        }
        gaps.at = None;
        self.write_gap(&mut gaps);
        self.queue.finish();
    }

    /// Writes a line about the lines that were dropped since the last one, if any were.
    fn write_gap(&mut self, gaps: &mut Gaps) {
        let lost = self.queue.lost();
        let is_early = gaps.at.is_some_and(|at| clock::now().saturating_duration_since(at) < self.timing.gap_interval);
        if lost == gaps.reported || is_early {
            return;
        }
        let mut line = Vec::new();
        let now = clock::unix_now();
        (self.gap_line)(&mut line, lost.saturating_sub(gaps.reported), now);
        let stamps = [Stamp { bytes: line.len(), ..Stamp::new(now, Level::WARN, None) }];
        if let Written::NotAll { .. } = self.write_all(Part { lines: &line, day: day_of(now), stamps: &stamps }) {
            // The next one will include it.
            return;
        }
        gaps.reported = lost;
        gaps.at = Some(clock::now());
        if lost > gaps.explained && !gaps.complained {
            gaps.complained = true;
            (self.report)(&format!(
                "log {}: lines come faster than they are written, {lost} were dropped so far",
                self.name
            ));
        }
    }

    /// Writes these lines, however long that takes; gives the rest up when the log is closed meanwhile.
    fn write_all(&mut self, lines: Part<'_>) -> Written {
        let mut rest = lines;
        while !rest.lines.is_empty() {
            let closing = self.queue.is_closed();
            match self.write_some(rest) {
                Ok(bytes) => rest = rest.after(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => {
                    let trouble = self.trouble.get_or_insert_with(|| {
                        self.queue.set_trouble(Some(error.to_string()));
                        (self.report)(&format!("log {} cannot be written: {error}; lines are dropped", self.name));
                        Trouble { lost_before: self.queue.lost(), retry: self.timing.first_retry }
                    });
                    if closing || is_permanent(&error) {
                        return Written::NotAll { left: count_lines(rest.lines) };
                    }
                    let retry = trouble.retry;
                    trouble.retry = retry.saturating_mul(2).min(self.timing.last_retry);
                    self.queue.pause(retry);
                }
            }
        }
        let Some(trouble) = self.trouble.take() else { return Written::Smoothly };
        self.queue.set_trouble(None);
        let lost = self.queue.lost().saturating_sub(trouble.lost_before);
        (self.report)(&format!("log {} can be written again; {lost} lines were dropped", self.name));
        Written::AfterTrouble
    }

    fn write_some(&mut self, part: Part<'_>) -> io::Result<usize> {
        // A writer may be the user's. Its panic is an error like any other.
        let write = AssertUnwindSafe(|| self.destination.write(part));
        let written = panic::catch_unwind(write).unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))?;
        if written.bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.queue.give_up(written.lost);
        if written.bytes >= part.lines.len() {
            // What the destination holds back is its own affair from here on: these lines are not written twice.
            let _held_back = self.destination.flush();
        }
        Ok(written.bytes)
    }
}

/// Whether the same write would fail for ever: its reader is gone, or it is not open for writing.
fn is_permanent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe || os::is_bad_descriptor(error)
}

/// How the writing of some lines went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Smoothly,
    AfterTrouble,
    NotAll { left: u64 },
}

/// The reports about missing lines.
struct Gaps {
    /// So many lines, in the log itself.
    reported: u64,
    at: Option<Instant>,
    /// So many are missing because the destination failed, which was reported.
    explained: u64,
    complained: bool,
}

pub(crate) struct Trouble {
    lost_before: u64,
    retry: Duration,
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.split_inclusive(|byte| *byte == b'\n').count() as u64
}

/// Any writer: standard output, a socket, a test's buffer.
pub(crate) struct Stream<W>(pub(crate) W);

impl<W: io::Write + Send + 'static> Destination for Stream<W> {
    fn write(&mut self, part: Part<'_>) -> io::Result<Progress> {
        Ok(Progress { bytes: self.0.write(part.lines)?, lost: 0 })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
