//! What several crates speak, in one place.

#[cfg(feature = "bulk")]
pub mod bulk;
#[cfg(feature = "webhook")]
pub mod webhook;
