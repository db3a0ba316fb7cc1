//! The way from a captured event to Sentry: a bounded queue and one thread that does whatever takes time.
//!
//! A request's thread moves the event into the queue and goes on. Symbols are looked up, secrets removed and bytes sent by the thread.

mod queue;
mod symbols;

#[cfg(feature = "transport")]
mod http;
#[cfg(feature = "transport")]
mod rate_limit;
#[cfg(feature = "transport")]
mod wire;

use std::{
    cell::Cell,
    io, mem,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak, atomic::Ordering},
    thread,
    time::Duration,
};

use ::http::HeaderName;
use sentry_core::{
    ClientOptions, Envelope, Transport, TransportFactory, TransportOptions,
    client_report::{Reason, Recorder},
    protocol::EnvelopeItem,
};
use steeple_scrub::{Scrubbed, Scrubber};

use self::queue::{Next, Queue};
use crate::{
    counts::{Counters, Loss},
    link::{self, Link, Verdict},
    scrub,
    session::Sessions,
};

/// Events that wait for their exchanges beyond this many are not sent by flushing, but at the exchanges' ends.
const MAX_HELD: usize = 1024;

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is the thread that sends. A panic of it must not become an event that it would have to send.
pub(crate) fn on_worker_thread() -> bool {
    IS_WORKER.try_with(Cell::get).unwrap_or(false)
}

/// The calling thread's stack, without names.
pub(crate) fn capture_stack() -> Option<sentry_core::protocol::Stacktrace> {
    symbols::capture()
}

/// One envelope on its way.
pub(crate) struct Job {
    pub(crate) envelope: Envelope,
    /// The user on it is what the privacy policy left, and stays.
    pub(crate) user_is_approved: bool,
}

/// The transport that the client gets.
pub(crate) struct Pipeline {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    recorder: Recorder,
    sessions: Option<Arc<Sessions>>,
    sink: Sink,
    /// Where events wait for the end of their exchange.
    held: Mutex<Vec<Weak<Link>>>,
}

/// Where envelopes go at the end of the queue.
enum Sink {
    #[cfg(feature = "transport")]
    Http,
    Other(Arc<dyn Transport>),
}

/// What the thread works with.
struct Worker {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    recorder: Recorder,
    sessions: Option<Arc<Sessions>>,
    scrubber: Scrubber,
    headers: Vec<HeaderName>,
    frames: ClientOptions,
    sessions_every: Duration,
    out: Out,
}

enum Out {
    #[cfg(feature = "transport")]
    Http(Box<http::Http>),
    Other(Arc<dyn Transport>),
}

/// Makes the pipeline when the client asks for its transport.
pub(crate) struct Factory {
    pub(crate) inner: Option<Arc<dyn TransportFactory>>,
    pub(crate) capacity: NonZeroUsize,
    pub(crate) scrubber: Scrubber,
    /// Headers that the team lets through, whatever the scrubber's own list of allowed ones.
    pub(crate) headers: Vec<HeaderName>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) sessions: Option<Arc<Sessions>>,
    pub(crate) in_app_include: Vec<&'static str>,
    /// How long the counters of release health gather before they are sent.
    pub(crate) sessions_every: Duration,
    pub(crate) made: Arc<OnceLock<Arc<Pipeline>>>,
    /// Why the thread that sends could not be started.
    pub(crate) failed: Arc<Mutex<Option<io::Error>>>,
}

/// Below these, nobody looks for a bug of their own.
const NOT_IN_APP: [&str; 9] = [
    "steeple_core::",
    "steeple_sentry::",
    "axum::",
    "axum_core::",
    "hyper::",
    "hyper_util::",
    "tonic::",
    "tower::",
    "tower_http::",
];

impl TransportFactory for Factory {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        let recorder = options.client_report_recorder.clone();
        let (sink, out) = match &self.inner {
            Some(inner) => {
                let inner = inner.create_transport_with_options(options);
                (Sink::Other(Arc::clone(&inner)), Out::Other(inner))
            }
            #[cfg(feature = "transport")]
            None => (Sink::Http, Out::Http(Box::new(http::Http::new(&options, Arc::clone(&self.counters))))),
            #[cfg(not(feature = "transport"))]
            // `SentryOptions::build` refuses to go on without a transport.
            None => return Arc::new(Nowhere),
        };
        let queue = Arc::new(Queue::new(self.capacity));
        let worker = Worker {
            queue: Arc::clone(&queue),
            counters: Arc::clone(&self.counters),
            recorder: recorder.clone(),
            sessions: self.sessions.clone(),
            scrubber: self.scrubber.clone(),
            headers: self.headers.clone(),
            frames: ClientOptions::new().in_app_include(self.in_app_include.iter().copied()).in_app_exclude(NOT_IN_APP),
            sessions_every: self.sessions_every,
            out,
        };
        let started = thread::Builder::new().name("steeple-sentry".to_owned()).spawn(move || worker.run());
        if let Err(error) = started {
            queue.stop();
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        let pipeline = Arc::new(Pipeline {
            queue,
            counters: Arc::clone(&self.counters),
            recorder,
            sessions: self.sessions.clone(),
            sink,
            held: Mutex::default(),
        });
        let made = self.made.get_or_init(|| Arc::clone(&pipeline));
        if Arc::ptr_eq(made, &pipeline) { pipeline } else { Arc::clone(made) as Arc<dyn Transport> }
    }
}

#[cfg(not(feature = "transport"))]
struct Nowhere;

