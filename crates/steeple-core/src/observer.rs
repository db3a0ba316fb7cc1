use std::{convert::Infallible, num::NonZeroUsize};

use http::{request, response};

use crate::{End, Exchange};

/// Watches exchanges. A tuple of observers is an observer, and so is an `Option` of one: `None` watches nothing.
///
/// The hooks are called in this order, each of `on_request` and `on_end` once: `on_request`; then, as often as the
/// service or its body is polled, `on_enter` and `on_exit` around the poll; `on_response` when there is a response
/// head; `on_end`. In a tuple they are called from left to right, `on_exit` from right to left.
///
/// Hooks run on the request's path and must not block. A panic in a hook does not reach the request: it is caught and
/// [counted](crate::observer_panics).
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use steeple_core::{End, Exchange, Observer};
///
/// /// Counts what failed.
/// #[derive(Default)]
/// struct Failures(AtomicU64);
///
/// impl Observer for Failures {
///     type State = ();
///
///     fn on_request(&self, _: &Exchange, request: &mut http::request::Parts) -> Option<()> {
///         // Decide before allocating: `None` is not watched, no later hook runs.
///         (request.uri.path() != "/healthz").then_some(())
///     }
///
///     fn on_end(&self, _: (), _: &Exchange, end: &End) {
///         if end.is_server_error() {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` cannot watch exchanges", note = "implement `Observer`")]
pub trait Observer: Send + Sync + 'static {
    /// Rides along from request head to end; the response body carries it at last.
    type State: Send + 'static;

    /// Who this is. Layers that are stacked inside each other watch one exchange with one observer of the same
    /// identity only, the outermost. `None`: each layer's observer is its own.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// The request head arrived. `None`: not watched, no later hook runs. Decide before allocating.
    ///
    /// What an observer changes in the head, the service sees: a request id, an extension.
    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<Self::State>;

    /// The response head is known, the body is not. What an observer changes, the client sees.
    fn on_response(&self, _state: &mut Self::State, _exchange: &Exchange, _response: &mut response::Parts) {}

    /// The service or its response body is about to be polled, on this thread.
    fn on_enter(&self, _state: &mut Self::State, _exchange: &Exchange) {}

    /// The poll is over: it returned, or it is unwinding. Undoes `on_enter`.
    fn on_exit(&self, _state: &mut Self::State, _exchange: &Exchange) {}

    /// The exchange is over. Takes the state by value: a second call does not compile.
    fn on_end(&self, state: Self::State, exchange: &Exchange, end: &End);
}

/// Tells one observer from another, see [`Observer::identity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(NonZeroUsize);

impl Identity {
    pub(crate) const REQUEST_IDS: Self = Self(NonZeroUsize::MIN);

    /// The identity of whatever lives at this address for as long as the observer does: an `Arc`'s content, a static.
    pub fn of<T>(shared: &T) -> Self {
        Self(NonZeroUsize::new(std::ptr::from_ref(shared).addr()).unwrap_or(NonZeroUsize::MAX))
    }

    pub(crate) fn get(self) -> usize {
        self.0.get()
    }
}

/// Starts watching, unless an outer layer's observer of the same identity does already.
pub(crate) fn begin<O: Observer>(observer: &O, exchange: &Exchange, request: &mut request::Parts) -> Option<O::State> {
    if let Some(identity) = observer.identity()
        && !exchange.admit(identity)
    {
        return None;
    }
    observer.on_request(exchange, request)
}

/// Watches nothing, and costs nothing: it has no state, not even the space for one.
impl Observer for () {
    type State = Infallible;

    fn on_request(&self, _exchange: &Exchange, _request: &mut request::Parts) -> Option<Infallible> {
        None
    }

    fn on_end(&self, state: Infallible, _exchange: &Exchange, _end: &End) {
        match state {}
    }
}

impl<O: Observer> Observer for Option<O> {
    type State = O::State;

    fn identity(&self) -> Option<Identity> {
        self.as_ref().and_then(Observer::identity)
    }

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<Self::State> {
        self.as_ref()?.on_request(exchange, request)
    }

    fn on_response(&self, state: &mut Self::State, exchange: &Exchange, response: &mut response::Parts) {
        if let Some(observer) = self {
            observer.on_response(state, exchange, response);
        }
    }

