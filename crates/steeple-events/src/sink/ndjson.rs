use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use steeple_export::{Answer, DropReason, Exporter, Pipeline, Reason, Retry};
use steeple_scrub::{Scrubbed, Scrubber};

use super::envelope::envelope;
use crate::{BuildError, IntoOutlet, Outgoing, Outlet, Service, SinkContext, Takes, Tracked};

/// Appends events to a file, one JSON line each. For development, and for whatever picks files up.
///
/// The file is readable by its owner and group (0640). A file that was moved away is made again.
#[derive(Clone, Debug)]
#[must_use = "a sink does nothing until events are built with it"]
pub struct Ndjson {
    path: PathBuf,
    batch_delay: Duration,
}

impl Ndjson {
    /// The file. Its directory has to exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), batch_delay: Duration::from_secs(1) }
    }

    /// How long events gather before they are written. Default: 1 second.
    pub fn batch_delay(mut self, delay: Duration) -> Self {
        self.batch_delay = delay;
        self
    }
}

impl IntoOutlet for Ndjson {
    fn into_outlet(self: Box<Self>, context: &SinkContext) -> Result<Outlet, BuildError> {
        // A path that cannot be written is found now and not with the first event.
        open(&self.path).map_err(|error| BuildError::sink("ndjson", error))?;
        let (context, path) = (context.clone(), self.path);
        let (lines, own) = (context.clone(), path);
        let pipeline = Pipeline::builder("ndjson")
            .max_items(10_000)
            .max_bytes(16 << 20)
            .batch_bytes(1 << 20)
            .batch_delay(self.batch_delay)
            // A disk may block.
            .own_thread();
        let pipeline =
            if context.is_durable() { pipeline.retry(Retry::new().max_age(Duration::MAX)) } else { pipeline };
        let pipeline = context.pipeline("ndjson", pipeline, 1_000, move || {
            Ok(Lines { scrubber: lines.scrubber.clone(), service: Arc::clone(&lines.service), path: own.clone() })
        })?;
        Ok(Outlet::new(pipeline, Takes::All))
    }
}

pub(super) struct Lines {
    pub(super) scrubber: Scrubber,
    pub(super) service: Arc<Service>,
    pub(super) path: PathBuf,
}

impl Exporter for Lines {
    type Item = Tracked;
    type Ready = Outgoing;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    async fn export(&mut self, batch: &[Scrubbed<Outgoing>], _deadline: Instant) -> Answer {
        let mut lines = Vec::new();
        for event in batch {
            // Writing JSON to memory does not fail.
            let _written = serde_json::to_writer(&mut lines, &envelope(event, &self.service));
            lines.push(b'\n');
        }
        match append(&self.path, &lines) {
            Ok(()) => Answer::Accepted,
            Err(error) => Answer::Retry {
                after: None,
                cause: DropReason::Unavailable,
                why: Reason::scrub(&format!("cannot write the file: {error}")),
            },
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(all(unix, not(steeple_os_other)))]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

/// Appends whole lines, or none: what a full disk left of them is cut off again.
fn append(path: &Path, lines: &[u8]) -> std::io::Result<()> {
    let mut file = open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(lines);
    if written.is_err() {
        file.set_len(before)?;
    }
    written
}
