use std::{
    borrow::Cow,
    fmt,
    panic::RefUnwindSafe,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use http::request;
use sentry_core::{
    Client, Hub,
    protocol::{EnvelopeItem, Event},
};
use steeple_core::{End, Exchange, Identity, ObserveLayer, Observer, Outcome};
use steeple_export::Sink;

use crate::{
    Counts, FlushGuard, SentryBuilder,
    context::Context,
    event::{self, Finding},
    gate::Gate,
    hub::Cell,
    job::Job,
    panic_hook,
    session::Health,
    transaction,
};

/// Watches exchanges and reports those that fail to Sentry. Cheap to clone.
///
/// - One hub per exchange, bound whenever its service or body is polled: breadcrumbs, tags and users stay with their own exchange,
///   however tasks and threads interleave. Work that a handler spawns goes along with [`Carried`](crate::Carried).
/// - One event per failure: see the [crate docs](crate).
/// - In a tuple of observers it can stand anywhere.
/// - Cost when nothing happens: no allocation and no lock that anybody else holds.
///
/// # Examples
/// ```
/// use steeple_sentry::Sentry;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sentry = Sentry::builder("https://public@sentry.example.com/1").environment("production").build()?.install();
/// let app: axum::Router = axum::Router::new()
///     .route("/users/{id}", axum::routing::get(|| async { "Ann" }))
///     .layer(sentry.layer());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sentry(pub(crate) Arc<Shared>);

/// The client that was installed last.
static INSTALLED: Mutex<Weak<Client>> = Mutex::new(Weak::new());

/// What all clones share.
pub(crate) struct Shared {
    client: Arc<Client>,
    pub(crate) context: Arc<Context>,
    /// `None`: the client is the team's own.
    gate: Option<Arc<Gate>>,
    has_dsn: bool,
}

impl Shared {
    /// What [`Client::is_enabled`] says, for a client of ours without its lock.
    #[inline]
    fn is_enabled(&self) -> bool {
        match &self.gate {
            Some(gate) => self.has_dsn && !gate.is_closed(),
            None => self.client.is_enabled(),
        }
    }
}

/// Half-done work of ours is behind locks and atomics; the transport inside is asked for the same by the SDK.
impl RefUnwindSafe for Shared {}

impl Sentry {
    /// Settings, all but the DSN with a default. A DSN that is not valid is an error of [`SentryBuilder::build`].
    pub fn builder(dsn: impl Into<Cow<'static, str>>) -> SentryBuilder {
        SentryBuilder::default().dsn(dsn)
    }

    pub(crate) fn new(client: Arc<Client>, context: Arc<Context>, gate: Option<Arc<Gate>>) -> Self {
        // `Exchange::scope` takes the hub along. Where it cannot, `Carried` still does.
        let _carried = steeple_core::carry_with(crate::carried::capture);
        let has_dsn = client.options().dsn.is_some();
        Self(Arc::new(Shared { client, context, gate, has_dsn }))
    }

    /// The client that the process has already, as after `sentry::init`. `None`: it has none, one without a DSN, or one that
    /// [`install`](Self::install) put there.
    pub fn client_of_process() -> Option<Arc<Client>> {
        let client = Hub::main().client().filter(|client| client.is_enabled())?;
        (!Self::is_installed(&client)).then_some(client)
    }

    /// Whether [`install`](Self::install) put this client there.
    pub(crate) fn is_installed(client: &Arc<Client>) -> bool {
        let installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        std::ptr::eq(installed.as_ptr(), Arc::as_ptr(client))
    }

    /// Watches with a client that the team made itself: `sentry::init` keeps its say over transport, integrations and hooks.
    ///
    /// What the client sends of exchanges is scrubbed on its way; put [`ScrubSentry::before_send`](crate::ScrubSentry::before_send)
    /// into its options for everything else. Options about the client itself (DSN, environment, release, transport, queue) are the
    /// client's own and do nothing here.
    ///
    /// # Errors
    /// [`BuildError::is_rate`](crate::BuildError::is_rate) when a rate is not from 0 to 1.
    pub fn with_client(client: Arc<Client>, options: SentryBuilder) -> Result<Self, crate::BuildError> {
        options.build_with(client)
    }

    /// A layer that watches with this alone. Beside other observers: `ObserveLayer::new((log, metrics, sentry))`.
    pub fn layer(&self) -> ObserveLayer<Self> {
        ObserveLayer::new(self.clone())
    }

    /// Makes this the process's Sentry: events outside of exchanges go there too, and panics are seen with their stacks.
    ///
    /// Call it in `main`, before threads that capture are started: a thread's hub is copied from the main one when it is first used.
    /// Hooks that were set for panics still run.
    #[must_use = "an observer does nothing until a layer gets it"]
    pub fn install(self) -> Self {
        *INSTALLED.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&self.0.client);
        Hub::main().bind_client(Some(Arc::clone(&self.0.client)));
        Hub::current().bind_client(Some(Arc::clone(&self.0.client)));
        self.renew_scope();
        panic_hook::install();
        self
    }

    /// Makes the exchanges from now on begin with the main hub's scope as it is now: its tags, its contexts.
    ///
    /// Hubs are used again while nothing happens in them, so that they do not notice by themselves.
    pub fn renew_scope(&self) {
        self.0.context.renew();
    }

    /// The client.
    pub fn client(&self) -> &Arc<Client> {
        &self.0.client
    }

    /// What was sent, folded and lost so far.
    pub fn counts(&self) -> Counts {
        let envelopes = self.0.gate.as_ref().map(|gate| gate.outlet.pipeline.stats()).unwrap_or_default();
        self.0.context.counters.read(envelopes)
    }

    /// Waits until everything captured so far is sent, at the longest for `timeout`. `false`: something is left.
    ///
    /// Blocks the calling thread and nothing else: what sends is its own thread, so that it works on any runtime, on none,
    /// in a panic hook and before [`std::process::exit`].
    pub fn flush(&self, timeout: Duration) -> bool {
        self.0.client.flush(Some(timeout))
    }

    /// Flushes, then accepts nothing more.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        self.0.client.close(Some(timeout))
    }

    /// This as a sink, to be flushed, shut down and counted together with others. `None` with a client of the team's own.
    pub fn sink(&self) -> Option<Arc<dyn Sink>> {
        Some(Arc::clone(self.0.gate.as_ref()?) as Arc<dyn Sink>)
    }

    /// Flushes when it is dropped. Keep it in `main`.
    pub fn flush_on_drop(&self, timeout: Duration) -> FlushGuard {
        FlushGuard::new(self.clone(), timeout)
    }

    /// The event that waited is all that is known: it goes as it is.
    fn release(&self, held: Job, end: &End) {
        let Some(gate) = &self.0.gate else { return };
        let mut envelope = sentry_core::Envelope::new().with_headers(held.envelope.headers().clone());
        let user_is_approved = held.user_is_approved;
        for mut item in held.envelope.into_items() {
            if let EnvelopeItem::Event(event) = &mut item {
                event::fill_end(event, end);
            }
            envelope.add_item(item);
        }
        gate.push(Job { envelope, user_is_approved, late: None });
    }
}

