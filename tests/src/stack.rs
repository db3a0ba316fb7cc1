//! What a team puts around its service: ids, names, users, log and metrics in one layer, with a recorder beside them.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use steeple_core::{ObserveLayer, RequestIds, test_util::RecordingObserver};
use steeple_log::{Format, Log, LogGuard};
use steeple_metrics::Metrics;
use steeple_transaction::Naming;
use steeple_user::{Users, UsersBuilder};

use crate::{
    page::Page,
    settle::{PATIENCE, wait_until},
};

/// The observers of [`Stack`]. The recorder comes last: once it knows of an end, all do.
pub type Observers = (RequestIds, Naming, Users, Log, Metrics, Option<RecordingObserver>);

/// One layer, and what it had to say.
#[derive(Debug)]
pub struct Stack {
    layer: ObserveLayer<Observers>,
    observer: RecordingObserver,
    guard: LogGuard,
    lines: Lines,
}

impl Stack {
    /// Keeps the log lines in memory.
    pub fn new() -> Self {
        Self::with_users(Users::builder())
    }

    /// The same, with users and addresses from somewhere.
    pub fn with_users(users: UsersBuilder) -> Self {
        let lines = Lines::default();
        Self::build(users, lines.clone(), lines, true)
    }

    /// Renders log lines and forgets them; remembers no exchange. For tests of the memory that stays.
    pub fn forgetful() -> Self {
        Self::build(Users::builder(), io::sink(), Lines::default(), false)
    }

    fn build(users: UsersBuilder, writer: impl Write + Send + 'static, lines: Lines, records: bool) -> Self {
        // All lines are wanted, however busy the machine is.
        let logging = Log::builder().without_console().writer(writer, Format::Json).queue_bytes(64 << 20);
        let guard = logging.service_name("stack").build().expect("a log into memory");
        let log = guard.log();
        let metrics = Metrics::builder().build().expect("a new registry has no families");
        let users = users.build().expect("no options that could be wrong");
        let observer = RecordingObserver::new();
        let recorder = records.then(|| observer.clone());
        let layer = ObserveLayer::new((RequestIds::new(), Naming::new(), users, log, metrics, recorder));
        Self { layer, observer, guard, lines }
    }

    /// The layer.
    pub fn layer(&self) -> ObserveLayer<Observers> {
        self.layer.clone()
    }

    /// The recorder.
    pub fn observer(&self) -> &RecordingObserver {
        &self.observer
    }

    /// The log, for a `tracing` subscriber.
    pub fn log(&self) -> &LogGuard {
        &self.guard
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.layer.observer().4
    }

    /// The metrics page as it is now.
    pub fn page(&self) -> Page {
        let page = self.metrics().render(None, None);
        Page::parse(String::from_utf8(page.body.to_vec()).expect("text"))
    }

    /// Waits until nothing is in flight, going by the gauge.
    pub async fn landed(&self) -> bool {
        wait_until(|| self.page().sum("http_requests_in_flight", &[]) == 0.0).await
    }

    /// The log lines so far, each of them read as JSON.
    pub fn lines(&self) -> Vec<Value> {
        assert!(self.guard.flush(PATIENCE), "the log is written");
        assert_eq!(self.guard.dropped(), 0, "no line was lost");
        let written = self.lines.0.lock().unwrap().clone();
        let text = String::from_utf8(written).expect("text");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// The lines of exchanges alone, not those that handlers wrote.
    pub fn access_lines(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["target"] == "steeple::access").collect()
    }
}

impl Default for Stack {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
