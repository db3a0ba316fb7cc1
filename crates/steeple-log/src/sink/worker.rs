use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use steeple_core::clock;

use super::{Queue, queue::Taken};

/// Where one output's bytes go.
pub(crate) trait Destination: Send + 'static {
    /// Writes a first part of these lines. Never called with none.
    fn write(&mut self, lines: &[u8]) -> io::Result<Progress>;

    /// Hands on what is still held back.
    fn flush(&mut self) -> io::Result<()>;
}

/// What one call of [`Destination::write`] has done.
pub(crate) struct Progress {
    /// So many bytes are dealt with.
    pub(crate) bytes: usize,
    /// So many lines of them could not be written, and never will be.
    pub(crate) lost: u64,
}

/// Says, to whoever runs the service, that an output is in trouble or out of it.
pub(crate) type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// Writes a line that says how many lines before it are missing.
pub(crate) type GapLine = Box<dyn Fn(&mut Vec<u8>, u64) + Send>;

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// A gap is written down this long after the one before it.
const GAP_EVERY: Duration = Duration::from_secs(1);

/// Takes lines from a queue and writes them, on a thread of its own.
///
/// While the destination fails, what it has not taken is kept and tried again; the queue fills, and what finds no room
/// in it is lost. This is said once when it begins and once when it ends.
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) queue: Arc<Queue>,
    pub(crate) destination: Box<dyn Destination>,
    pub(crate) report: Report,
    pub(crate) gap_line: GapLine,
}

impl Worker {
    pub(crate) fn spawn(self) -> io::Result<()> {
        let thread = thread::Builder::new().name(format!("log {}", self.name));
        thread.spawn(move || self.run())?;
        Ok(())
    }

    fn run(mut self) {
        let mut batch = Vec::new();
        let mut gaps = Gaps { told: 0, at: None, complained: false };
        while self.queue.take(&mut batch) == Taken::Lines {
            let from_queue = batch.len();
            self.write_gap(&mut gaps, &mut batch);
            if !batch.is_empty() {
                self.write_all(&batch);
            }
            batch.clear();
            self.queue.settle(from_queue);
        }
        gaps.at = None;
        self.write_gap(&mut gaps, &mut batch);
        if !batch.is_empty() {
            self.write_all(&batch);
        }
        self.queue.finish();
    }

    /// Puts a line about what was lost behind the lines, if anything was since the last one.
    fn write_gap(&self, gaps: &mut Gaps, batch: &mut Vec<u8>) {
        let lost = self.queue.lost();
        if lost == gaps.told || gaps.at.is_some_and(|at| clock::now().saturating_duration_since(at) < GAP_EVERY) {
            return;
        }
        (self.gap_line)(batch, lost.saturating_sub(gaps.told));
        gaps.told = lost;
        gaps.at = Some(clock::now());
        if !gaps.complained {
            gaps.complained = true;
            (self.report)(&format!(
                "log {}: lines come faster than they can be written, {lost} lost so far",
                self.name
            ));
        }
    }

    /// Writes these lines, however long that takes; gives up what is left when the log is closed meanwhile.
    fn write_all(&mut self, lines: &[u8]) {
        let mut rest = lines;
        let mut trouble: Option<Trouble> = None;
        while !rest.is_empty() {
            let closing = self.queue.is_closed();
            match self.write_some(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => {
                    let trouble = trouble.get_or_insert_with(|| {
                        (self.report)(&format!("log {} cannot be written: {error}; lines are being lost", self.name));
                        Trouble { lost_before: self.queue.lost(), retry: FIRST_RETRY }
                    });
                    if closing {
                        self.queue.add_lost(count_lines(rest));
                        return;
                    }
                    self.queue.pause(trouble.retry);
                    trouble.retry = trouble.retry.saturating_mul(2).min(LAST_RETRY);
                }
            }
        }
        if let Some(trouble) = trouble {
            let lost = self.queue.lost().saturating_sub(trouble.lost_before);
            (self.report)(&format!("log {} can be written again; {lost} lines were lost", self.name));
        }
    }

    fn write_some(&mut self, lines: &[u8]) -> io::Result<usize> {
        let written = self.destination.write(lines)?;
        if written.bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.queue.add_lost(written.lost);
        if written.bytes >= lines.len() {
            // What the destination holds back is its own affair from here on: these lines are not written twice.
            let _held_back = self.destination.flush();
        }
        Ok(written.bytes)
    }
}

struct Gaps {
    told: u64,
    at: Option<Instant>,
    complained: bool,
}

struct Trouble {
    lost_before: u64,
    retry: Duration,
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.split_inclusive(|byte| *byte == b'\n').count() as u64
}

/// Any writer: standard output, a socket, a test's buffer.
pub(crate) struct Stream<W>(pub(crate) W);

impl<W: io::Write + Send + 'static> Destination for Stream<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<Progress> {
        Ok(Progress { bytes: self.0.write(lines)?, lost: 0 })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