impl fmt::Debug for Sentry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentry")
            .field("enabled", &self.0.client.is_enabled())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// What rides along with an exchange.
#[derive(Debug)]
pub struct Watched(Cell);

impl Observer for Sentry {
    type State = Watched;

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(&*self.0))
    }

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<Watched> {
        if !self.0.is_enabled() {
            return None;
        }
        let cell = Cell::take(&self.0.context, &self.0.client);
        if let Some(mut slot) = cell.lock() {
            slot.exchange = Some(exchange.clone());
            slot.head.capture(request, &self.0.context.headers);
        }
        if let Some(sampler) = &self.0.context.sampler {
            transaction::start(sampler, exchange, &cell);
        }
        Some(Watched(cell))
    }

    fn on_enter(&self, Watched(cell): &mut Watched, _exchange: &Exchange) {
        cell.enter();
    }

    fn on_exit(&self, Watched(cell): &mut Watched, _exchange: &Exchange) {
        cell.exit();
    }

    fn on_end(&self, Watched(cell): Watched, exchange: &Exchange, end: &End) {
        if event::may_have_failed(exchange, end) {
            return self.report(cell, exchange, end, true);
        }
        match cell.give_back_unseen(&self.0.context) {
            Some(cell) => self.report(cell, exchange, end, true),
            None => self.count_session(end, false),
        }
    }
}

