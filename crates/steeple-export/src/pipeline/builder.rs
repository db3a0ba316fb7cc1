use std::{
    borrow::Cow,
    io,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use super::{
    Handle, Pipeline, Shared,
    gate::Gate,
    lane::{self, Lane, Settings},
    policy::{InDoubt, Unauthorized},
    queue::{Limits, Queue},
};
use crate::{BuildError, Exporter, Retry, error::BoxError, runtime};

/// Settings of a [`Pipeline`]. Made by [`Pipeline::builder`].
#[derive(Debug)]
#[must_use = "settings do nothing until they are built"]
pub struct PipelineBuilder {
    name: Cow<'static, str>,
    limits: Limits,
    timeout: Duration,
    start_timeout: Duration,
    retry: Retry,
    unauthorized: Unauthorized,
    in_doubt: InDoubt,
    has_own_thread: bool,
}

impl PipelineBuilder {
    pub(super) fn new(name: Cow<'static, str>) -> Self {
        Self {
            name,
            limits: Limits {
                max_items: 2048,
                max_bytes: 8 << 20,
                batch_items: 512,
                batch_bytes: 1 << 20,
                batch_delay: Duration::from_secs(5),
                tick: None,
                trouble_interval: Duration::from_secs(60),
            },
            timeout: Duration::from_secs(30),
            start_timeout: Duration::from_secs(30),
            retry: Retry::default(),
            unauthorized: Unauthorized::default(),
            in_doubt: InDoubt::default(),
            has_own_thread: false,
        }
    }

    /// How many items wait or are being sent; one more is dropped. Default: 2,048. Zero counts as one.
    pub fn max_items(mut self, items: usize) -> Self {
        self.limits.max_items = items.max(1);
        self
    }

    /// How many bytes wait or are being sent; what exceeds them is dropped. Default: 8 MiB.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_bytes = bytes;
        self
    }

    /// How many items are sent at once. Default: 512. Zero counts as one.
    pub fn batch_items(mut self, items: usize) -> Self {
        self.limits.batch_items = items.max(1);
        self
    }

    /// How many bytes are sent at once; a single larger item is sent alone. Default: 1 MiB.
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.limits.batch_bytes = bytes;
        self
    }

    /// How long a batch that is not full waits for more. Default: 5 seconds.
    pub fn batch_delay(mut self, delay: Duration) -> Self {
        self.limits.batch_delay = delay;
        self
    }

    /// How long one attempt may take. Default: 30 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long [`build`](Self::build) waits for the first exporter to be made. Default: 30 seconds.
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// How often, at most, it is logged that items cannot be delivered. Default: once a minute.
    pub fn trouble_interval(mut self, interval: Duration) -> Self {
        self.limits.trouble_interval = interval;
        self
    }

    /// How often, how long and how soon a batch is tried again. Default: [`Retry::default`].
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// What happens to a batch whose key was not accepted. Default: [`Unauthorized::Drop`].
    pub fn unauthorized(mut self, unauthorized: Unauthorized) -> Self {
        self.unauthorized = unauthorized;
        self
    }

    /// What happens to a batch that was sent without an answer. Default: [`InDoubt::Resend`].
    pub fn in_doubt(mut self, in_doubt: InDoubt) -> Self {
        self.in_doubt = in_doubt;
        self
    }

    /// How often the exporter makes items by itself, with [`Exporter::tick`]. It does so at each flush as well. Default: never.
    /// Zero counts as one millisecond.
    pub fn tick(mut self, every: Duration) -> Self {
        self.limits.tick = Some(every.max(Duration::from_millis(1)));
        self
    }

    /// Runs on its own thread, and everything of it there. For code that may block: all other pipelines share one thread.
    pub fn own_thread(mut self) -> Self {
        self.has_own_thread = true;
        self
    }

    /// Starts the pipeline. `factory` makes the exporter: on the thread that sends, in its runtime, and again after a panic; with
    /// [`Exporter::IN_FLIGHT`] above 1 once for each batch that is sent at the same time.
    ///
    /// # Errors
    /// [`BuildError::is_thread`] when no thread could be started; otherwise the factory's error is the source.
    pub fn build<E, F>(self, factory: F) -> Result<Pipeline<E::Item>, BuildError>
    where
        E: Exporter,
        F: FnMut() -> Result<E, BoxError> + Send + 'static,
    {
        if runtime::on_export_thread() {
            // It would wait for itself.
            return Err(BuildError::thread(io::Error::other("a pipeline cannot be built on the export thread")));
        }
        let lanes = E::IN_FLIGHT.max(1);
        let name = self.name;
        let shared = Arc::new(Shared {
            name: name.clone(),
            queue: Queue::new(self.limits, lanes),
            size: E::size as fn(&E::Item) -> usize,
        });
        let settings = Arc::new(Settings {
            gate: Gate::new(),
            timeout: self.timeout,
            retry: self.retry,
            unauthorized: self.unauthorized,
            in_doubt: self.in_doubt,
            offload: (!self.has_own_thread).then_some(E::OFFLOAD_BYTES),
            factory: Mutex::new(factory),
        });
        let (sender, receiver) = mpsc::sync_channel(1);
        let tasks = lane::run_all((0..lanes).map(|lane| Lane::new(&shared, &settings, lane)).collect(), sender);
        if self.has_own_thread {
            runtime::own(&name, tasks).map_err(BuildError::thread)?;
        } else {
            drop(runtime::shared().map_err(BuildError::thread)?.spawn(tasks));
        }
        match receiver.recv_timeout(self.start_timeout) {
            Ok(Ok(())) => Ok(Pipeline(Arc::new(Handle { shared }))),
            Ok(Err(error)) => Err(BuildError::factory(error)),
            Err(error) => {
                shared.queue.close();
                Err(BuildError::thread(io::Error::other(error)))
            }
        }
    }
}
