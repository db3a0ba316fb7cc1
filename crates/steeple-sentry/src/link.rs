//! What ties a hub to its exchange, and hubs that nothing happened in are used again.
//!
//! A hub costs two allocations and a scope that knows its exchange five more. Most exchanges never touch theirs, so that it can serve
//! the next one as it is. Whether it was touched shows in the reference counts: whoever writes to a scope that is shared copies it
//! first, and whoever keeps a hub beyond its exchange holds a reference.

use std::{
    cell::RefCell,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use sentry_core::{
    BeforeCallback, Envelope, Hub, HubSwitchGuard, Level, Scope,
    protocol::{Breadcrumb, DynamicSamplingContext, EnvelopeHeaders, EnvelopeItem, Event, Log, TraceId},
    types::Uuid,
};
use steeple_core::Exchange;

use crate::{event, head::Head, panic_hook::Panicked, pipeline::Job, sentry::Shared, transaction::Running};

/// Hubs that wait on each thread to be used again.
const POOLED: usize = 64;

thread_local! {
    /// The hubs that are bound on this thread, the innermost last. Their guards cannot leave it.
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
    static POOL: RefCell<Vec<Cell>> = const { RefCell::new(Vec::new()) };
    /// What was decided on transactions that are started by this thread just now.
    static DECIDED: std::cell::Cell<Option<bool>> = const { std::cell::Cell::new(None) };
    /// What the event processor saw of the event that its thread is about to hand to the transport.
    static SIGHTING: RefCell<Option<Sighting>> = const { RefCell::new(None) };
}

struct Entered {
    link: Option<Arc<Link>>,
    /// Polled by its observer, which sees the end of it.
    is_watched: bool,
    _bound: HubSwitchGuard,
}

/// A hub with a scope that knows its exchange.
pub(crate) struct Cell {
    pub(crate) hub: Arc<Hub>,
    /// While the hub is bound to a thread, that thread has it.
    link: Option<Arc<Link>>,
    /// The hub's scope as it was made.
    scope: Arc<Scope>,
    generation: usize,
}

impl Cell {
    /// A hub for an exchange: one that was used before, or a new one.
    pub(crate) fn take(shared: &Arc<Shared>) -> Self {
        let generation = shared.generation();
        let pooled = POOL.try_with(|pool| {
            let mut pool = pool.try_borrow_mut().ok()?;
            while let Some(cell) = pool.pop() {
                if cell.generation == generation {
                    return Some(cell);
                }
            }
            None
        });
        pooled.ok().flatten().unwrap_or_else(|| Self::new(shared, generation))
    }

    fn new(shared: &Arc<Shared>, generation: usize) -> Self {
        let link = Arc::new(Link::default());
        let template = Hub::new_from_top(Hub::main());
        let scope = Arc::new(template.configure_scope(|scope| {
            let (processor_link, owner) = (Arc::clone(&link), Arc::downgrade(shared));
            scope.add_event_processor(move |event| processor_link.enrich(&owner, event));
            link.lock().own_trace = own_trace(scope);
            scope.clone()
        }));
        let hub = Arc::new(Hub::new(Some(Arc::clone(&shared.client)), Arc::clone(&scope)));
        Self { hub, link: Some(link), scope, generation }
    }

    /// Gives the hub back if nothing happened in it and nobody kept it.
    pub(crate) fn give_back(self, shared: &Shared) {
        if let Some(link) = self.untouched(shared) {
            link.lock().clear();
            self.put_back();
        }
    }

    /// The same for an exchange that ended well, at less cost. `Some`: something was seen in it, or somebody keeps the hub.
    pub(crate) fn give_back_unseen(self, shared: &Shared) -> Option<Self> {
        let is_cleared = self.untouched(shared).is_some_and(|link| link.lock().clear_unseen());
        if !is_cleared {
            return Some(self);
        }
        self.put_back();
        None
    }

    /// The link, if all is as it was made: then nobody else can come by it.
    fn untouched(&self, shared: &Shared) -> Option<&Link> {
        let link = self.link.as_ref()?;
        let is_untouched = self.generation == shared.generation()
            && Arc::strong_count(&self.hub) == 1
            && Arc::strong_count(&self.scope) == 2
            && Arc::strong_count(link) == 2
            && self.hub.last_event_id().is_none();
        is_untouched.then_some(link)
    }

    fn put_back(self) {
        // On a thread that is ending there is no pool any more.
        let _ending = POOL.try_with(|pool| {
            if let Ok(mut pool) = pool.try_borrow_mut()
                && pool.len() < POOLED
            {
                pool.push(self);
            }
        });
    }

    pub(crate) fn enter(&mut self) {
        self.link = enter(Arc::clone(&self.hub), self.link.take(), true);
    }

    /// Undoes [`enter`](Self::enter).
    pub(crate) fn exit(&mut self) {
        self.link = exit().or_else(|| self.link.take());
    }

    /// What is known of the exchange. Not while it is entered: then whoever asks for the current one has it.
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, Slot>> {
        self.link.as_deref().map(Link::lock)
    }

    /// Takes out what the end of the exchange needs.
    pub(crate) fn end(&self) -> (Sightings, Option<Running>) {
        let Some(mut slot) = self.lock() else { return Default::default() };
        let seen = &mut slot.sightings;
        let left = Sightings { reported: seen.reported, reported_panic: seen.reported_panic, ..Sightings::default() };
        (mem::replace(seen, left), slot.running.take())
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("exchange", &self.lock().and_then(|slot| slot.exchange.clone()))
            .finish_non_exhaustive()
    }
}

/// Binds a hub to this thread until [`exit`]. On a thread that is ending it cannot, and returns the link.
pub(crate) fn enter(hub: Arc<Hub>, link: Option<Arc<Link>>, is_watched: bool) -> Option<Arc<Link>> {
    let mut entering = Some(Entered { link, is_watched, _bound: HubSwitchGuard::new(hub) });
    let _ending = ENTERED.try_with(|entered| entered.borrow_mut().extend(entering.take()));
    entering.and_then(|entered| entered.link)
}

/// Binds the hub that was bound before. Returns what was entered with the one that was bound until now.
pub(crate) fn exit() -> Option<Arc<Link>> {
    let entered = ENTERED.try_with(|entered| entered.borrow_mut().pop()).ok().flatten();
    // The guard is dropped outside of the borrow: a hub's end can run anything.
    entered.and_then(|entered| entered.link)
}

/// The exchange whose hub is bound on this thread.
pub(crate) fn current() -> Option<Arc<Link>> {
    innermost(|entered| entered.link.clone())
}

/// The same, if a panic of it is seen at its end. In what a handler spawned it is not.
pub(crate) fn current_watched() -> Option<Arc<Link>> {
    innermost(|entered| entered.link.clone().filter(|_| entered.is_watched))
}

fn innermost<T>(look: impl FnOnce(&Entered) -> Option<T>) -> Option<T> {
    ENTERED.try_with(|entered| entered.try_borrow().ok()?.last().and_then(look)).ok()?
}

/// Runs `f` with a decision for the transactions that it starts.
pub(crate) fn deciding<T>(sampled: bool, f: impl FnOnce() -> T) -> T {
    let set = |decided| DECIDED.try_with(|slot| slot.replace(decided)).ok().flatten();
    let before = set(Some(sampled));
    let value = f();
    set(before);
    value
}

/// What the exchange that is current decided on transactions: those that are started in it go along.
pub(crate) fn decision() -> Option<bool> {
    let decided = DECIDED.try_with(std::cell::Cell::get).ok().flatten();
    decided.or_else(|| Some(current()?.lock().running.is_some()))
}

/// Puts the exchange's trace on the logs that the SDK sends, which would carry their scope's own. Then does what was asked for before.
pub(crate) fn tracing_logs(then: Option<BeforeCallback<Log>>) -> BeforeCallback<Log> {
    Arc::new(move |mut log| {
        if let Some(link) = current() {
            let slot = link.lock();
            if let Some(exchange) = &slot.exchange
                && log.trace_id.is_none_or(|id| id == slot.own_trace)
            {
                log.trace_id = Some(TraceId::from(slot.head.trace(exchange).trace_id().to_bytes()));
            }
        }
        match &then {
            Some(then) => then(log),
            None => Some(log),
        }
    })
}

/// The trace that a scope makes up by itself: the sign of an event that no span claims.
fn own_trace(scope: &Scope) -> TraceId {
    let header = scope.iter_trace_propagation_headers().next();
    header.and_then(|(_, value)| value.split('-').next()?.parse().ok()).unwrap_or_default()
}

/// What is known of the exchange that a hub serves.
#[derive(Default)]
pub(crate) struct Link(Mutex<Slot>);

#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) exchange: Option<Exchange>,
    pub(crate) head: Head,
    pub(crate) running: Option<Running>,
    pub(crate) sightings: Sightings,
    own_trace: TraceId,
}

