//! What ties a hub to its exchange, and hubs that nothing happened in are used again.
//!
//! A hub costs two allocations and a scope that knows its exchange five more. Most exchanges never touch theirs, so that it can serve
//! the next one as it is. Whether it was touched shows in the reference counts: writing to a shared scope copies it
//! first, and code that keeps a hub beyond its exchange holds a reference.

use std::{
    cell::RefCell,
    fmt, mem,
    sync::{Arc, MutexGuard},
};

use sentry_core::{Client, Hub, Scope, protocol::TraceId};

use crate::{
    bound,
    context::Context,
    dedup,
    slot::{Link, Running, Sightings, Slot},
};

/// Hubs that wait on each thread to be used again.
const POOLED: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<Cell>> = const { RefCell::new(Vec::new()) };
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
    pub(crate) fn take(context: &Arc<Context>, client: &Arc<Client>) -> Self {
        let generation = context.generation();
        let pooled = POOL.try_with(|pool| {
            let mut pool = pool.try_borrow_mut().ok()?;
            while let Some(cell) = pool.pop() {
                if cell.generation == generation {
                    return Some(cell);
                }
            }
            None
        });
        pooled.ok().flatten().unwrap_or_else(|| Self::new(context, client, generation))
    }

    fn new(context: &Arc<Context>, client: &Arc<Client>, generation: usize) -> Self {
        let link = Arc::new(Link::default());
        let template = Hub::new_from_top(Hub::main());
        let scope = Arc::new(template.configure_scope(|scope| {
            let (processor_link, owner) = (Arc::clone(&link), Arc::downgrade(context));
            scope.add_event_processor(move |event| dedup::enrich(&processor_link, &owner, event));
            link.lock().own_trace = own_trace(scope);
            scope.clone()
        }));
        let hub = Arc::new(Hub::new(Some(Arc::clone(client)), Arc::clone(&scope)));
        Self { hub, link: Some(link), scope, generation }
    }

    /// Gives the hub back if it is unchanged and has no other references.
    pub(crate) fn give_back(self, context: &Context) {
        if let Some(link) = self.untouched(context) {
            link.lock().clear();
            self.put_back();
        }
    }

    /// The same for an exchange that ended well, at less cost. `Some`: something was seen in it, or someone keeps the hub.
    pub(crate) fn give_back_unseen(self, context: &Context) -> Option<Self> {
        let is_cleared = self.untouched(context).is_some_and(|link| link.lock().clear_unseen());
        if !is_cleared {
            return Some(self);
        }
        self.put_back();
        None
    }

    /// The scope, if all is as it was made: then it has nothing that the main scope did not have.
    pub(crate) fn untouched_scope(&self, context: &Context) -> Option<&Scope> {
        self.untouched(context)?;
        Some(&self.scope)
    }

    /// The link, if all is as it was made: then nothing else can reach it.
    fn untouched(&self, context: &Context) -> Option<&Link> {
        let link = self.link.as_ref()?;
        let is_untouched = self.generation == context.generation()
            && Arc::strong_count(&self.hub) == 1
            && Arc::strong_count(&self.scope) == 2
            && Arc::strong_count(link) == 2
            && self.hub.last_event_id().is_none();
        is_untouched.then_some(link)
    }

    fn put_back(self) {
        // A thread that is ending has no pool any more.
        let _ending = POOL.try_with(|pool| {
            if let Ok(mut pool) = pool.try_borrow_mut()
                && pool.len() < POOLED
            {
                pool.push(self);
            }
        });
    }

    pub(crate) fn enter(&mut self) {
        self.link = bound::enter(Arc::clone(&self.hub), self.link.take(), true);
    }

    /// Undoes [`enter`](Self::enter).
    pub(crate) fn exit(&mut self) {
        self.link = bound::exit().or_else(|| self.link.take());
    }

    /// What is known of the exchange. Not while it is entered: then it is the current one.
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

/// The trace that a scope makes up by itself: the sign of an event that no span claims.
fn own_trace(scope: &Scope) -> TraceId {
    let header = scope.iter_trace_propagation_headers().next();
    header.and_then(|(_, value)| value.split('-').next()?.parse().ok()).unwrap_or_default()
}
