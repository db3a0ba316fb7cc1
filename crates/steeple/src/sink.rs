//! Everything that queues and sends, flushed in parallel under one deadline.

use std::{
    fmt, io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use steeple_core::clock;

/// A queue with something that empties it.
pub(crate) trait Sink: Send + Sync {
    fn name(&self) -> &str;

    /// Begins to send what is queued. Does not wait.
    fn begin_flush(&self, deadline: Instant) -> Flush;

    /// Waits for the flush, to its deadline at most.
    fn wait(&self, flush: Flush) -> FlushReport;
}

/// A flush that has begun.
pub(crate) struct Flush {
    deadline: Instant,
    done: Option<mpsc::Receiver<Undelivered>>,
}

/// What a flush has not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlushReport {
    pub(crate) sink: String,
    pub(crate) undelivered: Undelivered,
}

/// Numbers of items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undelivered {
    /// Given up during the flush.
    pub(crate) dropped: u64,
    /// Still queued at the deadline.
    pub(crate) left: u64,
}

/// Flushes all, in parallel.
pub(crate) fn flush_all(sinks: &[Arc<dyn Sink>], deadline: Instant) -> Vec<FlushReport> {
    let begun: Vec<_> = sinks.iter().map(|sink| (sink, sink.begin_flush(deadline))).collect();
    begun.into_iter().map(|(sink, flush)| sink.wait(flush)).collect()
}

type FlushFor = dyn Fn(Duration) -> Undelivered + Send + Sync;

/// A sink whose flush blocks: it gets a thread for the flush.
#[derive(Clone)]
pub(crate) struct Blocking {
    name: &'static str,
    flush: Arc<FlushFor>,
}

impl Blocking {
    /// `flush` waits for the duration at most.
    pub(crate) fn new(name: &'static str, flush: impl Fn(Duration) -> Undelivered + Send + Sync + 'static) -> Self {
        Self { name, flush: Arc::new(flush) }
    }
}

impl Sink for Blocking {
    fn name(&self) -> &str {
        self.name
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        let (tell, done) = mpsc::sync_channel(1);
        let flush = Arc::clone(&self.flush);
        let flushing = move || {
            let _nobody_waits = tell.send(flush(deadline.saturating_duration_since(clock::now())));
        };
        let thread: io::Result<_> = thread::Builder::new().name("steeple-flush".to_owned()).spawn(flushing);
        Flush { deadline, done: thread.is_ok().then_some(done) }
    }

    fn wait(&self, flush: Flush) -> FlushReport {
        let undelivered = match flush.done {
            // Its thread keeps the same deadline: a little later it answers.
            Some(done) => {
                let rest = flush.deadline.saturating_duration_since(clock::now());
                done.recv_timeout(rest.saturating_add(Duration::from_millis(100)))
                    .unwrap_or(Undelivered { dropped: 0, left: 1 })
            }
            None => (self.flush)(flush.deadline.saturating_duration_since(clock::now())),
        };
        FlushReport { sink: self.name.to_owned(), undelivered }
    }
}

impl fmt::Debug for dyn Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