/// How often and by whom the exchange's failure was seen.
#[derive(Default)]
pub(crate) struct Sightings {
    /// An event of it is on its way.
    pub(crate) reported: bool,
    /// An event of a panic is on its way.
    pub(crate) reported_panic: bool,
    /// A log line that became an event. It waits: what it is about may turn up, and says more.
    pub(crate) held: Option<Box<Job>>,
    /// Log lines that would have become further events.
    pub(crate) folded: Vec<Breadcrumb>,
    pub(crate) panic: Option<Box<Panicked>>,
}

impl Sightings {
    fn has_any(&self) -> bool {
        // What is folded follows upon what was reported or is held.
        self.reported || self.held.is_some() || self.panic.is_some()
    }
}

/// Further log lines of one failure are kept up to this many.
const MAX_FOLDED: usize = 16;

impl Slot {
    /// Ready for the next exchange. What has room keeps it.
    fn clear(&mut self) {
        self.exchange = None;
        self.head.clear();
        self.running = None;
        if self.sightings.has_any() {
            self.sightings = Sightings::default();
        }
    }

    /// The same, if nothing was seen that the end has to tell.
    fn clear_unseen(&mut self) -> bool {
        let is_unseen = self.running.is_none() && !self.sightings.has_any();
        if is_unseen {
            self.clear();
        }
        is_unseen
    }
}

