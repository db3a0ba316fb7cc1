//! From a push to an answer: queue, batches, attempts, and exact counts of all of it.

mod builder;
mod gate;
mod lane;
mod policy;
mod queue;

use std::{borrow::Cow, fmt, sync::Arc, time::Instant};

use self::queue::{Origin, Queue};
pub use self::{
    builder::PipelineBuilder,
    policy::{InDoubt, Unauthorized},
};
use crate::{DropReason, Flush, FlushReport, Sink, Stats, runtime};

/// A bounded queue with an exporter behind it. A cheap clone; when the last one is dropped, everything queued is still sent.
///
/// - Bounded in items and in bytes; a full queue drops the newest item and counts it.
/// - `push` never blocks, never panics, needs no runtime.
/// - Every item ends in exactly one count: see [`Stats`].
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
/// use steeple_export::{Answer, Exporter, Pipeline, Sink};
/// use steeple_scrub::{Scrubbed, Scrubber};
///
/// struct Print;
///
/// impl Exporter for Print {
///     type Item = String;
///     type Ready = String;
///
///     fn size(item: &String) -> usize {
///         item.len()
///     }
///
///     fn scrub(&mut self, item: String) -> Scrubbed<String> {
///         Scrubber::default().text(&item).into_owned()
///     }
///
///     async fn export(&mut self, batch: &[Scrubbed<String>], _deadline: Instant) -> Answer {
///         for line in batch {
///             println!("{line}");
///         }
///         Answer::Accepted
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pipeline = Pipeline::builder("print").build(|| Ok(Print))?;
/// pipeline.push("signed in with password=hunter2".to_owned());
/// let report = pipeline.shutdown(Instant::now() + Duration::from_secs(10));
/// assert_eq!((report.exported, report.left), (1, 0));
/// # Ok(())
/// # }
/// ```
pub struct Pipeline<T>(Arc<Handle<T>>);

struct Handle<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    name: Cow<'static, str>,
    queue: Queue<T>,
    size: fn(&T) -> usize,
}

impl Pipeline<()> {
    /// Settings, all with a default. `name` is the label `sink` of its metrics.
    pub fn builder(name: impl Into<Cow<'static, str>>) -> PipelineBuilder {
        PipelineBuilder::new(name.into())
    }
}

impl<T> Pipeline<T> {
    /// Puts an item into the queue, or drops and counts it.
    #[inline]
    pub fn push(&self, item: T) {
        if let Err((item, _counted)) = self.try_push(item) {
            let _dropped = runtime::catch(move || drop(item));
        }
    }

    /// Puts an item into the queue.
    ///
    /// # Errors
    /// The item, and the reason for which it is dropped; that is counted already.
    pub fn try_push(&self, item: T) -> Result<(), (T, DropReason)> {
        let shared = &self.0.shared;
        let Ok(size) = runtime::catch(|| (shared.size)(&item)) else {
            shared.queue.drop_unpushed(DropReason::Panicked);
            return Err((item, DropReason::Panicked));
        };
        shared.queue.push(item, size, Origin::Handle)
    }
}

impl<T: Send> Sink for Pipeline<T> {
    fn name(&self) -> &str {
        &self.0.shared.name
    }

    fn stats(&self) -> Stats {
        self.0.shared.queue.stats()
    }

    fn begin_flush(&self, deadline: Instant) -> Flush {
        self.0.shared.queue.begin_flush(deadline, false)
    }

    fn begin_shutdown(&self, deadline: Instant) -> Flush {
        self.0.shared.queue.begin_flush(deadline, true)
    }

    fn wait(&self, flush: &Flush) -> FlushReport {
        self.0.shared.queue.wait(&self.0.shared.name, flush)
    }
}

impl<T> Clone for Pipeline<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl<T> fmt::Debug for Pipeline<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("name", &self.0.shared.name)
            .field("stats", &self.0.shared.queue.stats())
            .finish_non_exhaustive()
    }
}
