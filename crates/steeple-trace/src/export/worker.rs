use std::{
    cell::RefCell,
    sync::{Arc, mpsc},
    thread,
};

use opentelemetry::Context;
use steeple_scrub::Scrubbed;
use tracing::{dispatcher::DefaultGuard, subscriber::NoSubscriber};

use super::Queue;
use crate::BuildError;

/// Sends batches of one kind: spans, or log records.
pub(crate) trait Sender {
    /// As it waits in the queue.
    type Item: Send + 'static;
    /// As it is sent.
    type Ready;

    fn scrub(&self, item: Self::Item) -> Scrubbed<Self::Ready>;

    /// Whether the receiver took them.
    async fn send(&self, items: Vec<Scrubbed<Self::Ready>>) -> bool;

    /// Nothing more will come.
    fn close(&self);
}

thread_local! {
    static QUIET: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Whatever the exporter logs and traces of itself must not become something to export, on any thread of its own.
fn be_quiet() {
    let guard = tracing::subscriber::set_default(NoSubscriber::new());
    let _ending = QUIET.try_with(|quiet| quiet.replace(Some(guard)));
}

/// Starts the thread that exports. It has a runtime of its own, so that any runtime, or none, can flush.
///
/// The exporter is made on that thread: transports bind to the runtime that they are made in.
pub(crate) fn start<S, F>(name: &str, queue: Arc<Queue<S::Item>>, make: F) -> Result<(), BuildError>
where
    S: Sender,
    F: FnOnce() -> Result<S, BuildError> + Send + 'static,
{
    let (tell, outcome) = mpsc::sync_channel(1);
    let run = move || {
        be_quiet();
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        // Names are looked up on other threads of the runtime.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().on_thread_start(be_quiet).build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                let _gone = tell.send(Err(BuildError::thread(error)));
                return;
            }
        };
        match runtime.block_on(async { make() }) {
            Ok(sender) => {
                let _gone = tell.send(Ok(()));
                runtime.block_on(async { send_all(&queue, &sender).await });
                sender.close();
            }
            Err(error) => {
                let _gone = tell.send(Err(error));
            }
        }
        // Connections are closed without waiting for them.
        runtime.shutdown_background();
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(BuildError::thread)?;
    outcome.recv().map_err(|gone| BuildError::thread(std::io::Error::other(gone)))?
}

async fn send_all<S: Sender>(queue: &Queue<S::Item>, sender: &S) {
    // Waiting blocks this runtime; nothing else runs on it but the transport, which has nothing to do meanwhile.
    while let Some(batch) = queue.next() {
        let mut settle = Settle { queue, items: batch.items.len(), accepted: false };
        let ready = batch.items.into_iter().map(|item| sender.scrub(item)).collect();
        settle.accepted = matches!(tokio::time::timeout(batch.timeout, sender.send(ready)).await, Ok(true));
    }
}

/// Counts a batch, also when an exporter panics over it.
struct Settle<'a, T> {
    queue: &'a Queue<T>,
    items: usize,
    accepted: bool,
}

impl<T> Drop for Settle<'_, T> {
    fn drop(&mut self) {
        self.queue.settle(self.items, self.accepted);
    }
}