/// What became of an envelope.
#[expect(clippy::large_enum_variant, reason = "moved once, on its way into the queue")]
pub(crate) enum Verdict {
    Send {
        envelope: Envelope,
        user_is_approved: bool,
    },
    /// It waits for its exchange, there.
    Held(Weak<Link>),
    /// Another event says it already.
    Duplicate,
}

/// What an event processor knows of an event and the transport does not.
struct Sighting {
    event: Option<Uuid>,
    link: Option<Arc<Link>>,
    kind: Kind,
    user_is_approved: bool,
    dsc: Option<DynamicSamplingContext>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A log bridge made an event of a line.
    Log,
    Failure,
    Panic,
    /// Below error, or not an event at all.
    Other,
}

impl Kind {
    fn of(event: &Event<'_>) -> Self {
        if event.level < Level::Error {
            return Self::Other;
        }
        let is_panic = |ty: &str| ty == "panic";
        let mechanism = |exception: &sentry_core::protocol::Exception| {
            exception.mechanism.as_ref().is_some_and(|mechanism| is_panic(&mechanism.ty))
        };
        if event.exception.values.iter().any(mechanism) {
            Self::Panic
        } else if event.logger.is_some() {
            Self::Log
        } else {
            Self::Failure
        }
    }
}

fn sighted(sighting: Sighting) {
    let _ending = SIGHTING.try_with(|slot| slot.replace(Some(sighting)));
}

/// The transaction that this thread is about to finish has a user that may be seen.
pub(crate) fn expect_transaction(user_is_approved: bool, dsc: DynamicSamplingContext) {
    sighted(Sighting { event: None, link: None, kind: Kind::Other, user_is_approved, dsc: Some(dsc) });
}

/// Whether a log bridge made an event of the line that sums up an exchange: what failed in it has an event of its own.
fn is_summary(event: &Event<'_>) -> bool {
    event.logger.as_deref().is_some_and(|logger| SUMMARIES.contains(&logger))
}

/// What steeple-log writes them under.
const SUMMARIES: [&str; 1] = [steeple_core::ACCESS_TARGET];

