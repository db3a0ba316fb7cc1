use std::{
    sync::{Arc, mpsc},
    thread,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanExporter},
};
use tracing::subscriber::NoSubscriber;

use super::Queue;
use crate::{BuildError, scrub::Bounds};

/// Starts the thread that exports. It has a runtime of its own, so that any runtime, or none, can flush.
///
/// The exporter is made on that thread: transports bind to the runtime that they are made in.
pub(crate) fn start<E, F>(queue: Arc<Queue>, resource: Resource, bounds: Bounds, make: F) -> Result<(), BuildError>
where
    E: SpanExporter + 'static,
    F: FnOnce() -> Result<E, BuildError> + Send + 'static,
{
    let (tell, outcome) = mpsc::sync_channel(1);
    let run = move || {
        // What the transport logs and traces of itself must not become spans to export.
        let _quiet = tracing::subscriber::set_default(NoSubscriber::new());
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _gone = tell.send(Err(BuildError::thread(error)));
                return;
            }
        };
        let exporter = runtime.block_on(async {
            let mut exporter = make()?;
            exporter.set_resource(&resource);
            Ok(exporter)
        });
        match exporter {
            Ok(exporter) => {
                let _gone = tell.send(Ok(()));
                runtime.block_on(async { export_all(&queue, &exporter, &bounds).await });
                let _result = exporter.shutdown();
            }
            Err(error) => {
                let _gone = tell.send(Err(error));
            }
        }
        // Connections are closed without waiting for them.
        runtime.shutdown_background();
    };
    thread::Builder::new().name("steeple-trace".to_owned()).spawn(run).map_err(BuildError::thread)?;
    outcome.recv().map_err(|gone| BuildError::thread(std::io::Error::other(gone)))?
}

async fn export_all<E: SpanExporter>(queue: &Queue, exporter: &E, bounds: &Bounds) {
    // Waiting blocks this runtime; nothing else runs on it but the transport, which has nothing to do meanwhile.
    while let Some(batch) = queue.next() {
        let mut settle = Settle { queue, spans: batch.spans.len(), accepted: false };
        let spans: Vec<SpanData> = batch.spans.into_iter().map(|span| bounds.apply(span)).collect();
        settle.accepted = matches!(tokio::time::timeout(batch.timeout, exporter.export(spans)).await, Ok(Ok(())));
    }
}

/// Counts a batch, also when an exporter panics over it.
struct Settle<'a> {
    queue: &'a Queue,
    spans: usize,
    accepted: bool,
}

impl Drop for Settle<'_> {
    fn drop(&mut self) {
        self.queue.settle(self.spans, self.accepted);
    }
}
