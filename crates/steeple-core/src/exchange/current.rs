use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::Exchange;

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

    /// Runs `f` with this exchange as the current one.
    pub fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
        let mut slot = Some(self.clone());
        let _guard = CurrentGuard::enter(&mut slot);
        f()
    }

    /// Makes this exchange the current one whenever `future` is polled: for tasks that a handler spawns.
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
        Scoped { future, exchange: Some(self.clone()) }
    }
}

/// Makes an exchange the current one; the one before it waits in the slot and comes back on drop.
struct CurrentGuard<'a>(&'a mut Option<Exchange>);

impl<'a> CurrentGuard<'a> {
    fn enter(slot: &'a mut Option<Exchange>) -> Self {
        swap_current(slot);
        Self(slot)
    }
}

impl Drop for CurrentGuard<'_> {
    fn drop(&mut self) {
        swap_current(self.0);
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
    #[derive(Debug)]
    pub struct Scoped<F> {
        #[pin]
        future: F,
        exchange: Option<Exchange>,
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _guard = CurrentGuard::enter(this.exchange);
        this.future.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