/// Decides what becomes of an envelope that was captured on this thread.
pub(crate) fn judge(envelope: Envelope) -> Verdict {
    let sighting = SIGHTING.try_with(RefCell::take).ok().flatten();
    if envelope.event().is_some_and(is_summary) {
        return Verdict::Duplicate;
    }
    let event = envelope.event().map(|event| event.event_id);
    let Some(sighting) = sighting.filter(|sighting| sighting.event == event) else {
        return Verdict::Send { envelope, user_is_approved: false };
    };
    let user_is_approved = sighting.user_is_approved;
    let envelope = match sighting.dsc {
        Some(dsc) if envelope.items().any(|item| matches!(item, EnvelopeItem::Transaction(_))) => {
            let headers = EnvelopeHeaders::new().with_trace(dsc);
            let headers = envelope.uuid().map_or(headers.clone(), |id| headers.with_event_id(*id));
            envelope.with_headers(headers)
        }
        _ => envelope,
    };
    let Some(link) = sighting.link else { return Verdict::Send { envelope, user_is_approved } };
    let mut slot = link.lock();
    let over = slot.exchange.as_ref().is_none_or(Exchange::has_ended);
    let seen = &mut slot.sightings;
    match sighting.kind {
        Kind::Other => Verdict::Send { envelope, user_is_approved },
        Kind::Failure | Kind::Panic => {
            seen.reported = true;
            seen.reported_panic |= sighting.kind == Kind::Panic;
            Verdict::Send { envelope, user_is_approved }
        }
        Kind::Log if over && !seen.reported => {
            seen.reported = true;
            Verdict::Send { envelope, user_is_approved }
        }
        Kind::Log if seen.reported => Verdict::Duplicate,
        Kind::Log if seen.held.is_none() => {
            seen.held = Some(Box::new(Job { envelope, user_is_approved }));
            drop(slot);
            Verdict::Held(Arc::downgrade(&link))
        }
        Kind::Log => {
            if seen.folded.len() < MAX_FOLDED
                && let Some(event) = envelope.event()
            {
                seen.folded.push(event::as_breadcrumb(event));
            }
            Verdict::Duplicate
        }
    }
}

impl Link {
    /// A panic of user code cannot happen while this is held: nothing in here calls any.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an event waits here for its exchange.
    pub(crate) fn holds(&self) -> bool {
        self.0.try_lock().is_ok_and(|slot| slot.sightings.held.is_some())
    }

    /// Takes out the event that waits for its exchange: the process may not last as long. What the exchange's end has to
    /// say of it, it then says already. Never waits: the panic hook may flush.
    pub(crate) fn release(&self) -> Option<Job> {
        let mut slot = self.0.try_lock().ok()?;
        let job = *slot.sightings.held.take()?;
        slot.sightings.reported = true;
        Some(job)
    }

    /// Keeps what a panic said. Called by the panic hook, where waiting for a lock could be waiting for oneself.
    pub(crate) fn saw_panic(&self, panicked: Panicked) {
        if let Ok(mut slot) = self.0.try_lock() {
            slot.sightings.panic = Some(Box::new(panicked));
        }
    }

    /// Completes whatever is captured in the exchange's hub.
    fn enrich(self: &Arc<Self>, owner: &Weak<Shared>, mut event: Event<'static>) -> Option<Event<'static>> {
        let Some(shared) = owner.upgrade() else { return Some(event) };
        let kind = Kind::of(&event);
        let slot = self.lock();
        let Some(exchange) = slot.exchange.clone() else { return Some(event) };
        let user_is_approved = event::fill(&mut event, &exchange, &slot.head, &shared.settings, slot.own_trace);
        let repeated = slot.sightings.reported && kind == Kind::Log;
        drop(slot);
        if shared.has_pipeline() {
            let link = Some(Arc::clone(self));
            sighted(Sighting { event: Some(event.event_id), link, kind, user_is_approved, dsc: None });
            return Some(event);
        }
        // The client is the team's own: nothing of ours lies between here and its transport.
        if repeated {
            shared.counters.duplicate();
            return None;
        }
        if kind != Kind::Other {
            let seen = &mut self.lock().sightings;
            seen.reported = true;
            seen.reported_panic |= kind == Kind::Panic;
        }
        let approved = if user_is_approved { event.user.take() } else { None };
        crate::scrub::event(&shared.settings.scrubber, &shared.settings.headers, &mut event);
        event.user = approved.or_else(|| event.user.take());
        Some(event)
    }
}