    fn on_enter(&self, state: &mut Self::State, exchange: &Exchange) {
        if let Some(observer) = self {
            observer.on_enter(state, exchange);
        }
    }

    fn on_exit(&self, state: &mut Self::State, exchange: &Exchange) {
        if let Some(observer) = self {
            observer.on_exit(state, exchange);
        }
    }

    fn on_end(&self, state: Self::State, exchange: &Exchange, end: &End) {
        if let Some(observer) = self {
            observer.on_end(state, exchange, end);
        }
    }
}

impl<O: Observer> Observer for std::sync::Arc<O> {
    type State = O::State;

    fn identity(&self) -> Option<Identity> {
        (**self).identity()
    }

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<Self::State> {
        (**self).on_request(exchange, request)
    }

    fn on_response(&self, state: &mut Self::State, exchange: &Exchange, response: &mut response::Parts) {
        (**self).on_response(state, exchange, response);
    }

    fn on_enter(&self, state: &mut Self::State, exchange: &Exchange) {
        (**self).on_enter(state, exchange);
    }

    fn on_exit(&self, state: &mut Self::State, exchange: &Exchange) {
        (**self).on_exit(state, exchange);
    }

    fn on_end(&self, state: Self::State, exchange: &Exchange, end: &End) {
        (**self).on_end(state, exchange, end);
    }
}

macro_rules! tuple_of_observers {
    ($($observer:ident $state:ident $place:tt),+; $($back:tt),+) => {
        impl<$($observer: Observer),+> Observer for ($($observer,)+) {
            type State = ($(Option<$observer::State>,)+);

            fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<Self::State> {
                // Each on its own: a neighbour's panic must not lose what an observer has begun.
                $(let $state = quietly(|| begin(&self.$place, exchange, request)).flatten();)+
                (false $(|| $state.is_some())+).then_some(($($state,)+))
            }

            fn on_response(&self, state: &mut Self::State, exchange: &Exchange, response: &mut response::Parts) {
                $(if let Some(state) = &mut state.$place {
                    quietly(|| self.$place.on_response(state, exchange, response));
                })+
            }

            fn on_enter(&self, state: &mut Self::State, exchange: &Exchange) {
                $(if let Some(state) = &mut state.$place {
                    quietly(|| self.$place.on_enter(state, exchange));
                })+
            }

            fn on_exit(&self, state: &mut Self::State, exchange: &Exchange) {
                $(if let Some(state) = &mut state.$back {
                    quietly(|| self.$back.on_exit(state, exchange));
                })+
            }

            fn on_end(&self, state: Self::State, exchange: &Exchange, end: &End) {
                $(if let Some(state) = state.$place {
                    quietly(|| self.$place.on_end(state, exchange, end));
                })+
            }
        }
    };
}

tuple_of_observers!(A a 0; 0);
tuple_of_observers!(A a 0, B b 1; 1, 0);
tuple_of_observers!(A a 0, B b 1, C c 2; 2, 1, 0);
tuple_of_observers!(A a 0, B b 1, C c 2, D d 3; 3, 2, 1, 0);
tuple_of_observers!(A a 0, B b 1, C c 2, D d 3, E e 4; 4, 3, 2, 1, 0);
tuple_of_observers!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5; 5, 4, 3, 2, 1, 0);
tuple_of_observers!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6; 6, 5, 4, 3, 2, 1, 0);
tuple_of_observers!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7; 7, 6, 5, 4, 3, 2, 1, 0);

/// Runs an observer's hook, and catches its panic.
///
/// The end can come from a destructor while another panic unwinds, where a second one would abort the process.
#[inline]
pub(crate) fn quietly<T>(hook: impl FnOnce() -> T) -> Option<T> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(hook)) {
        Ok(value) => Some(value),
        Err(panic) => {
            OBSERVER_PANICS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // The payload's own destructor may panic as well.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(panic))).is_err() {
                OBSERVER_PANICS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            None
        }
    }
}

static OBSERVER_PANICS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// How many hooks of observers have panicked in this process. More than 0 is a bug in an observer.
pub fn observer_panics() -> u64 {
    OBSERVER_PANICS.load(std::sync::atomic::Ordering::Relaxed)
}
