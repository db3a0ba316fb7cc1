//! The list of sinks, and a sink whose source stops first.

use std::{fmt, sync::Arc, time::Instant};

use steeple_export::{Flush, FlushReport, Sink, Stats};

/// All sinks.
pub(crate) struct Sinks(pub(crate) Vec<Arc<dyn Sink>>);

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|sink| sink.name())).finish()
    }
}

/// A sink whose source stops before the sink is shut down.
pub(crate) struct StopsFirst<F> {
    sink: Arc<dyn Sink>,
    stop: F,
}

impl<F: Fn() + Send + Sync> StopsFirst<F> {
    pub(crate) fn new(sink: Arc<dyn Sink>, stop: F) -> Self {
        Self { sink, stop }
    }
}

impl<F: Fn() + Send + Sync> Sink for StopsFirst<F> {
    fn name(&self) -> &str {
        self.sink.name()
    }

    fn stats(&self) -> Stats {
        self.sink.stats()
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        self.sink.begin_flush(deadline)
    }

    fn begin_shutdown(&self, deadline: Instant) -> Flush {
        (self.stop)();
        self.sink.begin_shutdown(deadline)
    }

    fn wait(&self, flush: &Flush) -> FlushReport {
        self.sink.wait(flush)
    }
}