#[cfg(not(feature = "transport"))]
impl Transport for Nowhere {
    fn send_envelope(&self, _envelope: Envelope) {}
}

impl Pipeline {
    /// Puts an envelope into the queue, or drops and counts it. Never waits.
    pub(crate) fn push(&self, job: Job) {
        if let Err(job) = self.queue.push(job) {
            self.counters.lose(Loss::QueueFull, items(&job.envelope));
            self.recorder.record_lost_data(&job.envelope, Reason::QueueOverflow);
        }
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

    fn release(&self) {
        let held = self.held.try_lock().map(|mut held| mem::take(&mut *held)).unwrap_or_default();
        for job in held.iter().filter_map(|link| link.upgrade()?.release()) {
            self.push(job);
        }
    }
}

impl Transport for Pipeline {
    fn send_envelope(&self, envelope: Envelope) {
        match link::judge(envelope) {
            Verdict::Send { envelope, user_is_approved } => self.push(Job { envelope, user_is_approved }),
            Verdict::Held(link) => self.remember(link),
            Verdict::Duplicate => self.counters.duplicate(),
        }
    }

    fn flush(&self, timeout: Duration) -> bool {
        let until = steeple_core::clock::now().checked_add(timeout);
        self.release();
        if let Some(envelope) = sessions_envelope(self.sessions.as_deref()) {
            self.push(Job { envelope, user_is_approved: false });
        }
        let left = || until.map_or(timeout, |until| until.saturating_duration_since(steeple_core::clock::now()));
        self.queue.drain(left())
            && match &self.sink {
                #[cfg(feature = "transport")]
                Sink::Http => true,
                Sink::Other(inner) => inner.flush(left()),
            }
    }

    fn shutdown(&self, timeout: Duration) -> bool {
        let flushed = self.flush(timeout);
        self.queue.stop();
        flushed
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.queue.stop();
    }
}

impl Worker {
    fn run(mut self) {
        IS_WORKER.set(true);
        // The first symbol of a process takes as long as reading its debug information does, under a lock that a panic needs.
        symbols::warm_up();
        let mut sessions_at = steeple_core::clock::now().checked_add(self.sessions_every);
        loop {
            match self.queue.next(sessions_at) {
                Next::Job(job) => {
                    self.process_or_lose(job);
                    self.queue.done();
                }
                Next::Time => {
                    sessions_at = steeple_core::clock::now().checked_add(self.sessions_every);
                    if let Some(envelope) = sessions_envelope(self.sessions.as_deref()) {
                        self.process_or_lose(Job { envelope, user_is_approved: false });
                    }
                }
                Next::Stop => return,
            }
        }
    }

    /// A panic in here costs the one envelope that showed it, never the thread, and never lets anything out unscrubbed.
    fn process_or_lose(&mut self, job: Job) {
        let lost = items(&job.envelope);
        if catch_unwind(AssertUnwindSafe(|| self.process(job))).is_err() {
            self.counters.lose(Loss::Internal, lost);
        }
    }

    fn process(&mut self, job: Job) {
        let Job { envelope, user_is_approved } = job;
        if envelope.items().next().is_none() {
            // Raw bytes, which nothing can look into, or nothing at all.
            return self.lose(&envelope, Loss::Internal);
        }
        let wanted = match &self.out {
            #[cfg(feature = "transport")]
            Out::Http(http) => http.keep_allowed(envelope),
            Out::Other(_) => Some(envelope),
        };
        let Some(envelope) = wanted else { return };
        let scrubbed = scrub::envelope(&self.scrubber, envelope, |scrubber, item| {
            if let EnvelopeItem::Event(event) = item {
                symbols::resolve_event(event, &self.frames);
                let approved = if user_is_approved { event.user.take() } else { None };
                scrub::event(scrubber, &self.headers, event);
                event.user = approved.or_else(|| event.user.take());
            } else if let EnvelopeItem::Transaction(transaction) = item {
                let approved = if user_is_approved { transaction.user.take() } else { None };
                scrub::transaction(scrubber, &self.headers, transaction);
                transaction.user = approved.or_else(|| transaction.user.take());
            } else {
                scrub::item(scrubber, item);
            }
        });
        self.send(scrubbed);
    }

    /// The one way out.
    fn send(&mut self, envelope: Scrubbed<Envelope>) {
        match &mut self.out {
            #[cfg(feature = "transport")]
            Out::Http(http) => http.send(envelope),
            Out::Other(inner) => {
                count_sent(&self.counters, &envelope);
                inner.send_envelope(envelope.into_inner());
            }
        }
    }

    fn lose(&self, envelope: &Envelope, reason: Loss) {
        self.counters.lose(reason, items(envelope).max(1));
        self.recorder.record_lost_data(envelope, Reason::InternalError);
    }
}

fn sessions_envelope(sessions: Option<&Sessions>) -> Option<Envelope> {
    let mut envelope = Envelope::new();
    envelope.add_item(sessions?.take()?);
    Some(envelope)
}

fn count_sent(counters: &Counters, envelope: &Envelope) {
    for item in envelope.items() {
        if matches!(item, EnvelopeItem::Event(_)) {
            counters.events.fetch_add(1, Ordering::Relaxed);
        } else if matches!(item, EnvelopeItem::Transaction(_)) {
            counters.transactions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How many items of an envelope would be missed: all but our own reports on losses.
fn items(envelope: &Envelope) -> u64 {
    envelope.items().filter(|item| !matches!(item, EnvelopeItem::ClientReport(_))).count() as u64
}
