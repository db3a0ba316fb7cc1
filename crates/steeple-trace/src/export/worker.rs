use std::{
    cell::RefCell,
    future::poll_fn,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, mpsc},
    task::Poll,
    thread,
};

use opentelemetry::Context;
use steeple_scrub::Scrubbed;
use tracing::{dispatcher::DefaultGuard, subscriber::NoSubscriber};

use super::{Item, Queue};
use crate::BuildError;

/// Sends batches of one kind: spans, or log records.
pub(crate) trait Sender {
    /// As it waits in the queue.
    type Item: Item;
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
        let sending = async {
            let ready = batch.items.into_iter().map(|item| sender.scrub(item)).collect();
            tokio::time::timeout(batch.timeout, sender.send(ready)).await
        };
        // An exporter that panics loses this batch and no other.
        settle.accepted = matches!(catch_unwind(sending).await, Some(Ok(true)));
    }
}

/// The future's output, or `None` if it panics.
async fn catch_unwind<F: Future>(future: F) -> Option<F::Output> {
    // Nothing looks at the future after a panic: it is dropped, and a panic of its destructor is caught as well.
    let mut future = Some(Box::pin(future));
    poll_fn(|cx| {
        let polled = panic::catch_unwind(AssertUnwindSafe(|| match future.as_mut() {
            Some(running) => {
                let polled = running.as_mut().poll(cx);
                if polled.is_ready() {
                    future = None;
                }
                polled.map(Some)
            }
            None => Poll::Ready(None),
        }));
        polled.unwrap_or_else(|_panic| {
            let _panic = panic::catch_unwind(AssertUnwindSafe(|| future = None));
            Poll::Ready(None)
        })
    })
    .await
}

/// Counts a batch as soon as it is dropped.
struct Settle<'a, T: Item> {
    queue: &'a Queue<T>,
    items: usize,
    accepted: bool,
}

impl<T: Item> Drop for Settle<'_, T> {
    fn drop(&mut self) {
        self.queue.settle(self.items, self.accepted);
    }
}
