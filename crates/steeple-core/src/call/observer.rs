use http::{request, response};

use super::{Call, CallEnd};
use crate::observer::quietly;

/// Watches outgoing calls. A tuple of two or three observers is an observer, and so is an `Option` of one: `None` watches
/// nothing.
///
/// The hooks are called in this order, each of `on_request` and `on_end` once: `on_request`; then, as often as the client
/// or the response body is polled, `on_enter` and `on_exit` around the poll; `on_response` when there is a response head;
/// `on_end`. In a tuple they are called from left to right, `on_exit` from right to left.
///
/// Hooks run on the caller's path and must not block. A panic in a hook does not reach the caller: it is caught and
/// [counted](crate::observer_panics).
#[diagnostic::on_unimplemented(message = "`{Self}` cannot watch calls", note = "implement `CallObserver`")]
pub trait CallObserver: Send + Sync + 'static {
    /// Rides along from request head to end; the response body carries it at last.
    type State: Send + 'static;

    /// The client is about to be called. `None`: not watched, no later hook runs.
    ///
    /// What an observer changes in the head is sent: a `traceparent`.
    fn on_request(&self, call: &mut Call, request: &mut request::Parts) -> Option<Self::State>;

    /// The response head is known, the body is not.
    fn on_response(&self, _state: &mut Self::State, _call: &Call, _response: &response::Parts) {}

    /// The client or the response body is about to be polled, on this thread.
    fn on_enter(&self, _state: &mut Self::State) {}

    /// The poll is over: it returned, or it is unwinding. Undoes `on_enter`.
    fn on_exit(&self, _state: &mut Self::State) {}

    /// The call is over. Takes the state by value: a second call does not compile.
    fn on_end(&self, state: Self::State, call: &Call, end: &CallEnd<'_>);
}

impl<O: CallObserver> CallObserver for Option<O> {
    type State = O::State;

    fn on_request(&self, call: &mut Call, request: &mut request::Parts) -> Option<Self::State> {
        self.as_ref()?.on_request(call, request)
    }

    fn on_response(&self, state: &mut Self::State, call: &Call, response: &response::Parts) {
        if let Some(observer) = self {
            observer.on_response(state, call, response);
        }
    }

    fn on_enter(&self, state: &mut Self::State) {
        if let Some(observer) = self {
            observer.on_enter(state);
        }
    }

    fn on_exit(&self, state: &mut Self::State) {
        if let Some(observer) = self {
            observer.on_exit(state);
        }
    }

    fn on_end(&self, state: Self::State, call: &Call, end: &CallEnd<'_>) {
        if let Some(observer) = self {
            observer.on_end(state, call, end);
        }
    }
}

macro_rules! tuple_of_observers {
    ($($observer:ident $state:ident $place:tt),+; $($back:tt),+) => {
        impl<$($observer: CallObserver),+> CallObserver for ($($observer,)+) {
            type State = ($(Option<$observer::State>,)+);

            fn on_request(&self, call: &mut Call, request: &mut request::Parts) -> Option<Self::State> {
                // Each on its own: a neighbour's panic must not lose what an observer has begun.
                $(let $state = quietly(|| self.$place.on_request(call, request)).flatten();)+
                (false $(|| $state.is_some())+).then_some(($($state,)+))
            }

            fn on_response(&self, state: &mut Self::State, call: &Call, response: &response::Parts) {
                $(if let Some(state) = &mut state.$place {
                    quietly(|| self.$place.on_response(state, call, response));
                })+
            }

            fn on_enter(&self, state: &mut Self::State) {
                $(if let Some(state) = &mut state.$place {
                    quietly(|| self.$place.on_enter(state));
                })+
            }

            fn on_exit(&self, state: &mut Self::State) {
                $(if let Some(state) = &mut state.$back {
                    quietly(|| self.$back.on_exit(state));
                })+
            }

            fn on_end(&self, state: Self::State, call: &Call, end: &CallEnd<'_>) {
                $(if let Some(state) = state.$place {
                    quietly(|| self.$place.on_end(state, call, end));
                })+
            }
        }
    };
}

tuple_of_observers!(A a 0, B b 1; 1, 0);
tuple_of_observers!(A a 0, B b 1, C c 2; 2, 1, 0);
