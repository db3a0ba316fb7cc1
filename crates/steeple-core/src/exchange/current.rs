use std::{
    cell::Cell,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::Exchange;
use crate::observer::quietly;

thread_local! {
    static CURRENT: Cell<Option<Exchange>> = const { Cell::new(None) };
}

impl Exchange {
    /// The exchange whose service or response body is being polled on this thread.
    ///
    /// `None` outside of a request, in a spawned task (see [`scope`](Self::scope)) and on a thread that is ending.
    pub fn current() -> Option<Self> {
        let clone = |current: &Cell<Option<Self>>| {
            let exchange = current.take();
            current.set(exchange.clone());
            exchange
        };
        CURRENT.try_with(clone).ok()?
    }

    /// Runs `f` with this exchange as the current one, and with all that observers [carry](carry_with) along.
    pub fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
        let _entered = self.carrier().enter();
        f()
    }

    /// Makes this exchange the current one whenever `future` is polled: for tasks that a handler spawns.
    ///
    /// One way for everything: ids on log lines, and what observers [carry](carry_with) along, such as the hub that Sentry
    /// captures errors with. Call it in the handler, before the task is spawned.
    ///
    /// # Examples
    /// ```
    /// # async fn handler() {
    /// use steeple_core::Exchange;
    ///
    /// let exchange = Exchange::current().unwrap_or_else(Exchange::detached);
    /// let task = exchange.scope(async { /* log lines in here carry the request's id */ });
    /// # task.await;
    /// # }
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> Scoped<F> {
        self.carrier().scope(future)
    }

    /// What [`scope`](Self::scope) binds, for a future that is not there yet. Made in the handler, it may be used later and elsewhere:
    /// in the callback of an upgrade to a WebSocket, in a layer of a `tracing` subscriber.
    ///
    /// ```
    /// use steeple_core::Exchange;
    ///
    /// # fn on_upgrade<F: Future>(_callback: impl FnOnce() -> F) {}
    /// # async fn talk() {}
    /// # fn handler(exchange: Exchange) {
    /// let carrier = exchange.carrier();
    /// on_upgrade(move || carrier.scope(talk()));
    /// # }
    /// ```
    pub fn carrier(&self) -> Carrier {
        Carrier { exchange: self.clone(), carried: carried(self) }
    }
}

/// An exchange with what observers [carry](carry_with) along, to be bound to threads. Made by [`Exchange::carrier`].
#[derive(Clone)]
#[must_use = "it binds nothing until it is entered"]
pub struct Carrier {
    exchange: Exchange,
    carried: Arc<[Arc<dyn Carry>]>,
}

impl Carrier {
    /// Makes the exchange this thread's current one until the guard is dropped.
    ///
    /// Guards are dropped in the opposite order of their making, on the thread that made them: not across an `.await`.
    pub fn enter(&self) -> EnteredCarrier {
        let mut before = Some(self.exchange.clone());
        swap_current(&mut before);
        enter_all(&self.carried);
        EnteredCarrier { before, carried: Arc::clone(&self.carried), _thread: PhantomData }
    }

    /// Binds it whenever `future` is polled, as [`Exchange::scope`] does.
    pub fn scope<F: Future>(self, future: F) -> Scoped<F> {
        Scoped { future, carrier: self }
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

/// An exchange is current until this is dropped, see [`Carrier::enter`].
#[must_use = "dropping it at once ends the scope"]
pub struct EnteredCarrier {
    before: Option<Exchange>,
    carried: Arc<[Arc<dyn Carry>]>,
    _thread: PhantomData<*const ()>,
}

impl Drop for EnteredCarrier {
    fn drop(&mut self) {
        exit_all(&self.carried);
        swap_current(&mut self.before);
    }
}

impl fmt::Debug for EnteredCarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnteredCarrier").finish_non_exhaustive()
    }
}

/// What an observer binds to a thread beside the current exchange, see [`carry_with`].
pub trait Carry: Send + Sync + 'static {
    /// Work of the exchange begins on this thread, or goes on.
    fn enter(&self);

    /// It returns, or unwinds. Undoes `enter`.
    fn exit(&self);
}

/// Asks an observer what goes along with an exchange's work, see [`carry_with`].
pub type Capture = fn(&Exchange) -> Option<Arc<dyn Carry>>;

/// The observers that carry something.
static CAPTURES: [OnceLock<Capture>; 4] = [const { OnceLock::new() }; 4];

