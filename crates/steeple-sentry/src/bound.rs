//! Which exchange's hub is bound on this thread, and the decisions about its transactions.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use sentry_core::{
    BeforeCallback, Hub, HubSwitchGuard,
    protocol::{Log, TraceId},
};

use crate::slot::Link;

thread_local! {
    /// The hubs that are bound on this thread, the innermost last. Their guards cannot leave it.
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
    /// The decision about transactions that this thread starts just now.
    static DECIDED: Cell<Option<bool>> = const { Cell::new(None) };
}

struct Entered {
    link: Option<Arc<Link>>,
    /// Polled by its observer, which sees the end of it.
    is_watched: bool,
    _bound: HubSwitchGuard,
}

/// Binds a hub to this thread until [`exit`]. On a thread that is ending it cannot, and returns the link.
#[inline]
pub(crate) fn enter(hub: Arc<Hub>, link: Option<Arc<Link>>, is_watched: bool) -> Option<Arc<Link>> {
    let mut entering = Some(Entered { link, is_watched, _bound: HubSwitchGuard::new(hub) });
    let _ending = ENTERED.try_with(|entered| {
        if let Some(entering) = entering.take() {
            entered.borrow_mut().push(entering);
        }
    });
    entering.and_then(|entered| entered.link)
}

/// Binds the hub that was bound before. Returns the state of the hub that was bound until now.
#[inline]
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
    let decided = DECIDED.try_with(Cell::get).ok().flatten();
    decided.or_else(|| Some(current()?.lock().running.is_some()))
}

/// Puts the exchange's trace on the logs that the SDK sends, which would carry their scope's own. Then calls the former callback.
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
