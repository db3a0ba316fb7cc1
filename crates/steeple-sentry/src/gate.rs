//! In front of the outlet: one failure, one event.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sentry_core::{Envelope, Transport, TransportFactory, TransportOptions};
use steeple_export::{Flush, FlushReport, Sink, Stats};

use crate::{
    BuildError,
    context::Context,
    dedup::{self, Verdict},
    job::Job,
    limit,
    outlet::{Outlet, Settings},
    slot::Link,
};

/// Events that wait for their exchanges beyond this many are not sent by flushing, but at the exchanges' ends.
const MAX_HELD: usize = 1024;

/// The transport that the client gets.
pub(crate) struct Gate {
    pub(crate) outlet: Outlet,
    context: Arc<Context>,
    /// Where events wait for the end of their exchange.
    held: Mutex<Vec<Weak<Link>>>,
    /// Its client was closed.
    is_closed: AtomicBool,
}

impl Gate {
    /// Whether its client was closed, and accepts nothing more.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Sends an envelope without asking further.
    pub(crate) fn push(&self, job: Job) {
        self.outlet.push(job);
    }

    /// Knows where an event waits, so that flushing sends it before its exchange is over.
    fn remember(&self, link: Weak<Link>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MAX_HELD {
            held.retain(|link| link.upgrade().is_some_and(|link| link.holds()));
        }
        if held.len() < MAX_HELD {
            held.push(link);
        }
    }

    pub(crate) fn release(&self) {
        let held = self.held.try_lock().map(|mut held| mem::take(&mut *held)).unwrap_or_default();
        for job in held.iter().filter_map(|link| link.upgrade()?.release()) {
            self.push(job);
        }
    }
}

impl Transport for Gate {
    fn send_envelope(&self, envelope: Envelope) {
        match dedup::judge(limit::envelope(envelope)) {
            Verdict::Send(job) => self.push(job),
            Verdict::Held(link) => self.remember(link),
            Verdict::Duplicate => self.context.counters.duplicate(),
        }
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.release();
        self.outlet.flush(after(timeout), false)
    }

    /// The client calls this when it is closed, and has no transport from then on.
    fn shutdown(&self, timeout: Duration) -> bool {
        self.is_closed.store(true, Ordering::Relaxed);
        self.release();
        self.outlet.flush(after(timeout), true)
    }
}

impl Sink for Gate {
    fn name(&self) -> &str {
        self.outlet.pipeline.name()
    }

    fn stats(&self) -> Stats {
        self.outlet.pipeline.stats()
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        self.release();
        self.outlet.pipeline.begin_flush(deadline)
    }

    fn begin_shutdown(&self, deadline: Instant) -> Flush {
        self.release();
        self.outlet.pipeline.begin_shutdown(deadline)
    }

    fn wait(&self, flush: &Flush) -> FlushReport {
        self.outlet.pipeline.wait(flush)
    }
}

fn after(timeout: Duration) -> Instant {
    /// Longer than a process lasts.
    const FOREVER: Duration = Duration::from_secs(365 * 24 * 3_600);
    let now = steeple_core::clock::now();
    now.checked_add(timeout.min(FOREVER)).unwrap_or(now)
}

/// `None` until the client asks for its transport.
pub(crate) type Made = Option<Result<Arc<Gate>, BuildError>>;

/// Makes the gate when the client asks for its transport, or notes why it cannot.
pub(crate) struct Factory {
    pub(crate) settings: Settings,
    pub(crate) context: Arc<Context>,
    pub(crate) made: Arc<Mutex<Made>>,
}

impl TransportFactory for Factory {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(gate)) = &*made {
            return Arc::clone(gate) as Arc<dyn Transport>;
        }
        match Outlet::start(&self.settings, &self.context, options) {
            Ok(outlet) => {
                let gate = Arc::new(Gate {
                    outlet,
                    context: Arc::clone(&self.context),
                    held: Mutex::default(),
                    is_closed: AtomicBool::new(false),
                });
                *made = Some(Ok(Arc::clone(&gate)));
                gate
            }
            Err(error) => {
                *made = Some(Err(error));
                Arc::new(Nowhere)
            }
        }
    }
}

/// For the moment until the builder sees that there is no transport.
struct Nowhere;

impl Transport for Nowhere {
    fn send_envelope(&self, _envelope: Envelope) {}
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("pipeline", &self.outlet.pipeline).finish_non_exhaustive()
    }
}
