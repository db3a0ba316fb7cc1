//! What the examples share: the parts of [`taskboard`], which tests run in process as well, and [`greeter`].

pub mod taskboard;

/// What the compiler of protocols made of `proto/greeter.proto`. A test makes it again and compares.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::pedantic,
    reason = "generated code"
)]
pub mod greeter {
    include!("generated/greeter.v1.rs");
}

/// The code on the pages of `docs/`, compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/start.md")]
#[doc = include_str!("../../docs/own-subscriber.md")]
#[doc = include_str!("../../docs/jobs.md")]
#[doc = include_str!("../../docs/testing.md")]
#[doc = include_str!("../../docs/errors.md")]
pub struct Docs;