impl Sentry {
    /// Reports what an exchange that is over failed with.
    pub(crate) fn report(&self, cell: Cell, exchange: &Exchange, end: &End, is_session: bool) {
        let (mut seen, running) = cell.end();
        let finding = event::find(&self.0.context, exchange, end, seen.panic.take());
        let failed = matches!(finding, Finding::Failed(_)) || seen.reported;
        if is_session {
            self.count_session(end, failed);
        }
        match finding {
            Finding::Failed(failure) => {
                // A panic is a separate failure, whatever was captured before it.
                let is_panic = matches!(failure, event::Failure::Panic(_)) || end.outcome == Outcome::Panicked;
                let told = if is_panic { seen.reported_panic } else { seen.reported };
                if told {
                    self.0.context.counters.duplicate();
                } else {
                    let event = event::of_failure(failure, exchange, end, seen.breadcrumbs());
                    self.capture(&cell, event, end, running.is_none());
                }
                if seen.held.is_some() {
                    self.0.context.counters.duplicate();
                }
            }
            Finding::Well => match seen.held {
                Some(held) if !seen.reported => self.release(*held, end),
                Some(_) => self.0.context.counters.duplicate(),
                None => {}
            },
            Finding::Expected if seen.held.is_some() => self.0.context.counters.duplicate(),
            Finding::Expected => {}
        }
        if let (Some(running), Some(sampler)) = (running, &self.0.context.sampler) {
            transaction::finish(running, &self.0.context, &self.0.client, sampler, exchange, end, &cell);
        }
        cell.give_back(&self.0.context);
    }

    /// Captures the event of an exchange that is over.
    ///
    /// Nearly always no one looks at it between here and the helper thread, which then fills in what is true of every event of
    /// the exchange. `is_last`: no transaction needs it afterwards.
    fn capture(&self, cell: &Cell, mut event: Event<'static>, end: &End, is_last: bool) {
        let options = self.0.client.options();
        let is_unseen = options.before_send.is_none() && options.integrations.is_empty() && self.0.gate.is_some();
        match cell.untouched_scope(&self.0.context) {
            Some(scope) if is_last && is_unseen => {
                if let Some(mut slot) = cell.lock() {
                    slot.ended = Some(end.clone());
                }
                // Not by the hub, which would then know of an event and could serve no other exchange.
                self.0.client.capture_event(event, Some(scope));
            }
            _ => {
                event::fill_end(&mut event, end);
                cell.hub.capture_event(event);
            }
        }
    }

    fn count_session(&self, end: &End, failed: bool) {
        if let Some(sessions) = &self.0.context.sessions {
            sessions.count(Health::of(end, failed));
        }
    }
}

const fn assert_send_sync<T: Send + Sync>() {}
const fn assert_send<T: Send>() {}
const _: () = assert_send_sync::<Sentry>();
const _: () = assert_send::<Watched>();

#[cfg(test)]
mod tests {
    use sentry_core::{ClientOptions, Envelope, Transport};

    use super::*;

    struct Nowhere;

    impl Transport for Nowhere {
        fn send_envelope(&self, _envelope: Envelope) {}
    }

    fn nowhere(_options: &ClientOptions) -> Arc<dyn Transport> {
        Arc::new(Nowhere)
    }

    #[test]
    fn a_client_of_ours_is_enabled_until_it_is_closed() {
        let sentry = Sentry::builder("http://public@127.0.0.1:9/1").transport(nowhere).build().unwrap();
        assert!(sentry.0.is_enabled() && sentry.client().is_enabled());
        sentry.client().close(Some(Duration::ZERO));
        assert!(!sentry.0.is_enabled() && !sentry.client().is_enabled());
    }

    #[test]
    fn a_client_of_the_teams_is_asked_itself() {
        let client =
            Arc::new(Client::with_options(ClientOptions::new().dsn("http://public@127.0.0.1:9/1").transport(nowhere)));
        let sentry = Sentry::with_client(Arc::clone(&client), SentryBuilder::default()).unwrap();
        assert!(sentry.0.is_enabled());
        client.close(Some(Duration::ZERO));
        assert!(!sentry.0.is_enabled());
    }
}
