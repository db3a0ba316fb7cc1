//! Sinks that block while they flush, as sinks of one list with all others.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use steeple_core::clock;
use steeple_export::{Flush, FlushReport, Sink, Stats};

/// All sinks.
pub(crate) struct Sinks(pub(crate) Vec<Arc<dyn Sink>>);

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|sink| sink.name())).finish()
    }
}

/// Numbers of items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Undelivered {
    /// Given up during the flush.
    pub(crate) dropped: u64,
    /// Still queued at the deadline.
    pub(crate) left: u64,
}

type FlushFor = dyn Fn(Duration, bool) -> Undelivered + Send + Sync;

/// A sink whose flush blocks: it gets a thread for the flush.
pub(crate) struct Blocking {
    name: &'static str,
    flush: Arc<FlushFor>,
    /// Flushes that have begun, by their number.
    begun: Mutex<Vec<(u64, Receiver<Undelivered>)>>,
    next: AtomicU64,
}

impl Blocking {
    /// `flush` waits for the duration at most; if its second argument is true, nothing is accepted any more.
    pub(crate) fn new(
        name: &'static str,
        flush: impl Fn(Duration, bool) -> Undelivered + Send + Sync + 'static,
    ) -> Self {
        Self { name, flush: Arc::new(flush), begun: Mutex::default(), next: AtomicU64::new(0) }
    }

    fn begin(&self, deadline: Instant, close: bool) -> Flush {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, done) = mpsc::sync_channel(1);
        let flush = Arc::clone(&self.flush);
        let flushing = move || {
            let _too_late = tell.send(flush(until(deadline), close));
        };
        // Where there is no thread, the channel is closed, and the flush has not delivered anything.
        let _no_thread = thread::Builder::new().name("steeple-flush".to_owned()).spawn(flushing);
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push((number, done));
        Flush::new(deadline, [number, 0, 0, 0])
    }

    fn take(&self, number: u64) -> Option<Receiver<Undelivered>> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let place = begun.iter().position(|(known, _)| *known == number)?;
        Some(begun.swap_remove(place).1)
    }
}

impl Sink for Blocking {
    fn name(&self) -> &str {
        self.name
    }

    /// Its integration has its own counters.
    fn stats(&self) -> Stats {
        Stats::new()
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        self.begin(deadline, false)
    }

    fn begin_shutdown(&self, deadline: Instant) -> Flush {
        self.begin(deadline, true)
    }

    fn wait(&self, flush: &Flush) -> FlushReport {
        /// The thread has the same deadline, and answers a little later.
        const LATER: Duration = Duration::from_millis(100);
        let [number, ..] = flush.marks();
        let Undelivered { dropped, left } = match self.take(number) {
            // At least one, where it cannot tell how many.
            Some(done) => done
                .recv_timeout(until(flush.deadline()).saturating_add(LATER))
                .unwrap_or(Undelivered { dropped: 0, left: 1 }),
            None => Undelivered::default(),
        };
        FlushReport::new(Cow::Borrowed(self.name), 0, dropped, left)
    }
}

fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(clock::now())
}

#[cfg(test)]
mod tests {
    use steeple_export::{flush_all, shutdown_all};

    use super::*;

    #[test]
    fn sinks_that_hang_share_one_deadline_and_each_says_what_is_left() {
        let hang = |_, _| {
            thread::sleep(Duration::from_secs(600));
            Undelivered::default()
        };
        let hanging: Vec<_> = ["a", "b", "c"].map(|name| Arc::new(Blocking::new(name, hang)) as Arc<dyn Sink>).into();
        let reports = flush_all(&hanging, clock::now() + Duration::from_millis(50));
        // In sequence the flush of one would not have begun before the other's deadline was over: all have.
        assert!(reports.iter().all(|report| report.left == 1), "{reports:?}");
        let closing = Blocking::new("d", |_, close| Undelivered { dropped: u64::from(close), left: 0 });
        let sinks = [Arc::new(closing) as Arc<dyn Sink>];
        let deadline = clock::now() + Duration::from_secs(60);
        assert!(flush_all(&sinks, deadline).iter().all(FlushReport::is_complete));
        assert_eq!(shutdown_all(&sinks, deadline).first().map(|report| report.dropped), Some(1));
    }
}
