//! What the examples share: the parts of [`taskboard`], which tests run in process as well, and [`greeter`].

pub mod taskboard;

/// What the protocol's compiler made of `proto/greeter.proto`.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::pedantic,
    reason = "nobody wrote it"
)]
pub mod greeter {
    tonic::include_proto!("greeter.v1");
}
