//! The crate from outside: exchanges in, lines out.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on fails"
)]

mod support;

mod access;
#[cfg(unix)]
mod elasticsearch;
mod fields;
mod files;
mod formats;
mod handler;
mod hostile;
mod levels;
mod lifecycle;
mod outputs;
#[cfg(all(unix, not(steeple_os_other)))]
mod panics;
