//! CloudWatch, as others see it: moto, botocore, and a receiver that is as strict as AWS.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unchecked_time_subtraction,
    clippy::unwrap_used,
    reason = "tests"
)]

mod limits;
mod moto;
mod peer;
mod signatures;
mod spool;
mod storms;
mod strict;
