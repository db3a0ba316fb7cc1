//! What every middleware's service of the workspace has.

/// The methods of a service that wraps another in its field `inner`.
#[doc(hidden)]
#[macro_export]
macro_rules! __inner_service {
    () => {
        /// The wrapped service.
        pub fn get_ref(&self) -> &S {
            &self.inner
        }

        /// The wrapped service.
        pub fn get_mut(&mut self) -> &mut S {
            &mut self.inner
        }

        /// The wrapped service.
        pub fn into_inner(self) -> S {
            self.inner
        }
    };
}
