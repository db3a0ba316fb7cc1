use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use sentry_core::Hub;
use steeple_core::{Carry, Exchange};

use crate::{bound, slot::Link};

/// The exchange of the caller, to be carried into a task or a thread that it starts.
///
/// What is captured there belongs to the exchange: its route, user, request and trace. Breadcrumbs, tags and extras begin with what
/// the handler has set; what the task adds is its own.
///
/// # Examples
/// ```
/// # async fn handler() {
/// use steeple_sentry::Carried;
///
/// let task = tokio::spawn(Carried::current().future(async { /* captured here: the exchange's */ }));
/// let carried = Carried::current();
/// let thread = tokio::task::spawn_blocking(move || carried.run(|| { /* here as well */ }));
/// # let _ = (task, thread);
/// # }
/// ```
#[derive(Clone)]
pub struct Carried {
    hub: Arc<Hub>,
    link: Option<Arc<Link>>,
    exchange: Option<Exchange>,
}

impl Carried {
    /// The exchange that is going on here. Outside of one: its own hub that begins like the one here.
    pub fn current() -> Self {
        Self { hub: Arc::new(Hub::new_from_top(Hub::current())), link: bound::current(), exchange: Exchange::current() }
    }

    /// Runs `f` in the exchange, on this thread.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        let bound = || {
            let _bound = Bound::enter(self);
            f()
        };
        match &self.exchange {
            Some(exchange) => exchange.in_scope(bound),
            None => bound(),
        }
    }

    /// Polls `future` in the exchange, on whichever threads.
    pub fn future<F: Future>(self, future: F) -> InExchange<F> {
        InExchange { future, carried: self }
    }
}

/// What goes along with [`Exchange::scope`]: for core, which asks where the exchange is being polled.
pub(crate) fn capture(exchange: &Exchange) -> Option<Arc<dyn Carry>> {
    let is_here = Exchange::current().is_some_and(|current| current.is_same(exchange));
    is_here.then(|| Arc::new(Carried::current()) as Arc<dyn Carry>)
}

impl Carry for Carried {
    fn enter(&self) {
        drop(bound::enter(Arc::clone(&self.hub), self.link.clone(), false));
    }

    fn exit(&self) {
        drop(bound::exit());
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

/// Bound until it is dropped, also when that is by unwinding.
struct Bound;

impl Bound {
    fn enter(carried: &Carried) -> Self {
        drop(bound::enter(Arc::clone(&carried.hub), carried.link.clone(), false));
        Self
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        drop(bound::exit());
    }
}

pin_project! {
    /// A future that is polled in an exchange. Made by [`Carried::future`].
    #[derive(Debug)]
    pub struct InExchange<F> {
        #[pin]
        future: F,
        carried: Carried,
    }
}

impl<F: Future> Future for InExchange<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.carried.run(|| this.future.poll(cx))
    }
}