/// Asks `capture` at each [`Exchange::scope`] and [`Exchange::in_scope`] of this process what goes along with the exchange's
/// work: for observers that bind something to the thread that polls, such as Sentry's hub.
///
/// Returns `false` when 4 others do so already. The same function counts once.
#[must_use = "it may not have worked"]
pub fn carry_with(capture: Capture) -> bool {
    CAPTURES.iter().any(|place| {
        let known = *place.get_or_init(|| capture);
        std::ptr::fn_addr_eq(known, capture)
    })
}

fn carried(exchange: &Exchange) -> Arc<[Arc<dyn Carry>]> {
    let captures = CAPTURES.iter().map_while(OnceLock::get);
    let carried: Vec<_> = captures.filter_map(|capture| quietly(|| capture(exchange)).flatten()).collect();
    // Without an allocation where nothing goes along.
    if carried.is_empty() { Arc::default() } else { carried.into() }
}

fn enter_all(carried: &[Arc<dyn Carry>]) {
    for one in carried {
        quietly(|| one.enter());
    }
}

fn exit_all(carried: &[Arc<dyn Carry>]) {
    for one in carried.iter().rev() {
        quietly(|| one.exit());
    }
}

/// Exchanges the current one and the one in the slot: no reference count is touched.
#[inline]
pub(crate) fn swap_current(slot: &mut Option<Exchange>) {
    // Fails on a thread that is ending, and then both times: nothing is swapped.
    let _ending = CURRENT.try_with(|current| *slot = current.replace(slot.take()));
}

pin_project! {
    /// A future that is polled with its exchange as the current one. Made by [`Exchange::scope`].
    pub struct Scoped<F> {
        #[pin]
        future: F,
        carrier: Carrier,
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.carrier.enter();
        this.future.poll(cx)
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").field("exchange", &self.carrier.exchange).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    thread_local! {
        static SEEN: Cell<u32> = const { Cell::new(0) };
    }

    /// Adds a number to the thread's while it is bound.
    struct Adds(u32);

    impl Carry for Adds {
        fn enter(&self) {
            SEEN.set(SEEN.get().wrapping_add(self.0));
        }

        fn exit(&self) {
            SEEN.set(SEEN.get().wrapping_sub(self.0));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_observers_carry_is_bound_wherever_the_exchanges_work_goes_on() {
        let capture: Capture = |exchange| Some(Arc::new(Adds(exchange.get()?)));
        assert!(carry_with(capture) && carry_with(capture), "the same counts once");
        let exchange = Exchange::detached();
        exchange.insert(7_u32);
        exchange.in_scope(|| assert_eq!(SEEN.get(), 7));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let task = {
            let seen = Arc::clone(&seen);
            exchange.scope(async move {
                for _ in 0..3 {
                    seen.lock().unwrap().push(SEEN.get());
                    tokio::task::yield_now().await;
                }
            })
        };
        tokio::spawn(task).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [7; 3]);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            exchange.in_scope(|| std::panic::resume_unwind(Box::new("out")));
        }));
        assert!(panicked.is_err());
        let carrier = exchange.carrier();
        for _ in 0..2 {
            let entered = carrier.enter();
            assert_eq!(SEEN.get(), 7);
            assert!(Exchange::current().unwrap().is_same(&exchange));
            drop(entered);
            assert!(Exchange::current().is_none());
        }
        Exchange::detached().in_scope(|| assert_eq!(SEEN.get(), 0, "nothing is left, and others carry nothing"));
    }

    #[test]
    fn scopes_nest_and_come_back_even_when_they_unwind() {
        let (outer, inner) = (Exchange::detached(), Exchange::detached());
        outer.in_scope(|| {
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                inner.in_scope(|| {
                    assert!(Exchange::current().unwrap().is_same(&inner));
                    std::panic::resume_unwind(Box::new("out"));
                });
            }));
            assert!(panicked.is_err());
            assert!(Exchange::current().unwrap().is_same(&outer));
        });
        assert!(Exchange::current().is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_spawned_task_in_scope_sees_its_exchange_at_every_poll() {
        let tasks = (0..64).map(|_| {
            let exchange = Exchange::detached();
            tokio::spawn(exchange.clone().scope(async move {
                for _ in 0..20 {
                    assert!(Exchange::current().unwrap().is_same(&exchange));
                    tokio::task::yield_now().await;
                }
            }))
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert!(Exchange::current().is_none());
    }
}
