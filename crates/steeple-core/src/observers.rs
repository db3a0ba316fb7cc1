//! [`observers!`](crate::observers): observers with names.

/// Defines a struct of observers, and makes it an observer: the same as a tuple of them, with names.
///
/// Each field is an [`Observer`](crate::Observer). The hooks are called in the order of the fields, `on_exit` in the
/// reverse order. A hook that panics affects no other field. The struct may have attributes, and each field may have
/// documentation and a visibility; in a public struct, the observers are public types.
///
/// # Examples
/// ```
/// use steeple_core::{End, Exchange, ObserveLayer, Observer, RequestIds};
///
/// #[derive(Clone, Debug)]
/// pub struct Failures;
///
/// impl Observer for Failures {
///     type State = ();
///     fn on_request(&self, _: &Exchange, _: &mut http::request::Parts) -> Option<()> {
///         Some(())
///     }
///     fn on_end(&self, (): (), _: &Exchange, _: &End) {}
/// }
///
/// steeple_core::observers! {
///     /// What watches this service.
///     #[derive(Clone, Debug)]
///     pub struct Observers {
///         /// Ids come first: the others read them.
///         ids: RequestIds,
///         failures: Option<Failures>,
///     }
/// }
///
/// let layer = ObserveLayer::new(Observers { ids: RequestIds::new(), failures: Some(Failures) });
/// assert!(layer.observer().failures.is_some());
/// ```
#[macro_export]
macro_rules! observers {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $observer:ty),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: $observer,)+
        }

        impl $crate::Observer for $name {
            type State = ($(::core::option::Option<<$observer as $crate::Observer>::State>,)+);

            #[inline]
            fn on_request(
                &self,
                exchange: &$crate::Exchange,
                request: &mut $crate::__observers::Request,
            ) -> ::core::option::Option<Self::State> {
                // Each for itself: the panic of one must not lose what another has begun.
                $(let $field = $crate::__observers::begin(&self.$field, exchange, request);)+
                (false $(|| $field.is_some())+).then_some(($($field,)+))
            }

            #[inline]
            fn on_response(
                &self,
                ($($field,)+): &mut Self::State,
                exchange: &$crate::Exchange,
                response: &mut $crate::__observers::Response,
            ) {
                $(if let ::core::option::Option::Some(state) = $field {
                    $crate::__observers::quietly(|| {
                        $crate::Observer::on_response(&self.$field, state, exchange, response);
                    });
                })+
            }

            #[inline]
            fn on_enter(&self, ($($field,)+): &mut Self::State, exchange: &$crate::Exchange) {
                $(if let ::core::option::Option::Some(state) = $field {
                    $crate::__observers::quietly(|| $crate::Observer::on_enter(&self.$field, state, exchange));
                })+
            }

            #[inline]
            fn on_exit(&self, ($($field,)+): &mut Self::State, exchange: &$crate::Exchange) {
                $crate::__observers_exit!(self, exchange, [$($field)+] []);
            }

            #[inline]
            fn on_end(&self, ($($field,)+): Self::State, exchange: &$crate::Exchange, end: &$crate::End) {
                $(if let ::core::option::Option::Some(state) = $field {
                    $crate::__observers::quietly(|| $crate::Observer::on_end(&self.$field, state, exchange, end));
                })+
            }
        }
    };
}

/// Calls `on_exit` of the fields from the last to the first.
#[doc(hidden)]
#[macro_export]
macro_rules! __observers_exit {
    ($this:ident, $exchange:ident, [] [$($field:ident)*]) => {
        $(if let ::core::option::Option::Some(state) = $field {
            $crate::__observers::quietly(|| $crate::Observer::on_exit(&$this.$field, state, $exchange));
        })*
    };
    ($this:ident, $exchange:ident, [$first:ident $($rest:ident)*] [$($reversed:ident)*]) => {
        $crate::__observers_exit!($this, $exchange, [$($rest)*] [$first $($reversed)*]);
    };
}

/// What the macro's output calls.
#[doc(hidden)]
pub mod __observers {
    use crate::{Exchange, Observer};

    pub type Request = http::request::Parts;
    pub type Response = http::response::Parts;

    #[inline]
    pub fn begin<O: Observer>(observer: &O, exchange: &Exchange, request: &mut Request) -> Option<O::State> {
        crate::observer::quietly(|| crate::observer::begin(observer, exchange, request)).flatten()
    }

    #[inline]
    pub fn quietly(hook: impl FnOnce()) {
        crate::observer::quietly(hook);
    }
}
