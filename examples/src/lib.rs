//! What the examples share: the parts of [`taskboard`], which tests run in process as well, and [`greeter`].

pub mod taskboard;

/// What the compiler of protocols made of `proto/greeter.proto`. A test makes it again and compares.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::pedantic,
    reason = "nobody wrote it"
)]
pub mod greeter {
    include!("generated/greeter.v1.rs");
}
