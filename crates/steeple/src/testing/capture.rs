//! Where everything is kept, and the observer that binds it to exchanges.

use std::{
    any::Any,
    cell::RefCell,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use http::request;
use steeple_core::{Carry, End, Exchange, Observer, RecordedError, Signal, carry_with};
use tracing::{Dispatch, dispatcher};

use super::Line;

/// What one recorder has recorded. A cheap clone.
#[derive(Clone, Default)]
pub(crate) struct Recording(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The subscriber that its exchanges log to.
    dispatch: OnceLock<Dispatch>,
    lines: Mutex<Vec<u8>>,
    failures: Mutex<Vec<Failure>>,
    /// What integrations keep, one of a type.
    memories: Mutex<Vec<Arc<dyn Memory>>>,
}

/// What a recorder keeps of an integration.
pub(crate) trait Memory: Any + Send + Sync {
    /// Forgets what it has kept.
    fn clear(&self);

    /// At the head of each request.
    fn on_request(&self, _request: &mut request::Parts) {}
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    pub(super) fn dispatch(&self) -> Option<&Dispatch> {
        self.0.dispatch.get()
    }

    /// Sets the subscriber that lines go to.
    pub(crate) fn set_dispatch(&self, dispatch: Dispatch) {
        let _set_once = self.0.dispatch.set(dispatch);
    }

    /// Where the log writes its lines.
    pub(crate) fn writer(&self) -> Writer {
        Writer(self.clone())
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        lock(&self.0.lines).split(|byte| *byte == b'\n').filter_map(Line::of).collect()
    }

    pub(super) fn failures(&self) -> Vec<Failure> {
        lock(&self.0.failures).clone()
    }

    /// What it keeps of an integration. Made at the first call.
    #[expect(clippy::allow_attributes, reason = "whether it is used depends on the features")]
    #[allow(dead_code, reason = "integrations use it")]
    pub(crate) fn memory<M: Memory + Default>(&self) -> Arc<M> {
        let mut memories = lock(&self.0.memories);
        let found = memories.iter().find_map(|memory| {
            let memory: Arc<dyn Any + Send + Sync> = Arc::clone(memory) as _;
            memory.downcast().ok()
        });
        found.unwrap_or_else(|| {
            let memory = Arc::<M>::default();
            memories.push(Arc::clone(&memory) as _);
            memory
        })
    }

    pub(super) fn clear(&self) {
        lock(&self.0.lines).clear();
        lock(&self.0.failures).clear();
        lock(&self.0.memories).iter().for_each(|memory| memory.clear());
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

/// An output of the log.
#[derive(Debug)]
pub(crate) struct Writer(Recording);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0.0.lines).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A failure that an error tracker would get, see [`Recorder::errors`](super::Recorder::errors).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The name of the exchange or job: `GET /users/{id}`.
    pub name: String,
    /// The error's type, as its crate names it: `std::io::Error`, `panic`. For a failure without an error: its class, such as
    /// `503` or `panicked`.
    pub kind: String,
    /// The error's own message. Empty for a failure without an error.
    pub message: String,
    /// The messages of its sources, the outermost first.
    pub causes: Vec<String>,
    /// The id of the user, as far as sinks may see it.
    pub user: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
}

impl Failure {
    fn of(exchange: &Exchange, error: &RecordedError) -> Self {
        let mut texts = error.chain().map(str::to_owned);
        Self {
            kind: error.type_name().to_owned(),
            message: texts.next().unwrap_or_default(),
            ..Self::in_exchange(exchange)
        }
        .caused_by(texts)
    }

    fn caused_by(mut self, causes: impl Iterator<Item = String>) -> Self {
        self.causes = causes.collect();
        self
    }

    fn in_exchange(exchange: &Exchange) -> Self {
        Self {
            name: exchange.name().to_string(),
            kind: String::new(),
            message: String::new(),
            causes: Vec::new(),
            user: exchange.visible_user().and_then(|user| user.id().map(str::to_owned)),
            request_id: exchange.get_request_id().map(ToString::to_string),
        }
    }
}

/// Binds a recorder to the exchanges of its Steeple.
#[derive(Clone, Debug)]
#[expect(unnameable_types, reason = "part of the state of an opaque observer")]
pub struct Capture(Recording);

impl Capture {
    pub(crate) fn new(recording: Recording) -> Self {
        // Fails where four others carry something already: then what exchanges spawn is not recorded.
        let _carried = carry_with(carried);
        Self(recording)
    }
}

thread_local! {
    /// The subscribers that were current before, one for each poll that this thread is in.
    static BEFORE: RefCell<Vec<dispatcher::DefaultGuard>> = const { RefCell::new(Vec::new()) };
}

fn enter(recording: &Recording) {
    if let Some(dispatch) = recording.dispatch() {
        let guard = dispatcher::set_default(dispatch);
        let _ending = BEFORE.try_with(|before| before.borrow_mut().push(guard));
    }
}

fn exit(recording: &Recording) {
    if recording.dispatch().is_some() {
        // Dropped after the borrow: what a subscriber does then may enter again.
        let guard = BEFORE.try_with(|before| before.borrow_mut().pop());
        drop(guard);
    }
}

impl Carry for Recording {
    fn enter(&self) {
        enter(self);
    }

    fn exit(&self) {
        exit(self);
    }
}

fn carried(exchange: &Exchange) -> Option<Arc<dyn Carry>> {
    exchange.get::<Recording>().map(|recording| Arc::new(recording) as Arc<dyn Carry>)
}

impl Observer for Capture {
    type State = ();

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<()> {
        let _none = exchange.insert(self.0.clone());
        lock(&self.0.0.memories).iter().for_each(|memory| memory.on_request(request));
        Some(())
    }

    fn on_enter(&self, (): &mut (), _exchange: &Exchange) {
        enter(&self.0);
    }

    fn on_exit(&self, (): &mut (), _exchange: &Exchange) {
        exit(&self.0);
    }

    fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
        if exchange.is_skipped(Signal::Errors) {
            return;
        }
        let mut failures: Vec<_> = exchange.errors().iter().map(|error| Failure::of(exchange, error)).collect();
        if failures.is_empty() && end.is_server_error() {
            let kind = end.error_class().map(|class| class.to_string()).unwrap_or_default();
            failures.push(Failure { kind, ..Failure::in_exchange(exchange) });
        }
        lock(&self.0.0.failures).extend(failures);
    }
}
